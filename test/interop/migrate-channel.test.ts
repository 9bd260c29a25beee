import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { LATEST, pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import type { SchemaId } from '#ferry/artifact/schema.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { isFerryError } from '#ferry/errors.js';
import { collect, openerOf } from '#ferry/io/bytes.js';
import { describe as describeBytes } from '#ferry/oci/descriptor.js';
import { encodeJson, parseImageManifest, type ImageManifest } from '#ferry/oci/manifest.js';
import { failuresOf as failuresFileOf, parseFailures } from '#ferry/mirror/migrate/failures-file.js';
import { migrateChannel, planMigration, type MigrateOptions } from '#ferry/mirror/migrate/migrate.js';
import type { MigrationReport } from '#ferry/mirror/migrate/report.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { startRegistryDouble, type RegistryDouble } from '../support/double/registry-double.js';
import { failingRegistry } from '../support/failing-registry.js';
import { openLayoutPair, openRegistryPair, stateOf, type Pair } from '../support/migration.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel, workers } from '../support/workers.js';

let docker: TestRegistry;
let double: RegistryDouble;
beforeAll(async () => {
  docker = await startRegistry();
  double = await startRegistryDouble();
});
afterAll(async () => {
  await docker[Symbol.asyncDispose]();
  await double[Symbol.asyncDispose]();
});

const kinds: readonly (readonly [string, (name: string) => Promise<() => Pair>])[] = [
  ['docker-registry', async (name) => () => openRegistryPair(docker.host, `${docker.prefix}/${name}`)],
  [
    'image layouts',
    async () => {
      const folder = await tempFolder();
      return () => openLayoutPair(folder);
    },
  ],
];

const NOARCH = { build: '0', subdir: 'noarch', index: { noarch: 'generic' } } as const;

function conda(name: string, version = '1.0', build = '0') {
  return condaPackage({ ...NOARCH, name, version, build });
}

function tarBz2(name: string, version = '1.0') {
  return tarBz2Package({ ...NOARCH, name, version });
}

type Archives = readonly ReturnType<typeof conda>[];

async function channelOf(archives: Archives): Promise<DirectoryChannel> {
  const folder = await tempFolder();
  await writeChannel(folder, { noarch: archives });
  return new DirectoryChannel(folder);
}

function schemaOf(id: SchemaId) {
  return id === 'v0' ? schemaV0 : schemaV1;
}

/** `old` of the one schema, `new` of the other. */
function ends(
  { registry, path }: Pair,
  to: SchemaId,
): Pick<MigrateOptions, 'source' | 'destination' | 'workers'> {
  return {
    workers,
    source: new ChannelStore(registry, `${path}old`, schemaOf(to === 'v1' ? 'v0' : 'v1')),
    destination: new ChannelStore(registry, `${path}new`, schemaOf(to)),
  };
}

/** A channel of the double that holds these archives at its `old`, mirrored from a folder. */
async function oldChannel(name: string, archives: Archives, to: SchemaId = 'v1') {
  const view = (): Pair => openRegistryPair(double.host, name);
  const source = await channelOf(archives);
  await mirrorChannel({ source, destination: ends(view(), to).source });
  const migrate = async (
    options: Partial<MigrateOptions> = {},
  ): Promise<{ pair: Pair; report: MigrationReport }> => {
    const pair = view();
    return { pair, report: await migrateChannel({ ...ends(pair, to), ...options }) };
  };
  return { view, source, migrate };
}

/** What does not change from run to run: no ledger, no history tags. */
function lasting(state: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(state).filter(([place]) => !/ledger|:\d{8}T|:\d{4}(?:\.\d\d){5}$/.test(place)),
  );
}

/** Archives and other parts of packages that were sent, and not mounted. */
function sentOfPackages({ sent }: Pair): unknown[] {
  return sent.filter(({ repository }) => !/(?:\.json|ledger|shards\.msgpack\.zst)$/.test(repository));
}

