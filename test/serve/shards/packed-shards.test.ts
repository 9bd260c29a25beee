import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { readShardIndex } from '#ferry/conda/shards/read-shards.js';
import { FerryError } from '#ferry/errors.js';
import { collect } from '#ferry/io/bytes.js';
import { digestHex, digestOf } from '#ferry/io/digest.js';
import { buildShards } from '#ferry/serve/shards/build-shards.js';
import { PackedShards } from '#ferry/serve/shards/packed-shards.js';
import { inPieces } from '../../conda/repodata/pieces.js';
import {
  FIXTURE_CHANNEL,
  HAS_REAL_CHANNELS,
  HAS_REAL_REPODATA,
  REAL_REPODATA,
  realChannel,
} from '../../support/channels.js';
import { ROOT } from '../../support/ferry.js';
import { tempFolder } from '../../support/temp.js';
import { CREATED_AT, packOf, readAll, shardsOfWhole } from './packs.js';

const LARGE = Number.MAX_SAFE_INTEGER;

function record(name: string, version: string, more: object = {}) {
  return { name, version, build: '0', ...more };
}

/** What the whole repodata says of each package, by its reader. */
async function listingsOf(text: Uint8Array, subdir: string) {
  const repodata = await Repodata.read(inPieces(text, 5000), subdir);
  const documents = new Map<string, unknown>();
  for await (const { filename, document } of repodata.documents()) documents.set(filename, document);
  return [...repodata.packages()].map(({ name, records }) => ({
    name,
    records: records.map((one) => ({
      filename: one.filename,
      record: one,
      document: documents.get(one.filename),
    })),
  }));
}

async function expectListings(set: PackedShards, text: Uint8Array, subdir: string): Promise<void> {
  const repodata = await Repodata.read(inPieces(text, 5000), subdir);
  const removed = new Set<string>();
  const invalid: string[] = [];
  const found = [];
  for (const name of set.names) {
    const listing = await set.listing(name);
    invalid.push(...listing!.invalid);
    for (const filename of listing!.removed) removed.add(filename);
    if (listing!.records.length > 0) found.push({ name, records: listing!.records });
  }
  expect(found).toEqual(await listingsOf(text, subdir));
  const named = (filename: string): boolean => set.names.includes(filename.split('-').slice(0, -2).join('-'));
  expect(invalid.sort()).toEqual(
    [...repodata.invalid()]
      .map(({ filename }) => filename)
      .filter(named)
      .sort(),
  );
  expect([...removed].sort()).toEqual([...repodata.removed()].filter(named).sort());
}

async function expectShards(
  set: PackedShards,
  { shards, index }: Awaited<ReturnType<typeof shardsOfWhole>>,
): Promise<void> {
  expect(await readAll(set.index!)).toEqual(Buffer.from(index));
  expect(set.index!.digest).toBe(digestOf(index));
  for (const [name, bytes] of shards) {
    const shard = set.shard(digestHex(digestOf(bytes)));
    expect(shard?.size, name).toBe(bytes.byteLength);
    expect(await readAll(shard!)).toEqual(Buffer.from(bytes));
  }
}

function repodataIn(channel: string): (readonly [string, string])[] {
  return [
    'noarch',
    'linux-64',
    'osx-arm64',
    'osx-64',
    'win-64',
    'win-32',
    'linux-fake',
    'osx-fake',
    'win-fake',
  ]
    .map((subdir) => [join(channel, subdir, 'repodata.json'), subdir] as const)
    .filter(([path]) => existsSync(path));
}

const texts = [
  ...repodataIn(FIXTURE_CHANNEL),
  ...(HAS_REAL_CHANNELS
    ? [...repodataIn(realChannel('conda-format')), ...repodataIn(realChannel('test-recipes'))]
    : []),
  ...(HAS_REAL_REPODATA ? ([[REAL_REPODATA, 'linux-64']] as const) : []),
];

