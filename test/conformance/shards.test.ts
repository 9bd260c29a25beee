import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encode } from '@msgpack/msgpack';
import { beforeEach, describe, expect, test } from 'vitest';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { repodataOf, writeChannel } from '../../fixtures/build/channel.mjs';
import { serveChannel } from '../support/channel-server.js';
import { pack, shardsOf, withBytes, writeShards, type Shard, type Shards } from '../support/shards.js';
import { httpSource } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { checkFolder } from './checked-channel.js';

const TEXT = 'c'.repeat(64);
const spec = (name: string) =>
  ({ name, version: '1.0', build: '0', subdir: 'noarch', index: { noarch: 'generic' } }) as const;
const archives = [
  { ...condaPackage(spec('aaa')), record: { legacy_bz2_md5: 'b'.repeat(32), legacy_bz2_size: 7 } },
  tarBz2Package({ ...spec('aaa'), version: '0.9' }),
  condaPackage(spec('bbb')),
];
const repodata = repodataOf('noarch', archives);

let channel: string;
let folder: string;
beforeEach(async () => {
  channel = await tempFolder();
  folder = join(channel, 'noarch');
  await writeChannel(channel, {
    noarch: archives.map((archive) => ({ ...archive, record: record(archive) })),
  });
});

function record(archive: object): Record<string, unknown> {
  return (archive as { record?: Record<string, unknown> }).record ?? {};
}

/** As msgpack, with one more key that is no text. */
function withNumberKey(map: object): Uint8Array {
  const entries = Object.entries(map).flatMap(([key, value]) => [encode(key), encode(value)]);
  return Buffer.concat([Buffer.from([0x81 + Object.keys(map).length]), ...entries, Buffer.from([7, 1])]);
}

function built(): Shards {
  return shardsOf('noarch', repodata);
}

/** The shard of `aaa`, to be bent. */
function shardIn({ shards }: Shards): Record<string, Record<string, Record<string, unknown>>> {
  return shards.get('aaa') as Record<string, Record<string, Record<string, unknown>>>;
}

function recordIn(all: Shards): Record<string, unknown> {
  return shardIn(all)['packages.conda']!['aaa-1.0-0.conda']!;
}

/** Clauses of sharded repodata, after `bend` did its work. */
async function after(bend: (all: Shards) => void): Promise<string[]> {
  const all = built();
  bend(all);
  await writeShards(folder, all);
  return found();
}

async function found(): Promise<string[]> {
  return [...(await checkFolder(channel)).clauses];
}

describe('good shards', () => {
  test('cep16/shard-format: conform, and are looked at', async () => {
    await writeShards(folder, built());
    const { clauses, looked } = await checkFolder(channel);
    expect(clauses).toEqual([]);
    expect(looked).toEqual(
      expect.arrayContaining(['cep16/shard-digest', 'cep16/same-records', 'cep16/limits']),
    );
  });

  test.each(['shards/', './shards', 'deeper/shards/', '../shards/'])(
    'cep16/shard-url: conform where `shards_base_url` is `%s`',
    async (base) => {
      const all = built();
      all.index['info'] = { ...(all.index['info'] as object), shards_base_url: base };
      await writeShards(folder, all, base);
      expect(await found()).toEqual([]);
    },
  );

  test('cep16/unknown-keys: with more keys, without `version`, and with run exports, they conform', async () => {
    expect(
      await after((all) => {
        delete all.index['version'];
        all.index['x'] = [1, null];
        shardIn(all)['y'] = {};
        recordIn(all)['run_exports'] = { weak: ['aaa'] };
      }),
    ).toEqual([]);
  });

  test('cep/F10: `sha256` and `md5` are bytes, `attestations_sha256` and `legacy_bz2_md5` stay text', async () => {
    const attested = { ...archives[0]!, record: { ...record(archives[0]!), attestations_sha256: TEXT } };
    await writeChannel(channel, { noarch: [attested] });
    await writeShards(folder, shardsOf('noarch', repodataOf('noarch', [attested])));
    // The sidecar itself is not there.
    expect(await found()).toEqual(['cep142/present']);
  });
});