async function rejection(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isFerryError(error)) throw new Error(`not refused by an error of ours: ${String(error)}`);
  return { code: error.code, message: error.message };
}

async function publishedNames(store: ChannelStore): Promise<string[]> {
  const answer = await new OciChannel(store).openMetadata('noarch/repodata.json');
  if (answer.status !== 'found') return [];
  const bytes = await collect(answer.body, 10_000_000, 'repodata');
  const repodata = JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, object>;
  return ['packages', 'packages.conda'].flatMap((section) => Object.keys(repodata[section] ?? {})).sort();
}

/** Writes what stands at a tag anew, changed. */
async function rewrite(
  store: ChannelStore,
  leaf: string,
  tag: string,
  change: (manifest: ImageManifest) => ImageManifest,
): Promise<void> {
  const repository = store.registry.repository(store.repositoryName('noarch', leaf));
  const stored = await repository.fetchManifest(tag);
  if (stored === undefined) throw new Error(`nothing at ${leaf}:${tag}`);
  const bytes = encodeJson(change(parseImageManifest(stored.bytes)));
  const descriptor = describeBytes(stored.descriptor.mediaType, bytes);
  await repository.push(descriptor, openerOf(bytes), { tags: [tag] });
}

async function manifestAt(store: ChannelStore, leaf: string, tag: string): Promise<ImageManifest> {
  const repository = store.registry.repository(store.repositoryName('noarch', leaf));
  const stored = await repository.fetchManifest(tag);
  if (stored === undefined) throw new Error(`nothing at ${leaf}:${tag}`);
  return parseImageManifest(stored.bytes);
}

describe.each(kinds)('in %s', (_kind, open) => {
  test.each(['v1', 'v0'] as const)('to %s: what mirror would write, and no archive moves', async (to) => {
    const view = await open(`whole-${to}`);
    const folder = new DirectoryChannel(FIXTURE_CHANNEL);
    await mirrorChannel({ source: folder, destination: ends(view(), to).source });
    const before = await stateOf(view(), 'old');
    const pair = view();
    const report = await migrateChannel(ends(pair, to));
    expect(report).toMatchObject({ mounts: true, to });
    expect(report.subdirs.map(({ migrated }) => migrated)).toEqual([22, 3, 4]);
    for (const { moved, failed, verified, artifacts } of report.subdirs) {
      expect({ moved, failed, verified }).toEqual({
        moved: { archives: 0, bytes: 0 },
        failed: [],
        verified: artifacts,
      });
    }
    expect(sentOfPackages(pair)).toEqual([]);
    expect(pair.writes.filter((path) => path.includes('/old/'))).toEqual([]);
    expect(await stateOf(view(), 'old')).toEqual(before);

    // Packed anew, out of the archives.
    const fresh = view();
    const plain = new ChannelStore(fresh.registry, `${fresh.path}plain`, schemaOf(to));
    const source = to === 'v1' ? folder : new OciChannel(ends(fresh, to).source);
    await mirrorChannel({ source, destination: plain });
    expect(lasting(await stateOf(view(), 'new'))).toEqual(lasting(await stateOf(view(), 'plain')));

    const second = view();
    const again = await migrateChannel(ends(second, to));
    expect(again.subdirs.map(({ there, publishedAs }) => [there, publishedAs])).toEqual([
      [22, 'kept'],
      [3, 'kept'],
      [4, 'kept'],
    ]);
    expect(second.writes).toEqual([]);
  });

  test('goes on after it was killed, and sends nothing twice', async () => {
    const view = await open('killed');
    const source = await channelOf(['a', 'b', 'c', 'd'].map((name) => conda(name)));
    await mirrorChannel({ source, destination: ends(view(), 'v1').source });
    for (let step = 1; step <= 24; step += 3) {
      const dying = view();
      let writes = 0;
      const registry = failingRegistry(dying.registry, () => (writes += 1) > step);
      await migrateChannel({ ...ends({ ...dying, registry }, 'v1'), concurrency: 2 }).catch(
        (error: unknown) => {
          expect(error).toMatchObject({ message: 'killed' });
        },
      );
      // What is listed is there, whenever it died.
      const { destination } = ends(view(), 'v1');
      const names = await publishedNames(destination);
      for (const filename of names) {
        const leaf = `c${filename.split('-')[0] ?? ''}`;
        expect((await manifestAt(destination, leaf, '1.0-0')).layers).toHaveLength(3);
      }
    }
    const last = view();
    const report = await migrateChannel(ends(last, 'v1'));
    expect(report.subdirs[0]).toMatchObject({ failed: [], listed: 4 });
    expect(sentOfPackages(last)).toEqual([]);
    expect(await publishedNames(ends(view(), 'v1').destination)).toHaveLength(4);
  });
});

