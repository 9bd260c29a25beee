import { cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compress } from 'zstd-napi';
import { readLedger, writeLedger } from '#ferry/artifact/ledger.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { makePlanDocument } from '#ferry/mirror/plan-document.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import {
  faultsOf,
  infoMembers,
  listedRecords,
  placeOf,
  publishedRepodata,
  sha256,
} from '../support/audit.js';
import { FIXTURE_CHANNEL, MALFORMED_CHANNEL } from '../support/channels.js';
import { serveChannel } from '../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import type { GhcrDouble } from '../support/double/ghcr.js';
import {
  failuresOf,
  ghcrStore,
  httpSource,
  layoutStore,
  mirrorFolder,
  registryStore,
  startGhcr,
  writesOf,
  type StoreUnderTest,
} from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel, planMirror } from '../support/workers.js';

const SUBDIRS = ['linux-64', 'noarch', 'osx-arm64'];

let registry: TestRegistry;
let ghcr: GhcrDouble;
beforeAll(async () => {
  registry = await startRegistry();
  ghcr = await startGhcr();
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await ghcr[Symbol.asyncDispose]();
});

const kinds: readonly (readonly [string, (name: string) => Promise<() => StoreUnderTest>])[] = [
  ['docker-registry', async (name) => () => registryStore(registry, name)],
  ['GHCR', async (name) => () => ghcrStore(ghcr, name)],
  [
    'image layouts',
    async () => {
      const folder = await tempFolder();
      return () => layoutStore(folder);
    },
  ],
];

/** A package of one small text file; `payload` makes its bytes differ. */
function hello(version: string, payload = 'hello\n', build = '0') {
  return condaPackage({
    name: 'hello',
    version,
    build,
    subdir: 'noarch',
    index: { noarch: 'generic' },
    payloadFiles: { 'share/hello': payload },
  });
}

function helloBz2(version: string) {
  return tarBz2Package({
    name: 'hello',
    version,
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
  });
}

