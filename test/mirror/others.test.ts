import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { REPODATA, ZSTD_SUFFIX } from '#ferry/artifact/media-types.js';
import { LATEST, pushMetadata } from '#ferry/artifact/metadata-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { parseFilters } from '#ferry/mirror/filters/filters.js';
import { mirrorChannel, type MirrorOptions } from '#ferry/mirror/mirror.js';
import type { SubdirReport } from '#ferry/mirror/report.js';
import { copyGraph } from '#ferry/oci/copy-graph.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { zstd } from '../../fixtures/build/zstd.mjs';
import { faultsOf, listedRecords, placeOf, publishedRepodata } from '../support/audit.js';
import { serveChannel, type ChannelServer } from '../support/channel-server.js';
import { memoryReader } from '../support/memory-reader.js';
import { httpSource } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { offer, smallConda, type BuiltArchive } from '../support/v1-channel.js';

/** Somebody else pushes into a channel that is a mirror: with other tools, which know of no ledger. */

const [a, b, c] = ['a', 'b', 'c'].map((name) => smallConda({ name })) as [
  BuiltArchive,
  BuiltArchive,
  BuiltArchive,
];
const theirs = smallConda({ name: 'theirs' });
const newer = smallConda({ name: 'theirs', version: '2.0' });

let registry: MemoryRegistry;
let source: string;
let server: ChannelServer;
let workers: WorkerPool;
beforeEach(async () => {
  workers = new WorkerPool(1);
  onTestFinished(() => workers[Symbol.asyncDispose]());
  registry = new MemoryRegistry();
  source = await tempFolder();
  server = await serveChannel(source);
  onTestFinished(() => server[Symbol.asyncDispose]());
});