describe('what the target cannot hold', () => {
  test('v1/P6: the twin is withheld by clause; its .conda goes alone', async () => {
    const { view, migrate } = await oldChannel('twins', [conda('both'), tarBz2('both'), tarBz2('lone')]);
    const { report, pair } = await migrate();
    expect(report.subdirs[0]?.withheld).toMatchObject([
      { filename: 'both-1.0-0.tar.bz2', code: 'TWIN_UNREPRESENTABLE', clause: 'v1/P6' },
    ]);
    const { destination } = ends(view(), 'v1');
    expect(await publishedNames(destination)).toEqual(['both-1.0-0.conda', 'lone-1.0-0.tar.bz2']);
    expect((await manifestAt(destination, 'cboth', '1.0-0')).layers).toHaveLength(3);
    expect(sentOfPackages(pair)).toEqual([]);
  });

  test('v0/D2, v0/D3, v0/D7: names of other packages and of metadata are withheld on the way back', async () => {
    const { view, migrate } = await oldChannel(
      'back',
      [conda('zzz_foo'), conda('plain', '1.0', 'a__p__b'), conda('notices.json'), conda('good')],
      'v0',
    );
    const { report } = await migrate();
    expect(report.subdirs[0]?.withheld.map(({ filename, clause }) => [filename, clause]).sort()).toEqual([
      ['notices.json-1.0-0.conda', 'v0/D7'],
      ['plain-1.0-a__p__b.conda', 'v0/D3'],
      ['zzz_foo-1.0-0.conda', 'v0/D2'],
    ]);
    expect(await publishedNames(ends(view(), 'v0').destination)).toEqual(['good-1.0-0.conda']);
  });

  test('v1/G9: a path that is too long for the registry is withheld', async () => {
    const { view } = await oldChannel('long', [conda('hello'), conda('a-name-of-some-length')]);
    const pair = view();
    const room = pair.registry.maxNameLength - '/noarch/mrepodata.json'.length;
    const destination = new ChannelStore(pair.registry, 'n'.repeat(room), schemaV1);
    const report = await migrateChannel({ source: ends(pair, 'v1').source, destination });
    expect(report.subdirs[0]?.withheld).toMatchObject([
      { filename: 'a-name-of-some-length-1.0-0.conda', code: 'NAME_UNREPRESENTABLE', clause: 'v1/G9' },
    ]);
    expect(await publishedNames(destination)).toEqual(['hello-1.0-0.conda']);
  });
});