describe('a pack of shards', () => {
  test.each(texts.map(([path, subdir]) => [relative(ROOT, path), subdir] as const))(
    'of %s holds the bytes that the whole text is made into',
    async (path, subdir) => {
      const text = await readFile(join(ROOT, path));
      const { set, left, table, path: pack } = await packOf(text, { subdir, size: text.byteLength });
      await expectShards(set, await shardsOfWhole(text, subdir));
      await expectListings(set, text, subdir);
      expect(set.recordCount).toBe((await Repodata.read(inPieces(text, 5000), subdir)).recordCount);
      expect(left).toHaveLength(1);
      expect(digestOf(await readFile(pack))).toBe(table.digest);
      expect(table.leadsElsewhere).toBe(false);
    },
  );

  test('is the same whichever thread makes it', async () => {
    const subdir = 'linux-64';
    const text = await readFile(join(FIXTURE_CHANNEL, subdir, 'repodata.json'));
    const [here, there] = [
      await packOf(text, { subdir, size: 0 }),
      await packOf(text, { subdir, size: undefined }),
    ];
    expect(await readAll(there.set.index!)).toEqual(await readAll(here.set.index!));
    expect(there.table.size).toBe(here.table.size);
    await expectShards(there.set, await shardsOfWhole(text, subdir));
    await expectListings(there.set, text, subdir);
  });

  test('of an empty file names nothing', async () => {
    const { set } = await packOf('');
    expect(set).toMatchObject({ names: [], recordCount: 0 });
    expect((await readShardIndex(await readAll(set.index!), 'noarch', 'it')).shards.size).toBe(0);
    expect(await set.listing('a')).toBeUndefined();
    expect(set.shard('ab'.repeat(32))).toBeUndefined();
  });

  test('CEP 48: says of revisions what the repodata says, or what it is told to', async () => {
    const repodata_revisions = { v3: { n_packages: 0 } };
    const text = JSON.stringify({ info: { subdir: 'noarch', repodata_revisions }, packages: {} });
    const infoOf = async (set: PackedShards) =>
      (await readShardIndex(await readAll(set.index!), 'noarch', 'it')).info;
    expect(await infoOf((await packOf(text)).set)).toEqual({
      subdir: 'noarch',
      base_url: '',
      shards_base_url: './shards/',
      created_at: CREATED_AT.toISOString(),
      repodata_revisions,
    });
    const info = { channel_relations: { base: '../a' } };
    const told = await infoOf((await packOf(text, { info })).set);
    expect(told).toMatchObject(info);
    expect(told).not.toHaveProperty('repodata_revisions');
  });
});

describe('repodata that leads elsewhere', () => {
  const digests = fc.constantFrom(undefined, 'ab'.repeat(32), 'CD'.repeat(32), 'x');
  const url = fc.constantFrom(undefined, null, 'https://elsewhere.example/x');
  const keyOf = (extension: string) =>
    fc.constantFrom(...['a', 'b-x'].map((name) => `${name}-1-0${extension}`));
  const body = fc.record({ sha256: digests, url, depends: fc.array(fc.string()) });
  const section = (...extensions: string[]) =>
    fc
      .dictionary(fc.oneof(...extensions.map(keyOf)), body)
      .map((records) =>
        Object.fromEntries(
          Object.entries(records).map(([key, more]) => [
            key,
            record(key.startsWith('a') ? 'a' : 'b-x', '1', more),
          ]),
        ),
      );
  const repodata = fc.record({
    info: fc.constantFrom(
      { subdir: 'noarch', base_url: 'https://elsewhere.example/' },
      { subdir: 'noarch', base_url: '' },
      { subdir: 'noarch', channel_relations: { base: '../x' } },
    ),
    packages: section('.tar.bz2', '.conda'),
    'packages.conda': section('.conda'),
    v3: fc.record({ conda: section(''), 'tar.bz2': section(''), whl: section('') }),
    removed: fc.array(keyOf('.conda')),
  });

  test('has the shards of what is spliced out of it, and the listings of itself', async () => {
    await fc.assert(
      fc.asyncProperty(repodata, async (value) => {
        const text = Buffer.from(JSON.stringify(value));
        const { set, table } = await packOf(text);
        expect(table.leadsElsewhere).toBe(true);
        const source = await Repodata.read(inPieces(text, 5000), 'noarch');
        const spliced = await collect(
          source.splice(() => true),
          1_000_000,
          'it',
        );
        await expectShards(set, await shardsOfWhole(spliced, 'noarch'));
        const foreign = Buffer.from(JSON.stringify({ ...value, v3: { ...value.v3, whl: undefined } }));
        const listings = [];
        for (const name of set.names) {
          const { records } = (await set.listing(name))!;
          if (records.length > 0) listings.push({ name, records });
        }
        expect(listings).toEqual(await listingsOf(foreign, 'noarch'));
      }),
      { numRuns: 100 },
    );
  });

  test.each(['"url"', '"\\u0075rl"'])('for a record with %s is told so', async (key) => {
    const text = `{"packages.conda":{"a-1-0.conda":{"name":"a","version":"1","build":"0",${key}:"https://x.example/a"}}}`;
    const { set, table } = await packOf(text);
    expect(table.leadsElsewhere).toBe(true);
    expect((await set.listing('a'))!.records[0]!.record.url).toBe('https://x.example/a');
    const clean = '{"packages.conda":{"a-1-0.conda":{"name":"a","version":"1","build":"0"}}}';
    await expectShards(set, await shardsOfWhole(Buffer.from(clean), 'noarch'));
  });

  test('CEP 15: lists where archives are', async () => {
    const value = {
      info: { base_url: 'https://files.example/f/' },
      packages: { 'a-1-0.tar.bz2': record('a', '1'), 'a-2-0.tar.bz2': record('a', '2', { url: 'other' }) },
    };
    const { records } = (await (await packOf(JSON.stringify(value))).set.listing('a'))!;
    expect(records.map((one) => one.record.url)).toEqual([
      'https://files.example/f/a-1-0.tar.bz2',
      'https://files.example/f/other',
    ]);
  });
});

