import { cp, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { readShard, readShardIndex } from '#ferry/conda/shards/read-shards.js';
import { shardFilename } from '#ferry/conda/shards/shard-files.js';
import { acquireDirectoryLock } from '#ferry/io/directory-lock.js';
import { exportChannel, planExport, type ExportOptions } from '#ferry/mirror/export/export.js';
import { takeShardSnapshot } from '#ferry/mirror/shard-snapshot.js';
import { condaPackage } from '../../../fixtures/build/archive.mjs';
import { repodataOf, writeChannel } from '../../../fixtures/build/channel.mjs';
import { checkFolder } from '../../conformance/checked-channel.js';
import { sha256 } from '../../support/audit.js';
import { FIXTURE_CHANNEL } from '../../support/channels.js';
import { serveChannel } from '../../support/channel-server.js';
import { startRegistry } from '../../support/docker-registry.js';
import { failuresOf, httpSource, mirrorFolder, registryStore } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import { workers } from '../../support/workers.js';

const SUBDIRS = ['linux-64', 'noarch', 'osx-arm64'];
const DAY_MS = 24 * 60 * 60 * 1000;

let folder: string;
beforeEach(async () => {
  folder = join(await tempFolder(), 'channel');
});

/** Exports a folder, or any channel. */
async function exported(from: string | ChannelSource, options: Partial<ExportOptions> = {}) {
  const source = typeof from === 'string' ? new DirectoryChannel(from) : from;
  return exportChannel({ source, folder, workers, ...options });
}

function hello(version: string, payload = 'hello\n') {
  return condaPackage({
    name: 'hello',
    version,
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
    payloadFiles: { 'share/hello': payload },
  });
}

/** A channel of these archives in `noarch`. */
async function channelOf(...archives: ReturnType<typeof hello>[]): Promise<string> {
  const channel = await tempFolder();
  await writeChannel(channel, { noarch: archives });
  return channel;
}

interface Listing {
  readonly packages: Record<string, { sha256: string; size: number }>;
  readonly 'packages.conda': Record<string, { sha256: string; size: number }>;
  readonly [key: string]: unknown;
}

async function listingOf(root: string, subdir: string, name = 'repodata.json'): Promise<Listing> {
  return JSON.parse(await readFile(join(root, subdir, name), 'utf8')) as Listing;
}

function recordsOf(listing: Listing) {
  return { ...listing.packages, ...listing['packages.conda'] };
}

/** What is listed in a folder and not there, by repodata and by shards. */
async function faultsOf(root: string, subdir: string): Promise<string[]> {
  const faults: string[] = [];
  const listed = recordsOf(await listingOf(root, subdir));
  for (const [filename, record] of Object.entries(listed)) {
    const bytes = await readFile(join(root, subdir, filename)).catch(() => undefined);
    if (bytes === undefined || sha256(bytes) !== `sha256:${record.sha256}`) faults.push(filename);
  }
  expect(await shardedOf(root, subdir)).toEqual(listed);
  return faults;
}

/** All that the shards list. */
async function shardedOf(root: string, subdir: string): Promise<Record<string, unknown>> {
  const index = await readFile(join(root, subdir, 'repodata_shards.msgpack.zst'));
  const records: Record<string, unknown> = {};
  for (const [name, digest] of (await readShardIndex(index, subdir, 'it')).shards) {
    const bytes = await readFile(join(root, subdir, 'shards', shardFilename(digest)));
    const shard = await readShard(bytes, { name, digest });
    for (const section of ['packages', 'packages.conda'] as const)
      for (const [filename, record] of shard[section]) records[filename] = record;
  }
  return records;
}

/** Time and size of everything below a folder. */
async function statesOf(root: string): Promise<Record<string, string>> {
  const states: Record<string, string> = {};
  for (const name of await readdir(root, { recursive: true })) {
    const { mtimeNs, size, ino } = await stat(join(root, name), { bigint: true });
    if (!name.includes('.lock') && (await stat(join(root, name))).isFile())
      states[name] = [mtimeNs, size, ino].join(' ');
  }
  return states;
}

async function shardsIn(root: string): Promise<string[]> {
  return (await readdir(join(root, 'noarch', 'shards'))).sort();
}

describe('an export', () => {
  test('out of a registry gives back the channel that went in', async () => {
    await using registry = await startRegistry();
    const view = registryStore(registry, 'export');
    await mirrorFolder(FIXTURE_CHANNEL, view);
    const report = await exported(new OciChannel(view.store));
    expect(failuresOf(report)).toEqual({});
    for (const subdir of SUBDIRS) {
      for (const name of ['repodata.json', 'repodata.json.zst'])
        expect(await readFile(join(folder, subdir, name))).toEqual(
          await readFile(join(FIXTURE_CHANNEL, subdir, name)),
        );
      expect(await faultsOf(folder, subdir)).toEqual([]);
    }
  });

  test('conforms, shards and companions too', async () => {
    const report = await exported(FIXTURE_CHANNEL);
    expect(report.subdirs.map(({ subdir, publishedAs }) => [subdir, publishedAs])).toEqual(
      SUBDIRS.map((subdir) => [subdir, 'unchanged']),
    );
    expect(await readFile(join(folder, 'channeldata.json'))).toEqual(
      await readFile(join(FIXTURE_CHANNEL, 'channeldata.json')),
    );
    expect(await listingOf(folder, 'linux-64', 'run_exports.json')).toEqual(
      await listingOf(FIXTURE_CHANNEL, 'linux-64', 'run_exports.json'),
    );
    const { findings } = await checkFolder(folder, { deep: true });
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  test('with nothing to do writes nothing', async () => {
    await exported(FIXTURE_CHANNEL);
    const before = await statesOf(folder);
    const report = await exported(FIXTURE_CHANNEL);
    expect(await statesOf(folder)).toEqual(before);
    expect(report.subdirs.map(({ publishedAs, added }) => [publishedAs, added])).toEqual(
      SUBDIRS.map(() => ['kept', 0]),
    );
  });

  test('fetches only what the folder lacks, and reads again what it does not list', async () => {
    const channel = await channelOf(hello('1.0'), hello('2.0'));
    await exported(channel);
    await writeChannel(channel, { noarch: [hello('1.0'), hello('2.0'), hello('3.0'), hello('4.0')] });
    // Somebody copied one archive there by hand.
    await cp(join(channel, 'noarch', 'hello-4.0-0.conda'), join(folder, 'noarch', 'hello-4.0-0.conda'));
    await using server = await serveChannel(channel);
    const report = await exported(httpSource(server.url), { subdirs: ['noarch'], merge: true });
    expect(server.requests.map(({ path }) => path).filter((path) => path.endsWith('.conda'))).toEqual([
      '/channel/noarch/hello-3.0-0.conda',
    ]);
    expect(report.subdirs[0]).toMatchObject({ listed: 4, there: 3, added: 1 });
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
  });

  test('says beforehand what it would do, and does none of it', async () => {
    const channel = await channelOf(hello('1.0'));
    const plan = await planExport({ source: new DirectoryChannel(channel), folder, workers });
    expect(plan.subdirs).toMatchObject([{ subdir: 'noarch', listed: 1, there: 0, toCheck: 0, toAdd: 1 }]);
    await expect(stat(folder)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('finds damage with deep, and mends it', async () => {
    const channel = await channelOf(hello('1.0'));
    await exported(channel);
    const path = join(folder, 'noarch', 'hello-1.0-0.conda');
    const bytes = await readFile(path);
    bytes[100]! ^= 1;
    await writeFile(path, bytes);
    expect((await exported(channel)).subdirs[0]).toMatchObject({ there: 1, added: 0 });
    expect((await exported(channel, { deep: true })).subdirs[0]).toMatchObject({ there: 0, added: 1 });
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
  });

  test('does not list an archive that is missing or wrong, reports it, and takes it when it is there', async () => {
    const channel = await channelOf(hello('1.0'), hello('2.0'), hello('3.0'));
    await rm(join(channel, 'noarch', 'hello-2.0-0.conda'));
    const good = await readFile(join(channel, 'noarch', 'hello-3.0-0.conda'));
    await writeFile(join(channel, 'noarch', 'hello-3.0-0.conda'), Buffer.alloc(good.byteLength));
    const report = await exported(channel);
    expect(failuresOf(report)).toEqual({
      'noarch/hello-2.0-0.conda': 'ARCHIVE_ABSENT',
      'noarch/hello-3.0-0.conda': 'DIGEST_MISMATCH',
    });
    expect(Object.keys(recordsOf(await listingOf(folder, 'noarch')))).toEqual(['hello-1.0-0.conda']);
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
    expect((await readdir(join(folder, 'noarch'))).filter((name) => name.endsWith('.conda'))).toEqual([
      'hello-1.0-0.conda',
    ]);

    await writeFile(join(channel, 'noarch', 'hello-3.0-0.conda'), good);
    expect((await exported(channel)).subdirs[0]).toMatchObject({ there: 1, added: 1 });
  });

  test('never lists other bytes than are there while an archive is replaced', async () => {
    const channel = await channelOf(hello('1.0', 'old\n'), hello('2.0'));
    await exported(channel);
    await writeChannel(channel, { noarch: [hello('1.0', 'new\n'), hello('2.0')] });
    const source = new DirectoryChannel(channel);
    const seen: string[][] = [];
    const watching: ChannelSource = {
      url: source.url,
      subdirs: () => source.subdirs(),
      openMetadata: (path, options) => source.openMetadata(path, options),
      openArchive: async function* (archive, options) {
        seen.push(Object.keys(recordsOf(await listingOf(folder, 'noarch'))));
        expect(await faultsOf(folder, 'noarch')).toEqual([]);
        yield* source.openArchive(archive, options);
      },
    };
    await exported(watching);
    expect(seen).toEqual([['hello-2.0-0.conda']]);
    expect(Object.keys(recordsOf(await listingOf(folder, 'noarch')))).toHaveLength(2);
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
  });

  test('keeps archives that the source no longer lists', async () => {
    const channel = await channelOf(hello('1.0'), hello('2.0'));
    await exported(channel);
    await writeChannel(channel, { noarch: [hello('2.0')] });
    expect((await exported(channel)).subdirs[0]).toMatchObject({ kept: 1 });
    expect(Object.keys(recordsOf(await listingOf(folder, 'noarch')))).toEqual(['hello-2.0-0.conda']);
    await expect(stat(join(folder, 'noarch', 'hello-1.0-0.conda'))).resolves.toBeDefined();
  });

  test('takes only what is selected', async () => {
    const channel = await channelOf(hello('1.0'), hello('2.0'));
    await exported(channel, { select: ({ version }) => version === '2.0' });
    expect(Object.keys(recordsOf(await listingOf(folder, 'noarch')))).toEqual(['hello-2.0-0.conda']);
    await expect(stat(join(folder, 'noarch', 'hello-1.0-0.conda'))).rejects.toThrow();
  });

  test('cep16/old-shards: keeps shards for a week after the last index that names them', async () => {
    const now = new Date('2026-11-21T07:35:09Z');
    const channel = await channelOf(hello('1.0'));
    await exported(channel, { now: () => now });
    const first = await shardsIn(folder);
    // They were written long ago, and were named until today.
    const long = new Date(now.getTime() - 100 * DAY_MS);
    for (const name of first) await utimes(join(folder, 'noarch', 'shards', name), long, long);
    await writeChannel(channel, { noarch: [hello('2.0')] });
    await exported(channel, { now: () => now });
    expect(await shardsIn(folder)).toEqual(expect.arrayContaining(first));
    expect(await shardsIn(folder)).toHaveLength(2);
    await exported(channel, { now: () => new Date(now.getTime() + 6 * DAY_MS) });
    expect(await shardsIn(folder)).toHaveLength(2);
    await exported(channel, { now: () => new Date(now.getTime() + 8 * DAY_MS) });
    expect(await shardsIn(folder)).toHaveLength(1);
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
  });

  test('mends index files that somebody changed or removed', async () => {
    const channel = await channelOf(hello('1.0'), hello('2.0'));
    await exported(channel);
    const before = await shardsIn(folder);
    for (const name of ['repodata_shards.msgpack.zst', 'repodata.json.zst', 'repodata.json', 'shards']) {
      await rm(join(folder, 'noarch', name), { recursive: true });
      await exported(channel);
      expect(await shardsIn(folder)).toEqual(before);
      expect(await faultsOf(folder, 'noarch')).toEqual([]);
    }
  });

  test('writes the same files on two machines', async () => {
    const channel = await channelOf(hello('1.0'), hello('2.0'));
    const other = join(await tempFolder(), 'other');
    const date = new Date('2026-01-01T00:00:00Z');
    await exported(channel, { now: () => date });
    await exported(channel, { now: () => date, folder: other });
    for (const name of await readdir(join(folder, 'noarch'), { recursive: true })) {
      if ((await stat(join(folder, 'noarch', name))).isFile())
        expect(await readFile(join(folder, 'noarch', name))).toEqual(
          await readFile(join(other, 'noarch', name)),
        );
    }
  });

  test('CEP 15: follows base_url, and does not send clients there', async () => {
    const files = await channelOf(hello('1.0'));
    await using server = await serveChannel(files);
    const channel = await tempFolder();
    const repodata = repodataOf('noarch', [hello('1.0')]);
    await mkdir(join(channel, 'noarch'));
    await writeFile(
      join(channel, 'noarch', 'repodata.json'),
      JSON.stringify({
        ...repodata,
        info: { ...repodata.info, base_url: `${server.url}/noarch/` },
        repodata_version: 2,
      }),
    );
    await using index = await serveChannel(channel);
    const report = await exported(httpSource(index.url), { subdirs: ['noarch'] });
    expect(report.subdirs[0]).toMatchObject({ added: 1, publishedAs: 'spliced' });
    expect((await listingOf(folder, 'noarch'))['info']).toEqual({ subdir: 'noarch' });
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
  });

  test('lists no more in other forms of repodata than is there', async () => {
    const channel = await channelOf(hello('1.0'), hello('2.0'));
    const all = await readFile(join(channel, 'noarch', 'repodata.json'));
    await writeFile(join(channel, 'noarch', 'current_repodata.json'), all);
    await rm(join(channel, 'noarch', 'hello-2.0-0.conda'));
    await exported(channel);
    const current = await listingOf(folder, 'noarch', 'current_repodata.json');
    expect(Object.keys(recordsOf(current))).toEqual(['hello-1.0-0.conda']);
    await rm(join(channel, 'noarch', 'current_repodata.json'));
    await exported(channel);
    expect(await readdir(join(folder, 'noarch'))).not.toContain('current_repodata.json');
  });

  test('CEP 26: has a noarch, also where the source has none', async () => {
    const channel = await tempFolder();
    await cp(join(FIXTURE_CHANNEL, 'osx-arm64'), join(channel, 'osx-arm64'), { recursive: true });
    await exported(channel);
    expect(recordsOf(await listingOf(folder, 'noarch'))).toEqual({});
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
    const before = await statesOf(folder);
    await exported(channel);
    expect(await statesOf(folder)).toEqual(before);
  });

  test('does not drop what others listed there', async () => {
    await writeChannel(folder, { noarch: [hello('0.1')] });
    const channel = await channelOf(hello('1.0'));
    await expect(exported(channel)).rejects.toMatchObject({ code: 'FOREIGN_RECORDS' });
    await exported(channel, { merge: true });
    // Once they were kept, they stay.
    await exported(channel);
    expect(Object.keys(recordsOf(await listingOf(folder, 'noarch'))).sort()).toEqual([
      'hello-0.1-0.conda',
      'hello-1.0-0.conda',
    ]);
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
  });

  test('refuses a source that lists nothing any more', async () => {
    const channel = await channelOf(hello('1.0'));
    await exported(channel);
    await writeFile(join(channel, 'noarch', 'repodata.json'), '{}\n');
    await rm(join(channel, 'noarch', 'repodata.json.zst'));
    await expect(exported(channel)).rejects.toMatchObject({ code: 'SOURCE_VANISHED' });
    await exported(channel, { allowOlder: true });
    expect(await faultsOf(folder, 'noarch')).toEqual([]);
  });

  test('keeps a second run out, and cleans up after a killed one', async () => {
    const channel = await channelOf(hello('1.0'));
    await mkdir(join(folder, 'noarch'), { recursive: true });
    const left = join(folder, 'noarch', '.tmp-00000000-0000-4000-8000-000000000000');
    await writeFile(left, 'half');
    {
      await using _ = await acquireDirectoryLock(join(folder, '.conda-ferry-export.lock'));
      await expect(exported(channel)).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    }
    await exported(channel);
    await expect(stat(left)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('gives shards that a filtered mirror can start from', async () => {
    await exported(FIXTURE_CHANNEL);
    const names = new Set(['ferry-lib']);
    const answer = await takeShardSnapshot(new DirectoryChannel(folder), 'linux-64', names);
    if (answer.status !== 'found') throw new Error(answer.status);
    const listing = JSON.parse(Buffer.from(answer.bytes).toString()) as Listing;
    expect(Object.keys(recordsOf(listing)).sort()).toEqual([
      'ferry-lib-1!2.0-h0_1.conda',
      'ferry-lib-1!2.0-h0_1.tar.bz2',
      'ferry-lib-3.0-h0_0.conda',
    ]);
  });
});