describe.each(kinds)('mirror into %s', (_kind, open) => {
  test('carries the fixture channel, byte for byte as the source lists it', async () => {
    const view = await open('whole');
    const report = await mirrorFolder(FIXTURE_CHANNEL, view());
    expect(failuresOf(report)).toEqual({});
    const { reader, path } = view();
    for (const subdir of SUBDIRS) {
      expect(await publishedRepodata(reader, path + subdir)).toEqual(
        await readFile(join(FIXTURE_CHANNEL, subdir, 'repodata.json')),
      );
      expect(await faultsOf(reader, path + subdir)).toEqual([]);
    }
  });

  test("uses the source's own .zst, under a UTC history tag beside latest", async () => {
    const view = await open('zst');
    await mirrorFolder(FIXTURE_CHANNEL, view(), { now: () => new Date('2026-11-21T07:35:09Z') });
    const { reader, path } = view();
    const latest = await reader.manifest(`${path}noarch/repodata.json`, 'latest');
    const history = await reader.manifest(`${path}noarch/repodata.json`, '2026.11.21.07.35.09');
    expect(history?.digest).toBe(latest?.digest);
    const zst = latest?.layers.find(
      ({ mediaType }) => mediaType === 'application/vnd.conda.repodata.v1+json+zst',
    );
    expect(zst?.digest).toBe(sha256(await readFile(join(FIXTURE_CHANNEL, 'noarch', 'repodata.json.zst'))));
    expect(latest?.layers.map(({ annotations }) => annotations?.['org.opencontainers.image.title'])).toEqual([
      'repodata.json',
      'repodata.json.zst',
    ]);
  });

  test('keeps twins in one artifact, info and index from the .conda', async () => {
    const view = await open('twins');
    await mirrorFolder(FIXTURE_CHANNEL, view());
    const { reader, path } = view();
    const artifact = await reader.manifest(`${path}linux-64/ferry-relicensed`, '1.2.3-0');
    expect(artifact?.layers.map(({ mediaType }) => mediaType)).toEqual([
      'application/vnd.conda.package.v2',
      'application/vnd.conda.package.v1',
      'application/vnd.conda.info.v1.tar+gzip',
      'application/vnd.conda.info.index.v1+json',
    ]);
    const alone = await tempFolder();
    await writeChannel(alone, {
      'linux-64': [await archiveOf('linux-64', 'ferry-relicensed-1.2.3-0.conda')],
    });
    const other = layoutStore(await tempFolder());
    await mirrorFolder(alone, other);
    const conda = await other.reader.manifest('linux-64/ferry-relicensed', '1.2.3-0');
    expect(artifact?.layers.slice(2)).toEqual(conda?.layers.slice(1));
  });

  test('a second run uploads nothing and writes nothing', async () => {
    const view = await open('twice');
    await mirrorFolder(FIXTURE_CHANNEL, view());
    const before = await digestsOf(view());
    const second = view();
    const report = await mirrorFolder(FIXTURE_CHANNEL, second);
    expect(report.subdirs.map(({ publishedAs }) => publishedAs)).toEqual(['kept', 'kept', 'kept']);
    expect(report.subdirs.map(({ there }) => there)).toEqual([24, 4, 4]);
    expect(writesOf(second)).toEqual([]);
    expect(second.requests.length).toBeLessThanOrEqual(3 * SUBDIRS.length);
    expect(await digestsOf(view())).toEqual(before);
  });

  test('refuses every malformed archive by its code, and mirrors the rest', async () => {
    const view = await open('malformed');
    const report = await mirrorFolder(MALFORMED_CHANNEL, view());
    const expected = JSON.parse(await readFile(join(MALFORMED_CHANNEL, 'expected.json'), 'utf8')) as Record<
      string,
      { code: string }
    >;
    const codes = Object.fromEntries(Object.entries(expected).map(([file, { code }]) => [file, code]));
    expect(failuresOf(report)).toEqual(codes);
    for (const { filename, message } of report.subdirs.flatMap(({ failed }) => failed)) {
      expect(message, filename).toMatch(/\S/);
    }
    const { reader, path } = view();
    const bad = new Set(Object.keys(expected));
    let good = 0;
    for (const subdir of ['noarch', 'linux-64']) {
      expect(await faultsOf(reader, path + subdir)).toEqual([]);
      for (const { filename } of (await listedRecords(reader, path + subdir)) ?? []) {
        expect(bad.has(`${subdir}/${filename}`), filename).toBe(false);
        good += 1;
      }
    }
    expect(good).toBe(4);
    // Nothing half published: a malformed archive has no artifact.
    for (const file of bad) {
      const [subdir = '', filename = ''] = file.split('/');
      const stem = filename.replace(/\.(conda|tar\.bz2)$/, '').split('-');
      const [build = '', version = ''] = [stem.pop(), stem.pop()];
      const place = placeOf(path + subdir, { name: stem.join('-'), version, build });
      const artifact = await reader.manifest(place.repository, place.tag);
      const titles =
        artifact?.layers.map(({ annotations }) => annotations?.['org.opencontainers.image.title']) ?? [];
      expect(titles, file).not.toContain(filename);
    }
  });

  test('takes what the source added, drops what it removed from the list, keeps the archive', async () => {
    const view = await open('night');
    const source = await tempFolder();
    await writeChannel(source, { noarch: [hello('1.0'), hello('2.0')] });
    await mirrorFolder(source, view());
    await rm(source, { recursive: true });
    await writeChannel(source, { noarch: [hello('2.0'), hello('3.0')] });
    const report = await mirrorFolder(source, view());
    expect(report.subdirs[0]).toMatchObject({ added: 1, there: 1, kept: 1, publishedAs: 'unchanged' });
    const { reader, path } = view();
    expect((await listedRecords(reader, `${path}noarch`))?.map(({ version }) => version)).toEqual([
      '2.0',
      '3.0',
    ]);
    expect(await faultsOf(reader, `${path}noarch`)).toEqual([]);
    expect(await reader.manifest(`${path}noarch/hello`, '1.0-0')).toBeDefined();
    // Listed again, it is there again without moving.
    await writeChannel(source, { noarch: [hello('1.0'), hello('2.0'), hello('3.0')] });
    await rm(join(source, 'noarch', hello('1.0').filename));
    const again = await mirrorFolder(source, view());
    expect(again.subdirs[0]).toMatchObject({ added: 0, there: 3, failed: [], publishedAs: 'unchanged' });
  });

  test('a twin that comes later joins the artifact, whichever came first', async () => {
    const view = await open('late');
    const both = layoutStore(await tempFolder());
    const source = await tempFolder();
    await writeChannel(source, { noarch: [hello('1.0'), helloBz2('1.0'), hello('2.0'), helloBz2('2.0')] });
    await mirrorFolder(source, both);
    await writeChannel(source, { noarch: [hello('1.0'), helloBz2('2.0')] });
    await mirrorFolder(source, view());
    await writeChannel(source, { noarch: [hello('1.0'), helloBz2('1.0'), hello('2.0'), helloBz2('2.0')] });
    await mirrorFolder(source, view());
    const { reader, path } = view();
    for (const tag of ['1.0-0', '2.0-0']) {
      const artifact = await reader.manifest(`${path}noarch/hello`, tag);
      expect(artifact?.digest).toBe((await both.reader.manifest('noarch/hello', tag))?.digest);
    }
    expect(await faultsOf(reader, `${path}noarch`)).toEqual([]);
  });

  test('replaces an archive whose bytes changed under its name, and never lists what is not there', async () => {
    const view = await open('replaced');
    const source = await tempFolder();
    await writeChannel(source, { noarch: [hello('1.0', 'old\n'), hello('2.0')] });
    await mirrorFolder(source, view());
    await writeChannel(source, { noarch: [hello('1.0', 'new\n'), hello('2.0')] });
    const { reader, path } = view();
    const channel = new DirectoryChannel(source);
    const listedMeanwhile: (readonly string[] | undefined)[] = [];
    await mirrorFolder(source, view(), {
      source: {
        url: channel.url,
        subdirs: () => channel.subdirs(),
        openMetadata: channel.openMetadata.bind(channel),
        openArchive: async function* (archive, options) {
          const records = await listedRecords(reader, `${path}noarch`);
          listedMeanwhile.push(records?.map(({ version }) => version));
          yield* channel.openArchive(archive, options);
        },
      },
    });
    // In between, the record was not listed.
    expect(listedMeanwhile).toEqual([['2.0']]);
    expect(await faultsOf(reader, `${path}noarch`)).toEqual([]);
    const records = await listedRecords(reader, `${path}noarch`);
    expect(records?.find(({ version }) => version === '1.0')?.sha256).toBe(
      sha256(hello('1.0', 'new\n').bytes).slice('sha256:'.length),
    );
  });

  test('a quarantined archive is published as soon as it can be had, although the repodata did not change', async () => {
    const view = await open('quarantine');
    const source = await tempFolder();
    await writeChannel(source, { noarch: [hello('1.0'), hello('2.0')] });
    const missing = join(source, 'noarch', hello('2.0').filename);
    const bytes = await readFile(missing);
    await rm(missing);
    const first = await mirrorFolder(source, view());
    expect(failuresOf(first)).toEqual({ 'noarch/hello-2.0-0.conda': 'ARCHIVE_ABSENT' });
    expect(first.subdirs[0]?.publishedAs).toBe('spliced');
    const still = view();
    expect(failuresOf(await mirrorFolder(source, still))).toEqual({
      'noarch/hello-2.0-0.conda': 'ARCHIVE_ABSENT',
    });
    expect(writesOf(still)).toEqual([]);
    await writeFile(missing, bytes);
    const last = await mirrorFolder(source, view());
    expect(failuresOf(last)).toEqual({});
    const { reader, path } = view();
    expect(await publishedRepodata(reader, `${path}noarch`)).toEqual(
      await readFile(join(source, 'noarch', 'repodata.json')),
    );
    expect(await faultsOf(reader, `${path}noarch`)).toEqual([]);
  });

  test('withholds names that the schema cannot hold, which is no failure', async () => {
    const view = await open('withheld');
    const source = await tempFolder();
    const odd = condaPackage({ name: 'zzz_odd', version: '1.0', build: '0', subdir: 'noarch' });
    const escaped = condaPackage({ name: 'hello', version: '1.0', build: 'a__p__b', subdir: 'noarch' });
    await writeChannel(source, { noarch: [hello('1.0'), odd, escaped] });
    for (let run = 0; run < 2; run += 1) {
      const report = await mirrorFolder(source, view());
      expect(failuresOf(report)).toEqual({});
      expect(report.subdirs[0]?.withheld.map(({ filename, code }) => [filename, code])).toEqual([
        ['hello-1.0-a__p__b.conda', 'NAME_UNREPRESENTABLE'],
        ['zzz_odd-1.0-0.conda', 'NAME_UNREPRESENTABLE'],
      ]);
    }
    const { reader, path } = view();
    expect((await listedRecords(reader, `${path}noarch`))?.map(({ filename }) => filename)).toEqual([
      'hello-1.0-0.conda',
    ]);
  });

  test('an unusable record fails by its name in every run, and the rest goes on', async () => {
    const view = await open('invalid');
    const source = await tempFolder();
    const lying = { ...hello('2.0'), record: { version: '9.9' } };
    const unsummed = { ...hello('3.0'), record: { sha256: undefined, md5: undefined } };
    await writeChannel(source, { noarch: [hello('1.0'), lying, unsummed] });
    for (let run = 0; run < 2; run += 1) {
      expect(failuresOf(await mirrorFolder(source, view()))).toEqual({
        'noarch/hello-2.0-0.conda': 'RECORD_INVALID',
        'noarch/hello-3.0-0.conda': 'RECORD_INVALID',
      });
    }
  });

  test('mirrors old records that have an md5 alone', async () => {
    const view = await open('md5');
    const source = await tempFolder();
    await writeChannel(source, { noarch: [{ ...hello('1.0'), record: { sha256: undefined } }] });
    expect(failuresOf(await mirrorFolder(source, view()))).toEqual({});
    const report = await mirrorFolder(source, view(), { deep: true });
    expect(report.subdirs[0]).toMatchObject({ added: 0, there: 1 });
  });

  test('a plan says what would be done and moves nothing; the run then does it', async () => {
    const view = await open('planned');
    const source = new DirectoryChannel(FIXTURE_CHANNEL);
    const planning = view();
    const plan = await planMirror({ source, destination: planning.store });
    expect(writesOf(planning)).toEqual([]);
    const { reader, path } = view();
    expect(await listedRecords(reader, `${path}noarch`)).toBeUndefined();
    const planned = plan.subdirs.flatMap((subdir) => (subdir.status === 'planned' ? [subdir.plan] : []));
    expect(
      planned.map(({ subdir, items, toAdd }) => [
        subdir,
        [...items()].flatMap(({ add }) => add).length,
        toAdd,
      ]),
    ).toEqual([
      ['linux-64', 24, 24],
      ['noarch', 4, 4],
      ['osx-arm64', 4, 4],
    ]);
    const running = view();
    const report = await mirrorFolder(FIXTURE_CHANNEL, running);
    expect(report.subdirs.map(({ added }) => added)).toEqual([24, 4, 4]);
    if (running.requests.length > 0) {
      const { totals } = makePlanDocument(plan, { now: new Date() });
      expect(totals.requests).toBe(running.requests.length);
    }
  });

  test('stops before records that others published, and keeps them with merge', async () => {
    const view = await open('foreign');
    const [ours, theirs] = [await tempFolder(), await tempFolder()];
    await writeChannel(ours, { noarch: [hello('1.0')] });
    await writeChannel(theirs, { noarch: [hello('1.0'), hello('7.0')] });
    await mirrorFolder(theirs, view());
    await expect(mirrorFolder(ours, view())).rejects.toMatchObject({ code: 'FOREIGN_RECORDS' });
    const { reader, path } = view();
    for (const merge of [true, false]) {
      const report = await mirrorFolder(ours, view(), { merge });
      expect(failuresOf(report)).toEqual({});
      expect((await listedRecords(reader, `${path}noarch`))?.map(({ version }) => version).sort()).toEqual([
        '1.0',
        '7.0',
      ]);
      expect(await faultsOf(reader, `${path}noarch`)).toEqual([]);
    }
  });

  test('every mirrored record: package, index and info layer are those of its archive', async () => {
    const view = await open('layers');
    await mirrorFolder(FIXTURE_CHANNEL, view());
    const { reader, path } = view();
    for (const subdir of SUBDIRS) {
      for (const record of (await listedRecords(reader, path + subdir)) ?? []) {
        const { repository, tag } = placeOf(path + subdir, record);
        const artifact = await reader.manifest(repository, tag);
        const digests = artifact?.layers.map(({ digest }) => digest) ?? [];
        expect(digests, record.filename).toContain(`sha256:${record.sha256}`);
        const blob = async (mediaType: string) =>
          reader.blob(
            repository,
            artifact?.layers.find((layer) => layer.mediaType === mediaType)?.digest ?? '',
          );
        const index = JSON.parse(
          (await blob('application/vnd.conda.info.index.v1+json'))?.toString() ?? '',
        ) as object;
        expect(index).toMatchObject({ name: record.name, version: record.version, build: record.build });
        const members = await infoMembers(
          (await blob('application/vnd.conda.info.v1.tar+gzip')) ?? Buffer.alloc(0),
        );
        const indexDigest = artifact?.layers.at(-1)?.digest;
        expect(members.get('index.json'), record.filename).toBe(indexDigest);
        expect([...members.keys()].every((name) => !name.startsWith('info/') && !name.endsWith('/'))).toBe(
          true,
        );
      }
    }
  });
});