describe('the index', () => {
  const info = (all: Shards): Record<string, unknown> => all.index['info'] as Record<string, unknown>;

  test.each<[string, (all: Shards) => void]>([
    ['cep16/index-version', ({ index }) => (index['version'] = 2)],
    ['cep16/index-info', ({ index }) => (index['info'] = [])],
    ['cep16/info-subdir', (all) => (info(all)['subdir'] = 'linux-64')],
    ['cep16/base-url', (all) => (info(all)['base_url'] = 7)],
    ['cep16/base-url-present', (all) => delete info(all)['base_url']],
    ['cep16/shards-base-url', (all) => (info(all)['shards_base_url'] = 'http://[')],
    ['cep16/created-at', (all) => (info(all)['created_at'] = 'today')],
    ['cep16/shard-hashes', ({ index }) => (index['shards'] = [])],
    ['cep16/same-records', ({ shards }) => shards.delete('bbb')],
    ['cep42/shards-agree', (all) => (info(all)['channel_relations'] = { base: '../other' })],
  ])('%s: is judged by it, and by it alone', async (clause, bend) => {
    expect(await after(bend)).toEqual([clause]);
  });

  test.each([TEXT, Buffer.alloc(31), Buffer.alloc(33), null, [1]])(
    'cep16/shard-hashes: %j is no digest',
    async (digest) => {
      const all = built();
      await writeShards(folder, all);
      all.index['shards'] = { aaa: digest, bbb: digest };
      await writeFile(join(folder, 'repodata_shards.msgpack.zst'), await pack(all.index));
      expect(await found()).toEqual(['cep16/shard-hashes', 'cep16/shard-hashes']);
    },
  );

  test('cep/F3: one as in the example of CEP 16, without `info.subdir`, is found wanting', async () => {
    expect(
      await after((all) => {
        delete info(all)['subdir'];
      }),
    ).toEqual(['cep16/info-subdir']);
    expect(
      await after((all) => {
        all.index['info'] = { created_at: '2026-01-01T00:00:00Z' };
      }),
    ).toEqual(['cep16/base-url-present', 'cep16/info-subdir', 'cep16/shards-base-url']);
  });

  test.each([
    ['no bytes', Buffer.alloc(0)],
    ['no zstd', Buffer.from('{"shards":{}}')],
  ])('cep16/index-format: %s', async (_, bytes) => {
    await writeFile(join(folder, 'repodata_shards.msgpack.zst'), bytes);
    expect(await found()).toEqual(['cep16/index-format']);
  });

  test.each<[string, Uint8Array]>([
    ['a list', encode([1])],
    ['two values', Buffer.concat([encode({}), encode({})])],
    ['a map that breaks off', encode({ a: 'bcd' }).subarray(0, 4)],
    ['a list of 4,294,967,295 that is not there', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff, 1])],
    ['a type that msgpack does not have', Buffer.from([0xc1])],
    ['a time', encode(new Date(0))],
  ])('cep16/index-format: %s', async (_, bytes) => {
    await writeFile(join(folder, 'repodata_shards.msgpack.zst'), await pack(bytes));
    expect(await found()).toEqual(['cep16/index-format']);
  });

  test('cep16/limits: what is nested without end is not parsed', async () => {
    const deep = Buffer.concat([Buffer.alloc(1_000_000, 0x91), Buffer.from([0])]);
    await writeFile(join(folder, 'repodata_shards.msgpack.zst'), await pack(deep));
    expect(await found()).toEqual(['cep16/limits']);
  });

  test('cep16/index-path: beside the subdirs nobody looks for it', async () => {
    await writeFile(join(channel, 'repodata_shards.msgpack.zst'), await pack({}));
    expect(await found()).toEqual(['cep16/index-path']);
  });
});

