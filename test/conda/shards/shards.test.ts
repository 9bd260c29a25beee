import { decode, encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readShard, readShardIndex } from '#ferry/conda/shards/read-shards.js';
import type { JsonObject, ShardContent } from '#ferry/conda/shards/shard-files.js';
import { placeOfShards } from '#ferry/conda/shards/shard-files.js';
import { splitRepodata } from '#ferry/conda/shards/split-repodata.js';
import { writeShard, writeShardIndex } from '#ferry/conda/shards/write-shards.js';
import { digestOf } from '#ferry/io/digest.js';
import { compressZstd, decompressZstd } from '#ferry/io/zstd.js';

const SHA256 = 'ab'.repeat(32);
const MD5 = 'cd'.repeat(16);

function contentOf(parts: Partial<ShardContent> = {}): ShardContent {
  return { packages: new Map(), 'packages.conda': new Map(), removed: [], ...parts };
}

function one(record: JsonObject): ShardContent {
  return contentOf({ 'packages.conda': new Map([['a-1-0.conda', record]]) });
}

async function unpack(bytes: Uint8Array): Promise<unknown> {
  return decode(await decompressZstd(bytes, 1_000_000, 'it'));
}

async function read(bytes: Uint8Array, name = 'a') {
  return readShard(bytes, { name, digest: digestOf(bytes) });
}

async function packed(value: unknown): Promise<Uint8Array> {
  return compressZstd(encode(value), 3);
}

describe('a shard', () => {
  test('cep16/record-digests: has sha256 and md5 as bytes, and every other digest as text', async () => {
    const record = { sha256: SHA256, md5: MD5, legacy_bz2_md5: MD5, attestations_sha256: SHA256 };
    expect(await unpack(await writeShard(one(record)))).toEqual({
      packages: {},
      'packages.conda': {
        'a-1-0.conda': {
          ...record,
          sha256: Buffer.from(SHA256, 'hex'),
          md5: Buffer.from(MD5, 'hex'),
        },
      },
    });
  });

  test('is the same bytes whatever the order of its keys', async () => {
    const a = { name: 'a', depends: ['z', 'b'], build: '0' };
    const b = { build: '0', depends: ['z', 'b'], name: 'a' };
    const records = [
      ['a-1-0.conda', a],
      ['a-2-0.conda', b],
    ] as const;
    const [first, second] = [records, records.toReversed()].map((entries) =>
      contentOf({ 'packages.conda': new Map(entries), removed: ['y', 'x'] }),
    );
    const bytes = await writeShard(first!);
    expect(await writeShard({ ...second!, removed: ['x', 'y'] })).toEqual(bytes);
    // Whoever changes this renames all shards of all channels.
    expect(digestOf(bytes)).toBe(GOLDEN_SHARD);
  });

  test('tells its size in the frame, so that conda can refuse it before it makes room', async () => {
    const bytes = await writeShard(one({ name: 'a'.repeat(1000) }));
    // RFC 8878: the two highest bits of the frame header's descriptor, or the single-segment flag, announce the size.
    expect(bytes[4]! & 0b1110_0000).not.toBe(0);
  });

  test('cep16/limits: above 16 MiB is refused', async () => {
    const large = one({ name: 'a'.repeat(16 * 1024 * 1024) });
    await expect(writeShard(large)).rejects.toMatchObject({ code: 'SIZE_EXCEEDED' });
  });

  test('reads back as it was written', async () => {
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.maxSafeInteger(),
      fc.boolean(),
      fc.constant(null),
      fc.array(fc.string()),
    );
    const key = fc.string().filter((text) => !['__proto__', 'sha256', 'md5'].includes(text));
    const plain = fc.dictionary(key, value, { noNullPrototype: true });
    const record = fc
      .tuple(plain, fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 })))
      .map(([fields, digest]) => ({
        ...fields,
        ...(digest === null ? { sha256: null } : { sha256: Buffer.from(digest).toString('hex') }),
      }));
    const records = fc.dictionary(
      fc.string({ unit: fc.constantFrom('a', '1', '_') }).map((version) => `a-${version}-0.conda`),
      record,
    );
    await fc.assert(
      fc.asyncProperty(records, records, fc.array(fc.string()), async (a, b, removed) => {
        const content = contentOf({
          packages: new Map(Object.entries(a)),
          'packages.conda': new Map(Object.entries(b)),
          removed: removed.sort(),
        });
        expect(await read(await writeShard(content))).toEqual(content);
      }),
      { numRuns: 50 },
    );
  });

  test('CEP 48: keeps v3', async () => {
    const content = contentOf({
      v3: new Map([['whl', new Map([['a-1-0', { name: 'a', sha256: SHA256 }]])]]),
    });
    expect(await read(await writeShard(content))).toEqual(content);
  });

  test("reads rattler's legacy_bz2_md5, which is bytes", async () => {
    const bytes = await packed({
      packages: {},
      'packages.conda': { 'a-1-0.conda': { legacy_bz2_md5: Buffer.from(MD5, 'hex') } },
    });
    expect((await read(bytes))['packages.conda'].get('a-1-0.conda')).toEqual({ legacy_bz2_md5: MD5 });
  });

  test.each([
    ['other bytes than the index says', async () => writeShard(one({})), 'DIGEST_MISMATCH'],
    ['no zstd', async () => Buffer.from('<html>'), 'REPODATA_INVALID'],
    ['no msgpack', async () => compressZstd(Buffer.from([0xc1]), 3), 'REPODATA_INVALID'],
    ['a list', async () => packed([]), 'REPODATA_INVALID'],
    ['keys that are numbers', async () => compressZstd(Buffer.from([0x81, 7, 1]), 3), 'REPODATA_INVALID'],
    ['a section that is none', async () => packed({ packages: [] }), 'REPODATA_INVALID'],
    ['a record that is none', async () => packed({ packages: { 'a-1-0.tar.bz2': 1 } }), 'REPODATA_INVALID'],
    [
      'a record of another package',
      async () => packed({ packages: { 'b-1-0.tar.bz2': {} } }),
      'REPODATA_INVALID',
    ],
    ['removed that is none', async () => packed({ removed: [1] }), 'REPODATA_INVALID'],
    [
      'bytes where text belongs',
      async () => packed({ packages: { 'a-1-0.tar.bz2': { depends: [new Uint8Array(3)] } } }),
      'REPODATA_INVALID',
    ],
    [
      'a time, which JSON does not have',
      async () => packed({ packages: { 'a-1-0.tar.bz2': { timestamp: new Date(0) } } }),
      'REPODATA_INVALID',
    ],
  ])('with %s is refused', async (_what, make, code) => {
    const bytes = await make();
    const digest = code === 'DIGEST_MISMATCH' ? digestOf(Buffer.from('else')) : digestOf(bytes);
    await expect(readShard(bytes, { name: 'a', digest })).rejects.toMatchObject({ code });
  });
});