describe('a listing', () => {
  test('tells which archives are listed whose records cannot be used', async () => {
    const value = {
      packages: { 'a-1-0.tar.bz2': 5, 'a-2-0.conda': record('a', '2'), 'a-3-0.tar.bz2': record('a', '3') },
      'packages.conda': { 'a-4-0.conda': record('b', '4'), 'a-5-0.conda': record('a', '5') },
      v3: { conda: { 'a-4-0': record('a', '4') }, whl: { 'a-6-0': record('a', '6') } },
      removed: ['a-7-0.conda', 'a-0-0.conda', 'a-7-0.conda'],
    };
    const listing = (await (await packOf(JSON.stringify(value))).set.listing('a'))!;
    expect(listing.records.map(({ filename }) => filename)).toEqual(['a-3-0.tar.bz2', 'a-5-0.conda']);
    expect(listing.invalid).toEqual(['a-1-0.tar.bz2', 'a-2-0.conda', 'a-4-0.conda', 'a-6-0.whl']);
    expect(listing.removed).toEqual(['a-0-0.conda', 'a-7-0.conda']);
  });

  test('is read once for all who ask for it, and anew when others were asked for since', async () => {
    const large = (name: string) => record(name, '1', { padding: 'x'.repeat(1_500_000) });
    const names = ['a', 'b', 'c', 'd'];
    const packages = Object.fromEntries(names.map((name) => [`${name}-1-0.tar.bz2`, large(name)]));
    const { set, opened } = await packOf(JSON.stringify({ packages }));
    const [first, second] = await Promise.all([set.listing('a'), set.listing('a')]);
    expect(first).toBe(second);
    expect(await set.listing('a')).toBe(first);
    expect(opened()).toBe(1);
    for (const name of ['b', 'a', 'c']) await set.listing(name);
    expect(opened()).toBe(3);
    // Only two have room: `b` went when `c` came.
    await set.listing('a');
    expect(opened()).toBe(3);
    await set.listing('b');
    expect(opened()).toBe(4);
  });

  test('is not waited for by who has gone', async () => {
    const { set } = await packOf(JSON.stringify({ packages: { 'a-1-0.tar.bz2': record('a', '1') } }));
    const reason = new Error('gone');
    await expect(set.listing('a', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const [one, other] = [set.listing('a', { signal: controller.signal }), set.listing('a')];
    controller.abort(reason);
    await expect(one).rejects.toBe(reason);
    expect((await other)!.records).toHaveLength(1);
  });
});

describe('a package that cannot be a shard', () => {
  test.each([
    [
      'above 16 MiB',
      JSON.stringify({ 'a-1-0.conda': record('a', '1', { x: 'x'.repeat(17_000_000) }) }),
      'SIZE_EXCEEDED',
    ],
    ['with a key that no reader takes', '{"a-1-0.conda":{"__proto__":1}}', 'REPODATA_INVALID'],
  ])('%s leaves clients the repodata, and the gateway its listings', async (_why, records, code) => {
    const others = JSON.stringify({ 'b-1-0.tar.bz2': record('b', '1'), 'c-1-0.tar.bz2': record('c', '1') });
    const { set, table } = await packOf(`{"packages":${others},"packages.conda":${records}}`);
    expect(set.index).toBeUndefined();
    expect(table.fault).toMatchObject({ code });
    expect(set.names).toEqual(['a', 'b', 'c']);
    for (const name of ['b', 'c']) expect((await set.listing(name))!.records).toHaveLength(1);
    const { shards } = await shardsOfWhole(Buffer.from(`{"packages":${others}}`), 'noarch');
    for (const bytes of shards.values()) expect(set.shard(digestHex(digestOf(bytes)))).toBeUndefined();
  });
});

describe('a pack that is not what it was', () => {
  const text = JSON.stringify({ packages: { 'a-1-0.tar.bz2': record('a', '1') } });

  async function shardIn(set: PackedShards) {
    const { shards } = await readShardIndex(await readAll(set.index!), 'noarch', 'it');
    return set.shard(digestHex(shards.get('a')!))!;
  }

  test('gives no wrong byte', async () => {
    const { set, path } = await packOf(text);
    const bytes = await readFile(path);
    for (const [broken, code] of [
      [bytes.map((byte) => byte ^ 1), 'DIGEST_MISMATCH'],
      [bytes.subarray(0, 10), 'SIZE_MISMATCH'],
    ] as const) {
      await writeFile(path, broken);
      await expect((await shardIn(set)).open()).rejects.toMatchObject({ code });
      await expect(set.listing('a')).rejects.toMatchObject({ code });
    }
    // What failed is not kept.
    await writeFile(path, bytes);
    expect((await set.listing('a'))!.records).toHaveLength(1);
  });

  test('says so when it is gone', async () => {
    const { table } = await packOf(text);
    const gone = new PackedShards(table, async () => Promise.reject(new FerryError('NOT_FOUND', 'gone')));
    await expect((await shardIn(gone)).open()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(gone.listing('a')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test.each(['', 'ab', 'AB'.repeat(32), '00'.repeat(32), `sha256:${'ab'.repeat(32)}`, '../x'])(
    'has no shard %j',
    async (digest) => {
      const { set } = await packOf(text);
      expect(set.shard(digest)).toBeUndefined();
    },
  );
});

describe('making a pack', () => {
  const text = Buffer.from(JSON.stringify({ packages: { 'a-1-0.tar.bz2': record('a', '1') } }));
  const threads = [
    ['here', 0],
    ['in a thread', LARGE],
  ] as const;

  test.each(threads)('%s fails as the source fails, and leaves nothing', async (_where, size) => {
    const folder = await tempFolder();
    const failure = new FerryError('NETWORK', 'no answer');
    const options = { size, subdir: 'noarch', folder, createdAt: CREATED_AT };
    const failing = async function* () {
      yield text.subarray(0, 5);
      await Promise.resolve();
      throw failure;
    };
    await expect(buildShards({ ...options, open: failing })).rejects.toBe(failure);
    const malformed = buildShards({ ...options, open: inPieces(Buffer.from('{"packages":[]}'), 3) });
    await expect(malformed).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
    expect(await readdir(folder)).toEqual([]);
  });

  test.each(threads)('%s ends when it is aborted, and leaves nothing', async (_where, size) => {
    const folder = await tempFolder();
    const reason = new Error('enough');
    const controller = new AbortController();
    const stuck = async function* ({ signal }: { signal?: AbortSignal | undefined } = {}) {
      yield text.subarray(0, 5);
      setImmediate(() => {
        controller.abort(reason);
      });
      await new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
      });
    };
    const options = { size, subdir: 'noarch', folder, createdAt: CREATED_AT };
    await expect(buildShards({ ...options, open: stuck, signal: controller.signal })).rejects.toBe(reason);
    expect(await readdir(folder)).toEqual([]);
    await expect(buildShards({ ...options, open: stuck, signal: controller.signal })).rejects.toBe(reason);
  });

  test('in a folder that is gone fails', async () => {
    for (const [, size] of threads) {
      const building = buildShards({
        open: inPieces(text, 3),
        size,
        subdir: 'noarch',
        folder: '/nowhere/at/all',
        createdAt: CREATED_AT,
      });
      await expect(building).rejects.toThrow();
    }
  });
});