describe('a shard', () => {
  test.each<[string, (all: Shards) => void]>([
    ['cep16/shard-format', ({ shards }) => shards.set('aaa', [])],
    ['cep16/shard-format', ({ shards }) => shards.set('aaa', Buffer.from([0xc1]))],
    ['cep16/shard-packages', ({ shards }) => delete (shards.get('bbb') as Shard)['packages']],
    ['cep16/shard-removed', (all) => ((all.shards.get('aaa') as Shard)['removed'] = 'aaa-1.0-0.conda')],
    ['cep16/shard-removed', (all) => ((all.shards.get('aaa') as Shard)['removed'] = ['aaa-1.0-0.conda'])],
    ['cep36/record', (all) => (shardIn(all)['packages']!['aaa-0.9-0.tar.bz2'] = 7 as never)],
    ['cep16/one-name', (all) => (recordIn(all)['name'] = 'bbb')],
    [
      'cep16/record-digests',
      (all) => (recordIn(all)['sha256'] = Buffer.from(recordIn(all)['sha256'] as Buffer).toString('hex')),
    ],
    [
      'cep16/record-digests',
      (all) => (recordIn(all)['md5'] = Buffer.from(recordIn(all)['md5'] as Buffer).toString('hex')),
    ],
    ['cep16/other-hex', (all) => (recordIn(all)['legacy_bz2_md5'] = Buffer.alloc(16, 0xbb))],
    ['cep16/text', (all) => (recordIn(all)['build'] = Buffer.from('0'))],
    ['cep16/text', ({ shards }) => shards.set('aaa', withNumberKey(shards.get('aaa') as object))],
    ['cep16/same-records', (all) => (recordIn(all)['depends'] = ['other'])],
    ['cep16/same-records', (all) => (recordIn(all)['more'] = 1)],
    ['cep16/same-records', (all) => delete recordIn(all)['size']],
    ['cep16/same-records', (all) => delete shardIn(all)['packages.conda']!['aaa-1.0-0.conda']],
    ['cep16/same-records', (all) => (shardIn(all)['packages.conda']!['aaa-2.0-0.conda'] = recordIn(all))],
  ])('%s: is judged by it, and by it alone', async (clause, bend) => {
    expect(await after(bend)).toEqual([clause]);
  });

  test('cep142/shard-text: `attestations_sha256` as bytes', async () => {
    const attested = { ...archives[2]!, record: { attestations_sha256: TEXT } };
    await writeChannel(channel, { noarch: [attested] });
    const all = shardsOf('noarch', repodataOf('noarch', [attested]));
    const section = (all.shards.get('bbb') as Shard)['packages.conda'] as Record<
      string,
      Record<string, unknown>
    >;
    section['bbb-1.0-0.conda']!['attestations_sha256'] = Buffer.from(TEXT, 'hex');
    await writeShards(folder, all);
    expect(await found()).toEqual(['cep142/present', 'cep142/shard-text']);
  });

  test('cep16/shard-url: is there', async () => {
    const paths = await writeShards(folder, built());
    await rm(paths.get('aaa')!);
    expect(await found()).toEqual(['cep16/shard-url']);
  });

  test('cep16/shard-digest: is what the index names, in its compressed bytes', async () => {
    const paths = await writeShards(folder, built());
    await writeFile(paths.get('aaa')!, await pack(await pack('other')));
    expect(await found()).toEqual(['cep16/shard-digest']);
    const plain = await readFile(paths.get('bbb')!);
    await writeFile(paths.get('bbb')!, plain.subarray(1));
    expect(await found()).toEqual(['cep16/shard-digest', 'cep16/shard-digest']);
  });

  test('cep16/limits: one that expands to more than clients take is not expanded further', async () => {
    expect(await after(({ shards }) => shards.set('aaa', Buffer.alloc(17 * 1024 * 1024)))).toEqual([
      'cep16/limits',
    ]);
  });

  test('cep36/record-size: is judged record by record where there is no repodata to compare it with', async () => {
    const all = built();
    delete recordIn(all)['size'];
    await writeShards(folder, all);
    await rm(join(folder, 'repodata.json.zst'));
    await writeFile(join(folder, 'repodata.json'), 'none');
    expect(await found()).toEqual(['cep36/compressed', 'cep36/record-size', 'cep36/repodata-object']);
  });

  test('cep48: records under `v3` are judged too', async () => {
    expect(
      await after((all) => {
        shardIn(all)['v3'] = {
          conda: { 'aaa-1.0-1': withBytes({ name: 'aaa', sha256: TEXT }) },
        };
      }),
    ).toEqual(['cep16/same-records']);
  });
});

describe('shards of a channel on a web server', () => {
  const shardRequests = (server: { readonly requests: readonly { readonly path: string }[] }) =>
    server.requests.filter(({ path }) => /[0-9a-f]{64}\.msgpack\.zst$/.test(path)).length;

  test.each([
    [{}, 0],
    [{ deep: true }, 2],
    [{ sample: { size: 1, seed: 'x' } }, 1],
  ])('are read with %j: %i of two', async (options, expected) => {
    await writeShards(folder, built());
    await using server = await serveChannel(channel);
    const source = httpSource(server.url);
    const report = await checkFolder(source, { deep: false, subdirs: ['noarch'], ...options });
    expect(report.clauses).toEqual([]);
    expect(report.unchecked).toEqual([]);
    expect(shardRequests(server)).toBe(expected);
  });

  test('that lie on another server are not read, which is said', async () => {
    const all = built();
    all.index['info'] = { ...(all.index['info'] as object), shards_base_url: 'https://ferry.example/' };
    await writeShards(folder, all);
    const report = await checkFolder(channel);
    expect(report.clauses).toEqual([]);
    expect(report.unchecked).toMatchObject([{ code: 'UNSUPPORTED' }]);
  });
});