describe.each([schemaV0, schemaV1])('by schema $id', (schema) => {
  const noarch = 'c/noarch';
  const reader = () => memoryReader(registry);

  /** One night, after which all that is listed is there. */
  async function run(options: Partial<MirrorOptions> = {}): Promise<SubdirReport> {
    try {
      const report = await mirrorChannel({
        source: httpSource(server.url),
        destination: new ChannelStore(registry, 'c', schema),
        subdirs: ['noarch'],
        workers,
        ...options,
      });
      const [subdir] = report.subdirs;
      if (subdir === undefined) throw new Error('no subdir');
      return subdir;
    } finally {
      expect(await faultsOf(reader(), noarch, { schema: schema.id })).toEqual([]);
    }
  }

  async function listed(): Promise<string[]> {
    const records = (await listedRecords(reader(), noarch, schema.id)) ?? [];
    return records.map(({ filename }) => filename).sort();
  }

  /** Pushes an archive, and then repodata with its record beside what was listed. */
  async function pushAsOther(archive: BuiltArchive): Promise<void> {
    const folder = await tempFolder();
    await writeChannel(folder, { noarch: [archive] });
    const [elsewhere] = archive.filename.split(/\.conda$/);
    const own = new ChannelStore(registry, elsewhere ?? '', schema);
    await mirrorChannel({ source: new DirectoryChannel(folder), destination: own, workers });
    const [record] = (await listedRecords(reader(), `${own.path}/noarch`, schema.id)) ?? [];
    if (record === undefined) throw new Error('not pushed');
    const { repository, tag } = placeOf(`${own.path}/noarch`, record, schema.id);
    const from = registry.repository(repository);
    const root = await from.resolve(tag);
    if (root === undefined) throw new Error('no artifact');
    const leaf = placeOf(noarch, record, schema.id);
    await copyGraph(from, registry.repository(leaf.repository), root, { tags: [tag] });

    const before = JSON.parse(String(await publishedRepodata(reader(), noarch, schema.id))) as Record<
      string,
      Record<string, object>
    >;
    const { filename, ...rest } = record;
    const after = { ...before, 'packages.conda': { ...before['packages.conda'], [filename]: rest } };
    const bytes = Buffer.from(JSON.stringify(after));
    const layers = [
      { mediaType: REPODATA, title: 'repodata.json', bytes },
      { mediaType: REPODATA + ZSTD_SUFFIX, title: 'repodata.json.zst', bytes: zstd(bytes, { level: 1 }) },
    ];
    const store = new ChannelStore(registry, 'c', schema);
    await pushMetadata(store, 'noarch', 'repodata.json', layers, { tags: [LATEST] });
  }

  const names = (...archives: readonly BuiltArchive[]): string[] =>
    archives.map(({ filename }) => filename).sort();

  test('stops the run, which names it and changes nothing, though the source has nothing new', async () => {
    await offer(source, a, b);
    await run();
    await pushAsOther(theirs);
    for (let night = 0; night < 2; night += 1) {
      await expect(run()).rejects.toMatchObject({
        code: 'FOREIGN_RECORDS',
        message: expect.stringContaining(`\`${theirs.filename}\``) as unknown,
      });
      expect(await listed()).toEqual(names(a, b, theirs));
    }
  });

  test('survives with merge, and all the nights after it', async () => {
    await offer(source, a, b);
    await run();
    await pushAsOther(theirs);
    expect(await run({ merge: true })).toMatchObject({ added: 0, failed: [] });
    expect((await readLedger(new ChannelStore(registry, 'c', schema), 'noarch'))?.foreign).toEqual([
      theirs.filename,
    ]);
    // Nothing new; something new; filters; filters edited while the source says 304; none again.
    server.requests.length = 0;
    expect(await run()).toMatchObject({ publishedAs: 'kept' });
    expect(server.requests[0]).toMatchObject({ status: 304 });
    await offer(source, a, b, c);
    expect(await run()).toMatchObject({ added: 1, publishedAs: 'spliced' });
    expect(await listed()).toEqual(names(a, b, c, theirs));
    await run({ filters: parseFilters({ exclude: ['a'] }) });
    expect(await listed()).toEqual(names(b, c, theirs));
    // Filters say what is mirrored, and nothing of what others put there.
    await run({ filters: parseFilters({ exclude: ['b', 'theirs'] }) });
    expect(await listed()).toEqual(names(a, c, theirs));
    expect(await run({ deep: true })).toMatchObject({ failed: [], added: 0 });
    expect(await listed()).toEqual(names(a, b, c, theirs));
    // What they add later is asked about anew.
    await pushAsOther(newer);
    await expect(run()).rejects.toMatchObject({
      code: 'FOREIGN_RECORDS',
      message: expect.stringContaining(`\`${newer.filename}\``) as unknown,
    });
    await run({ merge: true });
    expect(await listed()).toEqual(names(a, b, c, theirs, newer));
  });

  test('that has the name of a mirrored one makes room for what the source has, and is named', async () => {
    await offer(source, a, b);
    await run();
    await pushAsOther(smallConda({ name: 'a', payload: 'theirs' }));
    expect(await run()).toMatchObject({ added: 1, replaced: [a.filename], publishedAs: 'unchanged' });
    expect(await listed()).toEqual(names(a, b));
  });

  test.each([false, true])('while the run lasts is noticed too (merge: %s)', async (merge) => {
    await offer(source, a, b);
    await run();
    await offer(source, a, b, c);
    const channel = httpSource(server.url);
    const contended: MirrorOptions['source'] = {
      url: channel.url,
      subdirs: () => channel.subdirs(),
      openMetadata: channel.openMetadata.bind(channel),
      openArchive: async function* (archive, options) {
        await pushAsOther(theirs);
        yield* channel.openArchive(archive, options);
      },
    };
    const night = run({ merge, source: contended });
    if (merge) expect(await night).toMatchObject({ failed: [] });
    else await expect(night).rejects.toMatchObject({ code: 'FOREIGN_RECORDS' });
    expect(await listed()).toEqual(merge ? names(a, b, c, theirs) : names(a, b, theirs));
    await run({ merge: true });
    expect(await listed()).toEqual(names(a, b, c, theirs));
  });
});