test('a source over HTTP is asked once per file, by conditional requests the second time', async () => {
  const source = await tempFolder();
  await cp(FIXTURE_CHANNEL, source, { recursive: true });
  await rm(join(source, 'linux-64', 'repodata.json.zst'));
  await using server = await serveChannel(source);
  const folder = await tempFolder();
  const report = await mirrorChannel({
    source: httpSource(server.url),
    destination: layoutStore(folder).store,
  });
  expect(failuresOf(report)).toEqual({});
  expect(report.subdirs.map(({ subdir }) => subdir)).toEqual(['noarch', 'linux-64', 'osx-arm64']);
  server.requests.length = 0;
  const second = layoutStore(folder);
  await mirrorChannel({ source: httpSource(server.url), destination: second.store });
  expect(server.requests.map(({ method, path, status }) => `${method} ${path} ${status}`)).toEqual([
    'GET /channel/noarch/repodata.json.zst 304',
    'GET /channel/linux-64/repodata.json 304',
    'GET /channel/osx-arm64/repodata.json.zst 304',
    'GET /channel/channeldata.json 304',
    'GET /channel/notices.json 404',
  ]);
});

test('repodata older than what was mirrored is refused, unless that is allowed', async () => {
  const source = await tempFolder();
  await writeChannel(source, { noarch: [hello('1.0')] });
  let date = 'Sat, 21 Nov 2026 07:00:00 GMT';
  await using server = await serveChannel(source, {
    intercept: (request, response) => {
      if (request.url?.endsWith('repodata.json.zst') !== true) return false;
      void readFile(join(source, 'noarch', 'repodata.json.zst')).then((bytes) =>
        response.writeHead(200, { 'last-modified': date, 'content-length': bytes.byteLength }).end(bytes),
      );
      return true;
    },
  });
  const folder = await tempFolder();
  const run = async (allowOlder: boolean) =>
    mirrorChannel({
      source: httpSource(server.url),
      destination: layoutStore(folder).store,
      subdirs: ['noarch'],
      allowOlder,
    });
  await run(false);
  date = 'Fri, 20 Nov 2026 07:00:00 GMT';
  await writeChannel(source, { noarch: [hello('0.9')] });
  await expect(run(false)).rejects.toMatchObject({ code: 'SOURCE_OLDER' });
  expect((await run(true)).subdirs[0]).toMatchObject({ added: 1 });
});

