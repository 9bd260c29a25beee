import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { splitRepodataStream, type SplitPackage } from '#ferry/conda/shards/split-repodata-stream.js';
import { splitRepodata } from '#ferry/conda/shards/split-repodata.js';
import { writeShard } from '#ferry/conda/shards/write-shards.js';
import { inPieces } from '../repodata/pieces.js';
import {
  FIXTURE_CHANNEL,
  HAS_REAL_CHANNELS,
  HAS_REAL_REPODATA,
  REAL_REPODATA,
  realChannel,
} from '../../support/channels.js';
import { ROOT } from '../../support/ferry.js';
import { tempFolder } from '../../support/temp.js';

interface Split {
  readonly info: unknown;
  readonly packages: readonly SplitPackage[];
}

/** In as many buckets as that many bytes get. */
async function split(bytes: Uint8Array, pieceBytes = 1000, size = bytes.byteLength): Promise<Split> {
  const path = join(await tempFolder(), 'buckets');
  const packages: SplitPackage[] = [];
  let info: unknown;
  {
    await using repodata = await splitRepodataStream(inPieces(bytes, pieceBytes)(), { path, size });
    info = repodata.info;
    for await (const one of repodata.packages()) packages.push(one);
  }
  expect(existsSync(path)).toBe(false);
  return { info, packages: packages.sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

/** Key by key in order, since maps are equal whatever theirs is. */
function plain(packages: Iterable<Pick<SplitPackage, 'name' | 'content'>>) {
  return [...packages].map(({ name, content }) => [
    name,
    [...content.packages],
    [...content['packages.conda']],
    content.removed,
    [...(content.v3 ?? [])].map(([extension, records]) => [extension, [...records]]),
  ]);
}

async function expectSame(bytes: Uint8Array, pieceBytes?: number, size?: number): Promise<void> {
  const { packages } = await split(bytes, pieceBytes, size);
  const expected = [...splitRepodata(bytes)];
  expect(plain(packages)).toEqual(plain(expected));
  for (const [i, { content, text, name }] of packages.entries()) {
    expect(await shardOf(content)).toEqual(await shardOf(expected[i]!.content));
    // What is said of one package is repodata, too.
    expect(plain(splitRepodata(text))).toEqual(plain([{ name, content }]));
  }
}

/** The shard, or why there is none. */
async function shardOf(content: SplitPackage['content']): Promise<unknown> {
  return writeShard(content).catch((error: unknown) => error);
}

// Keys in several spellings, so that many of them are the same one.
const key = fc
  .tuple(
    fc.constantFrom('a', 'b-x', 'é', 'z', '', '-', '\ud800', '__proto__', 'x"y'),
    fc.constantFrom('-1-0.conda', '-1-0.tar.bz2', '-2-0.conda', '-1-0', '', '-1'),
    fc.constantFrom('plain', 'escaped'),
  )
  .map(([name, rest, spelling]) =>
    spelling === 'plain'
      ? JSON.stringify(name + rest)
      : `"${Array.from({ length: (name + rest).length }, (_, i) => `\\u${(name + rest).charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`,
  );
const value = fc.oneof(
  { weight: 3, arbitrary: fc.dictionary(fc.constantFrom('name', 'url', 'sha256', 'n'), fc.jsonValue()) },
  { weight: 1, arbitrary: fc.jsonValue() },
);
const object = (keys: fc.Arbitrary<string>, values: fc.Arbitrary<string>, maxLength: number) =>
  fc
    .array(fc.tuple(keys, values), { maxLength })
    .map((members) => `{${members.map(([name, text]) => `${name}: ${text}`).join(', ')}}`);
const records = object(
  key,
  value.map((item) => JSON.stringify(item)),
  6,
);
const extension = fc.constantFrom('"conda"', '"whl"', '"\\u0077hl"', '"\\ud800"');
const member = fc.oneof(
  fc.tuple(fc.constantFrom('"packages"', '"packages.conda"', '"p\\u0061ckages"'), records),
  fc.tuple(fc.constant('"v3"'), object(extension, records, 3)),
  fc.tuple(
    fc.constant('"removed"'),
    fc.array(fc.oneof(key, fc.constant('5'))).map((list) => `[${list.join()}]`),
  ),
  fc.tuple(
    fc.constantFrom('"info"', '"removed"', '"x"', '"packages.whl"'),
    fc.constantFrom('{"a":1}', '7', '[]'),
  ),
);

describe('repodata split as it arrives', () => {
  test('is what the whole text is split into, whatever stands twice and however it is spelled', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(member, { maxLength: 8 }),
        fc.integer({ min: 1, max: 60 }),
        fc.constantFrom(0, 8, 5000),
        async (members, pieceBytes, mebibytes) => {
          const text = `{${members.map(([name, content]) => `${name}:${content}`).join()}}`;
          await expectSame(Buffer.from(text), pieceBytes, mebibytes * 1024 * 1024);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('is so for records larger than what waits for the disk', async () => {
    const filenames = Array.from({ length: 400 }, (_, i) => `p${String(i % 7)}-${String(i)}-0.conda`);
    const packages = Object.fromEntries(
      filenames.map((filename, i) => [filename, { name: 'x'.repeat((i * 977) % 100_000) }]),
    );
    const bytes = Buffer.from(JSON.stringify({ packages: {}, 'packages.conda': packages }));
    for (const mebibytes of [1, 10, 5000]) await expectSame(bytes, 1_000_000, mebibytes * 1024 * 1024);
  });

  test('tells `info`, of several the last one', async () => {
    expect((await split(Buffer.from('{"info":1,"packages":{},"info":{"a":2}}'))).info).toEqual({ a: 2 });
    expect(await split(Buffer.from(''))).toEqual({ info: undefined, packages: [] });
  });

  test('keeps in the text of a package what is no record, and each record as it stands', async () => {
    const text = '{"packages":{"a-1-0.tar.bz2": {"n": 1.0, "u":"\\u0061"},"a-2-0.tar.bz2":5}}';
    const { packages } = await split(Buffer.from(text));
    expect(Buffer.from(packages[0]!.text).toString()).toBe(
      '{"packages":{"a-1-0.tar.bz2":{"n": 1.0, "u":"\\u0061"},"a-2-0.tar.bz2":5},"packages.conda":{},"removed":[],"v3":{}}',
    );
  });

  test.each(['{"packages":', '{"packages":[]}', '{"v3":{"whl":1}}', '[]', '{}x'])(
    '%j is refused, and leaves no file',
    async (text) => {
      await expect(split(Buffer.from(text), 1)).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
    },
  );

  test('ends when it is aborted', async () => {
    const path = join(await tempFolder(), 'buckets');
    const bytes = Buffer.from('{"packages":{"a-1-0.tar.bz2":{},"b-1-0.tar.bz2":{}}}');
    const reason = new Error('enough');
    const early = splitRepodataStream(inPieces(bytes, 9)(), { path, signal: AbortSignal.abort(reason) });
    await expect(early).rejects.toBe(reason);
    const controller = new AbortController();
    await using repodata = await splitRepodataStream(inPieces(bytes, 9)(), {
      path,
      size: 1,
      signal: controller.signal,
    });
    const packages = repodata.packages();
    await packages.next();
    controller.abort(reason);
    await expect(packages.next()).rejects.toBe(reason);
  });
});

/** The repodata files of a channel's subdirs. */
function repodataOf(channel: string): string[] {
  const names = ['repodata.json', 'current_repodata.json', 'repodata_from_packages.json'];
  return readdirSync(channel).flatMap((subdir) =>
    names.map((name) => join(channel, subdir, name)).filter((path) => existsSync(path)),
  );
}

const channels = [
  FIXTURE_CHANNEL,
  ...(HAS_REAL_CHANNELS ? [realChannel('conda-format'), realChannel('test-recipes')] : []),
];

const paths = [
  ...channels.flatMap((channel) => repodataOf(channel)),
  ...(HAS_REAL_REPODATA ? [REAL_REPODATA] : []),
];

test.each(paths.map((path) => relative(ROOT, path)))('%s is split as the whole text is', async (path) => {
  await expectSame(await readFile(join(ROOT, path)), 64 * 1024, 40 * 1024 * 1024);
});