describe('what the source lacks', () => {
  test('without info or index the archive is read, and the plan says so; its bytes are mounted all the same', async () => {
    const { view, migrate, source } = await oldChannel('lacking', [conda('bare'), conda('whole')]);
    await rewrite(ends(view(), 'v1').source, 'bare', '1.0-0', (manifest) => ({
      ...manifest,
      layers: manifest.layers.filter(({ mediaType }) => !mediaType.includes('info.index')),
    }));
    const repository = double.repositories.get('lacking/old/noarch/bare');
    const sizes = [...(repository?.blobs.values() ?? [])]
      .map((blob) => blob.byteLength)
      .sort((a, b) => a - b);
    for (const [digest, blob] of repository?.blobs ?? [])
      if (blob.byteLength > 2 && blob.byteLength < (sizes.at(-1) ?? 0)) repository?.blobs.delete(digest);
    const planning = view();
    const plan = await planMigration(ends(planning, 'v1'));
    expect(planning.writes).toEqual([]);
    expect(plan.subdirs[0]).toMatchObject({
      listed: 2,
      artifacts: { there: 0, toWrite: 2 },
      toRead: [{ filename: 'bare-1.0-0.conda', lacks: 'info' }],
      failing: [],
    });
    expect(plan.subdirs[0]?.bytes).toBe(plan.subdirs[0]?.toRead[0]?.size);

    const { report, pair } = await migrate();
    expect(report.subdirs[0]?.moved).toEqual({ archives: 1, bytes: plan.subdirs[0]?.bytes });
    // Index and info alone.
    expect(sentOfPackages(pair)).toHaveLength(2);
    const plain = new ChannelStore(view().registry, 'lacking/plain', schemaV1);
    await mirrorChannel({ source, destination: plain });
    expect(lasting(await stateOf(view(), 'new'))).toEqual(lasting(await stateOf(view(), 'plain')));
    // What a run found by reading, the next one finds by looking at what was written.
    const second = await migrate();
    expect(second.pair.writes).toEqual([]);
    expect(second.report.subdirs[0]?.moved.archives).toBe(0);
  });

  test('info and index that another tool wrote are kept as they are; so are annotations of users', async () => {
    const { view, migrate } = await oldChannel('others', [conda('other')]);
    const { source } = ends(view(), 'v1');
    const info = Buffer.from('another gzip of the same files');
    const descriptor = describeBytes('application/vnd.conda.info.v1.tar+gzip', info);
    await source.registry
      .repository(source.repositoryName('noarch', 'other'))
      .push(descriptor, openerOf(info));
    await rewrite(source, 'other', '1.0-0', (manifest) => ({
      ...manifest,
      layers: manifest.layers.map((layer) => (layer.mediaType === descriptor.mediaType ? descriptor : layer)),
      annotations: { 'org.opencontainers.image.source': 'https://example.org', 'org.conda.old': 'gone' },
    }));
    const { report, pair } = await migrate();
    expect(report.subdirs[0]).toMatchObject({ failed: [], moved: { archives: 0 } });
    expect(sentOfPackages(pair)).toEqual([]);
    const manifest = await manifestAt(ends(view(), 'v1').destination, 'cother', '1.0-0');
    expect(manifest.layers.map(({ digest }) => digest)).toContain(descriptor.digest);
    expect(manifest.annotations).toEqual({
      'org.conda.oci.schema': '1',
      'org.conda.package.name': 'other',
      'org.conda.package.version': '1.0',
      'org.conda.package.build': '0',
      'org.opencontainers.image.source': 'https://example.org',
    });
  });

  test('an md5 that nobody wrote down comes from the record; where the two differ, from the bytes', async () => {
    const { view, migrate } = await oldChannel('md5', [conda('none'), conda('wrong')]);
    const { source } = ends(view(), 'v1');
    const right = (await manifestAt(source, 'wrong', '1.0-0')).layers[0]?.annotations?.['org.conda.md5'];
    const withMd5 = (manifest: ImageManifest, md5: Record<string, string>): ImageManifest => ({
      ...manifest,
      layers: manifest.layers.map((layer, i) => (i > 0 ? layer : { ...layer, annotations: md5 })),
    });
    await rewrite(source, 'none', '1.0-0', (manifest) => withMd5(manifest, {}));
    await rewrite(source, 'wrong', '1.0-0', (manifest) =>
      withMd5(manifest, { 'org.conda.md5': '0'.repeat(32) }),
    );
    const { report } = await migrate();
    expect(report.subdirs[0]?.moved.archives).toBe(1);
    const [layer] = (await manifestAt(ends(view(), 'v1').destination, 'cwrong', '1.0-0')).layers;
    expect(layer?.annotations?.['io.conda-ferry.md5']).toBe(right);
  });

  test('of twins of which only the .tar.bz2 is listed, the info is read from it', async () => {
    const { view, source } = await oldChannel('half', [conda('both'), tarBz2('both')]);
    const only = await channelOf([tarBz2('both')]);
    const { destination: old } = { destination: ends(view(), 'v1').source };
    const answer = await only.openMetadata('noarch/repodata.json');
    if (answer.status !== 'found') throw new Error('no repodata');
    const bytes = await collect(answer.body, 100_000, 'repodata');
    const layer = { mediaType: 'application/vnd.conda.repodata.v1+json', title: 'repodata.json', bytes };
    await pushMetadata(old, 'noarch', 'repodata.json', [layer], { tags: [LATEST] });
    const report = await migrateChannel(ends(view(), 'v1'));
    expect(report.subdirs[0]).toMatchObject({ migrated: 1, moved: { archives: 1 }, withheld: [] });
    const plain = new ChannelStore(view().registry, 'half/plain', schemaV1);
    await mirrorChannel({ source: only, destination: plain });
    expect((await stateOf(view(), 'new'))['noarch/cboth:1.0-0']).toBe(
      (await stateOf(view(), 'plain'))['noarch/cboth:1.0-0'],
    );
    expect(source.url).not.toBe(only.url);
  });
});