test('truncated repodata publishes nothing', async () => {
  const source = await tempFolder();
  await writeChannel(source, { noarch: [hello('1.0')] });
  const folder = await tempFolder();
  await mirrorFolder(source, layoutStore(folder));
  const before = await publishedRepodata(layoutStore(folder).reader, 'noarch');
  const zst = join(source, 'noarch', 'repodata.json.zst');
  const { size } = await stat(zst);
  await writeFile(zst, (await readFile(zst)).subarray(0, size - 7));
  await rm(join(source, 'noarch', 'repodata.json'));
  await expect(mirrorFolder(source, layoutStore(folder))).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
  expect(await publishedRepodata(layoutStore(folder).reader, 'noarch')).toEqual(before);
});

test('a source that lists nothing any more does not empty the mirror', async () => {
  const source = await tempFolder();
  await writeChannel(source, { noarch: [hello('1.0')] });
  const folder = await tempFolder();
  await mirrorFolder(source, layoutStore(folder));
  await rm(join(source, 'noarch', 'repodata.json.zst'));
  await writeFile(join(source, 'noarch', 'repodata.json'), '');
  await expect(mirrorFolder(source, layoutStore(folder))).rejects.toMatchObject({ code: 'SOURCE_VANISHED' });
  expect(await listedRecords(layoutStore(folder).reader, 'noarch')).toHaveLength(1);
  const report = await mirrorFolder(source, layoutStore(folder), { allowOlder: true });
  expect(report.subdirs[0]?.warnings).toEqual(['noarch: 1 of 1 records vanished at the source']);
});

