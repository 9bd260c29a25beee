import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { readLedger } from '#ferry/artifact/ledger.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { parseFilters, type FilterInput } from '#ferry/mirror/filters/filters.js';
import { namesAskedFor } from '#ferry/mirror/filters/names-asked-for.js';
import { mirrorChannel, type MirrorOptions } from '#ferry/mirror/mirror.js';
import { MAX_NAMES } from '#ferry/mirror/named-snapshot.js';
import type { MirrorReport } from '#ferry/mirror/report.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords } from '../support/audit.js';
import { serveChannel, type ChannelServer } from '../support/channel-server.js';
import { memoryReader } from '../support/memory-reader.js';
import { shardsOf, writeShards } from '../support/shards.js';
import { httpSource } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

type Archive = ReturnType<typeof condaPackage>;

const conda = (name: string, version = '1'): Archive =>
  condaPackage({ name, version, build: '0', subdir: 'noarch', index: { noarch: 'generic' } });

const [a1, a2, b1, c1] = [conda('aa'), conda('aa', '2'), conda('bb'), conda('cc')];

const workers = new WorkerPool();
afterAll(async () => workers[Symbol.asyncDispose]());

let folder: string;
beforeEach(async () => {
  folder = await tempFolder();
});

/** Puts archives there, with repodata and, unless they are not wanted, shards. */
async function offer(
  archives: readonly Archive[],
  { removed = [], shards = true }: { removed?: readonly string[]; shards?: boolean } = {},
): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await writeChannel(folder, { noarch: archives });
  const path = join(folder, 'noarch', 'repodata.json');
  const repodata = { ...(JSON.parse(await readFile(path, 'utf8')) as Repodata), removed };
  await writeFile(path, JSON.stringify(repodata));
  await rm(`${path}.zst`, { force: true });
  if (!shards) return;
  const sharded = shardsOf('noarch', repodata);
  for (const filename of removed) {
    const shard = sharded.shards.get(filename.split('-')[0]!) as Record<string, unknown> | undefined;
    if (shard !== undefined) shard['removed'] = [filename];
  }
  await writeShards(join(folder, 'noarch'), sharded);
}

interface Repodata {
  readonly packages: object;
  readonly 'packages.conda': object;
}

/** Companions are not among them. */
const SNAPSHOT_FILE =
  / (?:repodata\.json(?:\.zst)?|repodata_shards\.msgpack\.zst|[0-9a-f]{64}\.msgpack\.zst)$/;

/** A destination, and what a run into it asks of the source. */
class Mirror {
  readonly #server: ChannelServer;
  readonly #registry = new MemoryRegistry();

  constructor(server: ChannelServer) {
    this.#server = server;
  }