describe('packages that fail', () => {
  async function broken(name: string) {
    const channel = await oldChannel(name, [conda('a'), conda('b'), conda('c')]);
    const repository = double.repositories.get(`${name}/old/noarch/b`);
    const digest = repository?.tags.get('1.0-0') ?? '';
    repository?.tags.delete('1.0-0');
    return { ...channel, mend: () => repository?.tags.set('1.0-0', digest) };
  }

  test('the first one ends the run before anything is published; the next run goes on', async () => {
    const { view, migrate, mend } = await broken('stops');
    expect(await rejection(migrate())).toMatchObject({
      code: 'ARCHIVE_ABSENT',
      message: '`noarch/b-1.0-0.conda` cannot be migrated',
    });
    expect(await publishedNames(ends(view(), 'v1').destination)).toEqual([]);
    mend();
    const { report, pair } = await migrate();
    expect(report.subdirs[0]).toMatchObject({ failed: [], publishedAs: 'unchanged' });
    expect(pair.writes.filter((path) => /\/ca\/manifests/.test(path))).toEqual([]);
  });

  test('with keepGoing they are left out and listed; tried again, the repodata is completed', async () => {
    const { view, migrate, mend } = await broken('goes-on');
    const { report } = await migrate({ keepGoing: true });
    expect(report.subdirs[0]).toMatchObject({
      migrated: 2,
      verified: 2,
      publishedAs: 'spliced',
      failed: [{ filename: 'b-1.0-0.conda', code: 'ARCHIVE_ABSENT' }],
    });
    const { destination } = ends(view(), 'v1');
    expect(await publishedNames(destination)).toEqual(['a-1.0-0.conda', 'c-1.0-0.conda']);

    const file = JSON.stringify(failuresFileOf(report));
    const retryFailed = parseFailures(file, 'the file');
    const still = await migrate({ retryFailed });
    expect(still.report.subdirs[0]?.failed).toMatchObject([{ filename: 'b-1.0-0.conda' }]);
    expect(await publishedNames(destination)).toEqual(['a-1.0-0.conda', 'c-1.0-0.conda']);
    mend();
    const mended = await migrate({ retryFailed });
    expect(mended.report.subdirs[0]).toMatchObject({ failed: [], migrated: 1, publishedAs: 'unchanged' });
    // Only that package was looked at.
    expect(mended.pair.requests.filter((request) => /\/noarch\/c?[ac]\//.test(request))).toEqual([]);
    expect(await publishedNames(destination)).toHaveLength(3);
    // The list is of this migration alone.
    expect(
      await rejection(
        migrateChannel({
          source: ends(view(), 'v1').source,
          destination: new ChannelStore(view().registry, 'elsewhere', schemaV1),
          retryFailed,
        }),
      ),
    ).toMatchObject({ code: 'USAGE' });
    expect(() => parseFailures('{}', 'x')).toThrow('no list of what failed');
    // A name that every object has is no code.
    const strange = file.replace(/"code":"[A-Z_]+"/, '"code":"toString"');
    expect(() => parseFailures(strange, 'x')).toThrow('no list of what failed');
  });

  test('a record that the artifact does not hold fails by its digest, its twin does not', async () => {
    const { view, migrate } = await oldChannel('digests', [conda('x'), tarBz2('x')], 'v1');
    await rewrite(ends(view(), 'v1').source, 'x', '1.0-0', (manifest) => ({
      ...manifest,
      layers: manifest.layers.filter(({ mediaType }) => !mediaType.endsWith('package.v2')),
    }));
    const { report } = await migrate({ keepGoing: true });
    expect(report.subdirs[0]?.failed).toMatchObject([{ filename: 'x-1.0-0.conda', code: 'ARCHIVE_ABSENT' }]);
    expect(report.subdirs[0]?.withheld).toHaveLength(1);
  });

  test('what is not at its place after it was written is not listed, and fails', async () => {
    const { view, migrate } = await oldChannel('tampered', [conda('a'), conda('b')]);
    const archive = ({ filename }: { filename: string }): void => {
      if (filename === 'a-1.0-0.conda')
        double.repositories.get('tampered/new/noarch/ca')?.tags.delete('1.0-0');
    };
    const { report } = await migrate({ reporter: { archive } });
    expect(report.subdirs[0]).toMatchObject({
      verified: 1,
      failed: [{ filename: 'a-1.0-0.conda', code: 'DIGEST_MISMATCH' }],
    });
    expect(await publishedNames(ends(view(), 'v1').destination)).toEqual(['b-1.0-0.conda']);
    // The next run heals it.
    const healed = await migrate();
    expect(healed.report.subdirs[0]).toMatchObject({ there: 1, migrated: 1, failed: [], verified: 2 });
    expect(await publishedNames(ends(view(), 'v1').destination)).toHaveLength(2);
  });
});

describe('the new channel', () => {
  test('costs at most one GET, three mounts, one PUT and one look for each package', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const { migrate } = await oldChannel(
      'count',
      names.map((name) => conda(name)),
    );
    const { pair } = await migrate();
    for (const name of names) {
      const of = (pattern: RegExp): number => pair.requests.filter((request) => pattern.test(request)).length;
      expect(of(new RegExp(`GET .*/old/noarch/${name}/manifests`))).toBe(1);
      expect(of(new RegExp(`/new/noarch/c${name}/`))).toBe(6);
      // The config too.
      expect(of(new RegExp(`POST .*/c${name}/blobs/uploads/.*mount=`))).toBe(4);
    }
  });

  test('is the mirror that the old one was: mirroring goes on in it and fetches only what is new', async () => {
    const { view, migrate, source } = await oldChannel('nightly', [conda('a'), conda('b'), tarBz2('b')]);
    await migrate();
    const opened: string[] = [];
    const watched = (channel: DirectoryChannel): DirectoryChannel =>
      Object.assign(Object.create(channel) as DirectoryChannel, {
        url: source.url,
        subdirs: () => channel.subdirs(),
        openMetadata: (...args: Parameters<DirectoryChannel['openMetadata']>) =>
          channel.openMetadata(...args),
        openArchive: (...args: Parameters<DirectoryChannel['openArchive']>) => {
          opened.push(args[0].filename);
          return channel.openArchive(...args);
        },
      });
    const same = view();
    await mirrorChannel({ source: watched(source), destination: ends(same, 'v1').destination });
    expect([same.writes, opened]).toEqual([[], []]);
    const grown = await channelOf([conda('a'), conda('b'), tarBz2('b'), conda('c')]);
    await mirrorChannel({ source: watched(grown), destination: ends(view(), 'v1').destination });
    expect(opened).toEqual(['c-1.0-0.conda']);
    // It went on by itself: what it lists since then is not dropped by migrating once more.
    expect(await rejection(migrate())).toMatchObject({ code: 'FOREIGN_RECORDS' });
  });

  test('of a channel that was no mirror is none: a later mirror asks the registry and keeps everything', async () => {
    const { view, migrate, source } = await oldChannel('published', [conda('a'), conda('b')]);
    double.repositories.delete('published/old/noarch/repodata_ledger.json');
    await migrate();
    const { destination } = ends(view(), 'v1');
    expect((await readLedger(destination, 'noarch'))?.role).toEqual({
      kind: 'migrated',
      source: `oci://${double.host}/published/old`,
    });
    const pair = view();
    const report = await mirrorChannel({ source, destination: ends(pair, 'v1').destination });
    expect(report.subdirs[0]).toMatchObject({ there: 2, added: 0 });
    expect(pair.writes.filter((path) => /\/c[ab]\//.test(path))).toEqual([]);
  });

  test('has what v0 had withheld once it is mirrored again', async () => {
    const { view, migrate, source } = await oldChannel('unlocked', [conda('good'), conda('zzz_foo')]);
    await migrate();
    await mirrorChannel({ source, destination: ends(view(), 'v1').destination });
    expect(await publishedNames(ends(view(), 'v1').destination)).toEqual([
      'good-1.0-0.conda',
      'zzz_foo-1.0-0.conda',
    ]);
  });

  test('has the other metadata too, spliced where it lists what is withheld', async () => {
    const { view, migrate } = await oldChannel('metadata', [conda('a'), conda('b'), tarBz2('b')]);
    const { source } = ends(view(), 'v1');
    const answer = await new OciChannel(source).openMetadata('noarch/repodata.json');
    if (answer.status !== 'found') throw new Error('no repodata');
    const current = await collect(answer.body, 100_000, 'repodata');
    const json = (mediaType: string, title: string, bytes: Uint8Array) => [
      { mediaType: `application/vnd.conda.${mediaType}.v1+json`, title, bytes },
    ];
    const tags = [LATEST];
    const runExports = Buffer.from('{"packages":{}}');
    const layers = json('run_exports', 'run_exports.json', runExports);
    await pushMetadata(source, 'noarch', 'run_exports.json', layers, { tags });
    const listing = json('repodata', 'current_repodata.json', current);
    await pushMetadata(source, 'noarch', 'current_repodata.json', listing, { tags });
    const data = json('channeldata', 'channeldata.json', Buffer.from('{"channeldata_version":1}'));
    await pushMetadata(source, '', 'channeldata.json', data, { tags });
    const { report, pair } = await migrate();
    expect(report.subdirs[0]?.metadata).toEqual(['current_repodata.json', 'run_exports.json']);
    expect(report.metadata).toEqual(['channeldata.json']);
    expect(pair.sent.filter(({ repository }) => /run_exports|channeldata/.test(repository))).toEqual([]);
    const channel = new OciChannel(ends(view(), 'v1').destination);
    const read = async (path: string): Promise<string> => {
      const found = await channel.openMetadata(path);
      if (found.status !== 'found') throw new Error(`no ${path}`);
      return Buffer.from(await collect(found.body, 100_000, path)).toString();
    };
    expect(await read('noarch/run_exports.json')).toBe(runExports.toString());
    expect(await read('channeldata.json')).toBe('{"channeldata_version":1}');
    expect(await read('noarch/current_repodata.json')).not.toContain('b-1.0-0.tar.bz2');
    expect(await read('noarch/current_repodata.json')).toContain('b-1.0-0.conda');
    expect((await migrate()).pair.writes).toEqual([]);
  });

  test('replaces what it listed with other bytes in three steps', async () => {
    const { view, migrate } = await oldChannel('replaced', [conda('a'), conda('b')]);
    await migrate();
    const other = condaPackage({
      ...NOARCH,
      name: 'a',
      version: '1.0',
      payloadFiles: { 'share/a': 'new\n' },
    });
    const changed = await channelOf([other, conda('b')]);
    const again = view();
    await mirrorChannel({ source: changed, destination: ends(again, 'v1').source, merge: true });
    const seen: string[][] = [];
    const inner = view();
    const registry = failingRegistry(inner.registry, ({ repository, verb, descriptor }) => {
      if (repository.endsWith('/ca') && verb === 'push' && descriptor.mediaType.includes('manifest'))
        seen.push([...(double.repositories.get('replaced/new/noarch/mrepodata.json')?.tags.values() ?? [])]);
      return false;
    });
    const before = double.repositories.get('replaced/new/noarch/mrepodata.json')?.tags.get('latest');
    const report = await migrateChannel(ends({ ...inner, registry }, 'v1'));
    expect(report.subdirs[0]).toMatchObject({ migrated: 1, there: 1, publishedAs: 'unchanged' });
    expect(seen).toHaveLength(1);
    expect(seen[0]?.filter((digest) => digest !== before)).not.toEqual([]);
  });
});

describe('what cannot be', () => {
  test('one schema at both ends, both at one path, the other schema in the way', async () => {
    const { view } = await oldChannel('refused', [conda('a')]);
    const { source } = ends(view(), 'v1');
    const { registry } = view();
    const to = (path: string, schema: SchemaId): Promise<{ code: string }> =>
      rejection(migrateChannel({ source, destination: new ChannelStore(registry, path, schemaOf(schema)) }));
    expect(await to('refused/new', 'v0')).toMatchObject({ code: 'USAGE' });
    expect(await to('refused/old', 'v1')).toMatchObject({ code: 'USAGE' });
    const taken = new ChannelStore(view().registry, 'refused/taken', schemaV0);
    await mirrorChannel({ source: await channelOf([conda('z')]), destination: taken });
    expect(await to('refused/taken', 'v1')).toMatchObject({ code: 'SCHEMA_CONFLICT' });
    const nothing = new ChannelStore(registry, 'refused/nothing', schemaV0);
    const destination = new ChannelStore(registry, 'refused/new', schemaV1);
    expect(await rejection(migrateChannel({ source: nothing, destination }))).toMatchObject({
      code: 'CHANNEL_NOT_FOUND',
    });
  });

  test('a registry that mounts nothing gets everything sent, and the report says so', async () => {
    await using stubborn = await startRegistryDouble({ mount: '202' });
    const view = (): Pair => openRegistryPair(stubborn.host, 'x');
    await mirrorChannel({ source: await channelOf([conda('a')]), destination: ends(view(), 'v1').source });
    const report = await migrateChannel(ends(view(), 'v1'));
    expect(report.subdirs[0]).toMatchObject({ migrated: 1, failed: [], moved: { archives: 1 } });
  });

  test('between two stores everything is copied, as the plan says', async () => {
    const { view } = await oldChannel('across', [conda('a'), tarBz2('b')]);
    const folder = await tempFolder();
    const { source } = ends(view(), 'v1');
    const { destination } = ends(openLayoutPair(folder), 'v1');
    const plan = await planMigration({ source, destination });
    expect(plan).toMatchObject({ mounts: false, subdirs: [{ artifacts: { toWrite: 2 }, toRead: [] }] });
    const report = await migrateChannel({ source, destination });
    expect(report.subdirs[0]).toMatchObject({
      failed: [],
      moved: { archives: 2, bytes: plan.subdirs[0]?.bytes },
    });
  });
});