test('repodata that expands beyond reason is refused', async () => {
  const source = await tempFolder();
  await writeChannel(source, { noarch: [hello('1.0')] });
  const bomb = `{"packages":{}${' '.repeat(80 * 1024 * 1024)}}`;
  await writeFile(join(source, 'noarch', 'repodata.json.zst'), compress(Buffer.from(bomb)));
  await rm(join(source, 'noarch', 'repodata.json'));
  await expect(mirrorFolder(source, layoutStore(await tempFolder()))).rejects.toMatchObject({
    code: 'REPODATA_INVALID',
  });
});

test('one archive that the source cannot read fails alone', async () => {
  const source = await tempFolder();
  await writeChannel(source, { noarch: [hello('1.0'), hello('2.0')] });
  const file = join(source, 'noarch', hello('2.0').filename);
  await rm(file);
  // Reading a folder fails for everyone, root included.
  await mkdir(file);
  const report = await mirrorFolder(source, layoutStore(await tempFolder()));
  expect(failuresOf(report)).toEqual({ 'noarch/hello-2.0-0.conda': 'ARCHIVE_ABSENT' });
});

test.each([
  [
    'a file outside the channel',
    (ledger: object) => ({ ...ledger, source: { ...ledgerSource(ledger), file: '../../secret.json' } }),
  ],
  ['a subdir outside the channel', (ledger: object) => ({ ...ledger, subdirs: ['../../private'] })],
  [
    'an archive outside the channel',
    (ledger: object) => ({
      ...ledger,
      quarantine: [{ filename: '../x', name: 'x', version: '1', build: '0', code: 'X', message: 'x' }],
    }),
  ],
])('a ledger that names %s is not believed', async (_what, tamper) => {
  const source = await tempFolder();
  await writeChannel(source, { noarch: [hello('1.0')] });
  const folder = await tempFolder();
  const { store } = layoutStore(folder);
  await mirrorFolder(source, layoutStore(folder));
  const ledger = await readLedger(store, 'noarch');
  await writeLedger(store, tamper(ledger ?? {}) as never);
  await expect(mirrorFolder(source, layoutStore(folder))).rejects.toMatchObject({ code: 'LEDGER_INVALID' });
  expect(failuresOf(await mirrorFolder(source, layoutStore(folder), { deep: true }))).toEqual({});
});