  get store(): ChannelStore {
    return new ChannelStore(this.#registry, 'c', schemaV0);
  }

  async run(
    filters: FilterInput,
    options: Partial<MirrorOptions> = {},
  ): Promise<{ readonly subdir: MirrorReport['subdirs'][number]; readonly asked: readonly string[] }> {
    this.#server.requests.length = 0;
    const report = await mirrorChannel({
      source: httpSource(this.#server.url),
      destination: this.store,
      subdirs: ['noarch'],
      workers,
      filters: parseFilters(filters),
      ...options,
    });
    const asked = this.#server.requests.map(({ path, status }) => `${status} ${path.split('/').at(-1)}`);
    expect(await faultsOf(memoryReader(this.#registry), 'c/noarch')).toEqual([]);
    return { subdir: report.subdirs[0]!, asked: asked.filter((entry) => SNAPSHOT_FILE.test(entry)) };
  }

  async listed(): Promise<string[]> {
    const records = await listedRecords(memoryReader(this.#registry), 'c/noarch');
    return (records ?? []).map(({ filename }) => filename).sort();
  }

  async ledger() {
    const ledger = await readLedger(this.store, 'noarch');
    if (ledger === undefined) throw new Error('no ledger');
    return ledger;
  }
}

async function withMirror(work: (mirror: Mirror) => Promise<void>): Promise<void> {
  await using server = await serveChannel(folder);
  await work(new Mirror(server));
}

const INDEX = 'repodata_shards.msgpack.zst';
const only = (...include: string[]): FilterInput => ({ include });
const hasRepodata = (asked: readonly string[]): boolean => asked.some((entry) => entry.includes('.json'));

describe('filters that name their packages', () => {
  test.each<[string, FilterInput, readonly string[] | undefined]>([
    ['names', only('aa', 'BB >=2', 'ch/noarch::cc[build=0]'), ['aa', 'bb', 'cc']],
    ['names, and what narrows them', { include: ['aa'], latest: '1', undistributable: ['*'] }, ['aa']],
    ['nothing', {}, undefined],
    ['a pattern', only('aa', 'b*'), undefined],
    ['an archive', only('aa-1-0.conda'), undefined],
    ['an exclude', { include: ['aa'], exclude: ['bb'] }, undefined],
    ['dependencies', { include: ['aa'], withDependencies: true }, undefined],
  ])('%s', (_what, input, expected) => {
    const names = namesAskedFor(parseFilters(input));
    expect(names && [...names]).toEqual(expected);
  });

  test('a lock file', () => {
    const archives = [{ filename: 'aa-1-0.conda', subdir: 'noarch', url: 'https://conda.example.org' }];
    const lock = { archives, ignored: { pypi: 0, elsewhere: 0 } };
    expect(namesAskedFor(parseFilters({ lock, exclude: ['x'] }))).toEqual(new Set(['aa']));
  });
});

describe('a mirror of few packages', () => {
  test('reads their shards alone, and settles by the index the next night', async () => {
    await offer([a1, a2, b1, c1]);
    await withMirror(async (mirror) => {
      const first = await mirror.run(only('aa', 'cc', 'absent'));
      expect(first.subdir).toMatchObject({ added: 3, publishedAs: 'spliced', warnings: [] });
      expect(first.asked.toSorted().map((entry) => entry.slice(0, 4))).toHaveLength(3);
      expect(hasRepodata(first.asked)).toBe(false);
      expect(await mirror.ledger()).toMatchObject({ source: { file: INDEX }, complete: true });
      expect((await mirror.run(only('aa', 'cc', 'absent'))).asked).toEqual([`304 ${INDEX}`]);
    });
  });

  test('a change of other packages is none', async () => {
    await offer([a1]);
    await withMirror(async (mirror) => {
      await mirror.run(only('aa'));
      await offer([a1, b1]);
      const { subdir, asked } = await mirror.run(only('aa'));
      expect(subdir.publishedAs).toBe('kept');
      expect(hasRepodata(asked)).toBe(false);
    });
  });

  test('comes to the same as with all of the repodata, night after night', async () => {
    // The source, what is removed there, and the filters.
    type Night = readonly [readonly Archive[], readonly string[], FilterInput];
    const nights: readonly Night[] = [
      [[a1, b1], [], only('aa')],
      [[a1, a2, b1], [], only('aa')],
      [[a2, b1, c1], ['aa-1-0.conda'], only('aa', 'cc')],
      [[a2, b1, c1], ['aa-1-0.conda'], {}],
      [[a2, b1, c1], ['aa-1-0.conda'], only('bb')],
      [[b1], ['aa-1-0.conda', 'aa-2-0.conda'], only('bb', 'aa')],
      [[a1, b1], [], { include: ['bb', 'aa'], maxSize: '1B' }],
      [[a1, b1], [], only('aa')],
    ];
    const outcomes = { shards: [] as unknown[], repodata: [] as unknown[] };
    for (const kind of ['shards', 'repodata'] as const) {
      await withMirror(async (mirror) => {
        for (const [archives, removed, filters] of nights) {
          await offer(archives, { removed, shards: kind === 'shards' });
          const { subdir } = await mirror.run(filters);
          const { added, gone, kept, failed, warnings } = subdir;
          const { kept: keptNames, foreign, complete, unlisted = {} } = await mirror.ledger();
          const listed = await mirror.listed();
          outcomes[kind].push({ listed, added, gone, kept, failed, warnings });
          outcomes[kind].push({ keptNames, foreign, complete, unlisted: Object.keys(unlisted) });
        }
      });
    }
    expect(outcomes.shards).toEqual(outcomes.repodata);
  });

  test('after broad filters, what is no longer wanted is unlisted and kept, and not called gone', async () => {
    await offer([a1, b1, c1]);
    await withMirror(async (mirror) => {
      await mirror.run({});
      const { subdir } = await mirror.run(only('aa'));
      expect(subdir).toMatchObject({ gone: 0, kept: 2, warnings: [] });
      expect(await mirror.listed()).toEqual(['aa-1-0.conda']);
    });
  });

  test('a package that the source has no more: the repodata says whether it was removed', async () => {
    await offer([a1, b1]);
    await withMirror(async (mirror) => {
      await mirror.run(only('aa', 'bb'));
      await offer([b1], { removed: ['aa-1-0.conda'] });
      const { subdir, asked } = await mirror.run(only('aa', 'bb'));
      expect(hasRepodata(asked)).toBe(true);
      expect(subdir).toMatchObject({ gone: 1, kept: 1 });
    });
  });

  test('a source that lists nothing of them lists other packages, and has not vanished', async () => {
    await offer([a1, b1]);
    await withMirror(async (mirror) => {
      await mirror.run(only('aa'));
      await offer([b1]);
      expect((await mirror.run(only('aa'))).subdir).toMatchObject({ gone: 1 });
      await offer([]);
      await expect(mirror.run(only('bb'))).resolves.toBeDefined();
    });
  });

  test('shards that cannot be read are passed over with a warning', async () => {
    await offer([a1]);
    await writeFile(join(folder, 'noarch', INDEX), 'spoilt');
    await withMirror(async (mirror) => {
      const { subdir } = await mirror.run(only('aa'));
      expect(subdir.added).toBe(1);
      expect(subdir.warnings).toEqual([expect.stringMatching(/^noarch: read without its shards: /)]);
    });
  });

  test.each<[string, FilterInput, Partial<MirrorOptions>]>([
    ['many names', only(...Array.from({ length: MAX_NAMES + 1 }, (_, i) => `n${i}`)), {}],
    ['--deep', only('aa'), { deep: true }],
    ['removed archives', only('aa'), { includeRemoved: true }],
  ])('reads the repodata for %s', async (_what, filters, options) => {
    await offer([a1]);
    await withMirror(async (mirror) => {
      const { asked } = await mirror.run(filters, options);
      expect(asked.some((entry) => entry.includes(INDEX))).toBe(false);
    });
  });

  test('goes on with the repodata where the shards are gone, and back', async () => {
    await offer([a1]);
    await withMirror(async (mirror) => {
      await mirror.run(only('aa'));
      await offer([a1, a2], { shards: false });
      expect((await mirror.run(only('aa'))).subdir.added).toBe(1);
      expect((await mirror.ledger()).source?.file).toBe('repodata.json');
      expect((await mirror.run(only('aa'))).asked).toEqual([`404 ${INDEX}`, '304 repodata.json']);
      await offer([a1, a2]);
      await mirror.run(only('aa'));
      expect((await mirror.ledger()).source?.file).toBe(INDEX);
    });
  });
});