const GOLDEN_SHARD = 'sha256:cc452ff812e537a2351f670d368f5b6f3970b0bce36df7fc7ebfbbe52481ac50';

describe('an index', () => {
  const info = { subdir: 'noarch', base_url: '', shards_base_url: './shards/' };
  const digest = digestOf(Buffer.from('a shard'));

  test('cep16/shard-hashes: names each shard by 32 bytes', async () => {
    const bytes = await writeShardIndex({ info, shards: new Map([['a', digest]]) });
    expect(await unpack(bytes)).toEqual({
      version: 1,
      info,
      shards: { a: Buffer.from(digest.slice(7), 'hex') },
    });
    expect(await readShardIndex(bytes, 'noarch', 'it')).toEqual({ info, shards: new Map([['a', digest]]) });
  });

  test.each([
    ['of another subdir', { info: { subdir: 'linux-64' }, shards: {} }],
    ['without shards', { info }],
    ['with a digest in hex', { info, shards: { a: digest.slice(7) } }],
    ['with a digest that is too short', { info, shards: { a: new Uint8Array(31) } }],
  ])('%s is refused', async (_what, value) => {
    await expect(readShardIndex(await packed(value), 'noarch', 'it')).rejects.toMatchObject({
      code: 'REPODATA_INVALID',
    });
  });
});

describe('where shards lie', () => {
  const channel = 'https://example.org/ch';

  test.each([
    ['', 'noarch/'],
    ['./shards/', 'noarch/shards/'],
    ['shards', 'noarch/shards/'],
    ['../shards/', 'shards/'],
    ['https://example.org/ch/noarch/s/', 'noarch/s/'],
  ])('%j is inside of the channel', (base, folder) => {
    expect(placeOfShards(channel, 'noarch', base)).toEqual({ kind: 'inside', folder });
  });

  test.each(['https://cdn.example.org/ch/', '../../other/', '/elsewhere/'])('%s is outside', (base) => {
    expect(placeOfShards(channel, 'noarch', base)).toEqual({ kind: 'outside', base });
  });
});

describe('repodata split by package', () => {
  const split = (text: string) => [...splitRepodata(Buffer.from(text))];

  test('comes sorted by name, removed and v3 with it', () => {
    const repodata = {
      info: { subdir: 'noarch' },
      packages: { 'b-x-1-0.tar.bz2': { name: 'b-x' }, 'a-1-0.tar.bz2': { name: 'a' } },
      'packages.conda': { 'a-1-0.conda': { name: 'a' } },
      removed: ['c-1-0.conda'],
      v3: { whl: { 'a-3-0': { name: 'a' } } },
    };
    expect(split(JSON.stringify(repodata))).toEqual([
      {
        name: 'a',
        content: {
          packages: new Map([['a-1-0.tar.bz2', { name: 'a' }]]),
          'packages.conda': new Map([['a-1-0.conda', { name: 'a' }]]),
          removed: [],
          v3: new Map([['whl', new Map([['a-3-0', { name: 'a' }]])]]),
        },
      },
      {
        name: 'b-x',
        content: contentOf({ packages: new Map([['b-x-1-0.tar.bz2', { name: 'b-x' }]]), v3: new Map() }),
      },
      { name: 'c', content: contentOf({ removed: ['c-1-0.conda'], v3: new Map() }) },
    ]);
  });

  test('takes the last of two equal sections and keys, and no record that is none', () => {
    const text =
      '{"packages":{"z-1-0.tar.bz2":{}},"packages":{"a-1-0.tar.bz2":{"n":1},"a-1-0.tar.bz2":{"n":2},"b-1-0.tar.bz2":7,"c":{}}}';
    expect(split(text)).toEqual([
      {
        name: 'a',
        content: contentOf({ packages: new Map([['a-1-0.tar.bz2', { n: 2 }]]), v3: new Map() }),
      },
    ]);
  });

  test('is refused where it is no JSON', () => {
    expect(() => split('{"packages":')).toThrow(expect.objectContaining({ code: 'REPODATA_INVALID' }));
  });
});