function ledgerSource(ledger: object): object {
  return 'source' in ledger && typeof ledger.source === 'object' ? { ...ledger.source } : {};
}

test('a folder without subdirs is no channel', async () => {
  await expect(mirrorFolder(await tempFolder(), layoutStore(await tempFolder()))).rejects.toMatchObject({
    code: 'CHANNEL_NOT_FOUND',
  });
});

async function archiveOf(subdir: string, filename: string) {
  const bytes = await readFile(join(FIXTURE_CHANNEL, subdir, filename));
  return { filename, bytes };
}

/** Digests of all tags of the fixture channel's artifacts. */
async function digestsOf({ reader, path }: StoreUnderTest): Promise<Record<string, string | undefined>> {
  const digests: Record<string, string | undefined> = {};
  for (const subdir of SUBDIRS) {
    for (const record of (await listedRecords(reader, path + subdir)) ?? []) {
      const { repository, tag } = placeOf(path + subdir, record);
      digests[`${repository}:${tag}`] = (await reader.manifest(repository, tag))?.digest;
    }
    for (const file of ['repodata.json', 'repodata_ledger.json']) {
      digests[`${subdir}/${file}`] = (await reader.manifest(`${path}${subdir}/${file}`, 'latest'))?.digest;
    }
  }
  return digests;
}
