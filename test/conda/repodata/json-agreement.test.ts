import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { inPieces } from './pieces.js';

/** What JSON.parse says of text that must be UTF-8. */
function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

async function isTaken(bytes: Uint8Array, pieceBytes: number): Promise<boolean> {
  try {
    await Repodata.read(inPieces(bytes, pieceBytes), 'linux-64');
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'REPODATA_INVALID' });
    const { position } = error as { position?: number };
    expect(position).toBeGreaterThanOrEqual(0);
    expect(position).toBeLessThanOrEqual(bytes.byteLength);
    return false;
  }
}

// Where only JSON itself decides: a member that nobody reads, the inside of a record, a record, and `removed`.
const FRAMES = [
  (value: string) => `{"x":${value}}`,
  (value: string) => `{"packages":{"a-1-0.tar.bz2":{"name":"a","version":"1","x":${value},"build":"0"}}}`,
  (value: string) => `{"packages":{"a-1-0.tar.bz2":${value}}}`,
  (value: string) => `{"removed":${value},"packages":{}}`,
];

const VALID = [
  '0',
  '-0',
  '1.5e+30',
  '1E400',
  '12345678901234567890',
  'true',
  'false',
  'null',
  '""',
  '"\\u00e9\\ud83d\\ude00\\/\\b"',
  '"é€😀"',
  '"\\ud800"',
  '"\u007f\u2028"',
  '[]',
  '{}',
  '[ ]',
  '{ }',
  ' [ 1 , "a" , { "b" : [ ] } ]\t\r\n',
  '{"":0,"":1}',
  '{"url":"x","sha256":5,"size":-1,"name":null}',
  '{"\\u0075rl":"x","size":1.0,"md5":"\\u0061"}',
];

const MALFORMED = [
  '',
  '01',
  '-',
  '1.',
  '.5',
  '1e',
  '1e+',
  '+1',
  '0x1',
  'NaN',
  'tru',
  'truE',
  'nul',
  'nulll',
  '"',
  '"\\"',
  '"\\x"',
  '"\\u12"',
  '"\\u12g4"',
  '"a\nb"',
  '"a\u0000b"',
  "'a'",
  '[1,]',
  '[,1]',
  '[1 2]',
  '[',
  ']',
  '{"a"}',
  '{"a":}',
  '{"a":1,}',
  '{a:1}',
  '{"a" 1}',
  '{"a":1 "b":2}',
  '[}',
  '{]',
  '["a" "b"]',
  '["a",,"b"]',
  '\u00a0"a"',
  '\u000b1',
  '1\u0000',
];

const NOT_UTF8 = ['c0af', 'eda080', 'f4908080', 'ff', 'c3', 'e282', 'f09f98', '80', 'c328', 'f8888080'];

describe('RFC 8259', () => {
  test.each(VALID)('%j is taken wherever it stands, whatever the pieces', async (value) => {
    for (const frame of FRAMES) {
      const bytes = Buffer.from(frame(value));
      expect(parse(bytes)).toBeDefined();
      for (const size of [1, 2, 3, 7, 1000]) expect(await isTaken(bytes, size)).toBe(true);
    }
  });

  test.each(MALFORMED)('%j is refused wherever it stands, whatever the pieces', async (value) => {
    for (const frame of FRAMES) {
      const bytes = Buffer.from(frame(value));
      expect(parse(bytes)).toBeUndefined();
      for (const size of [1, 2, 3, 7, 1000]) expect(await isTaken(bytes, size)).toBe(false);
    }
  });

  test.each(NOT_UTF8)('a string with the bytes %s is refused where they begin', async (hex) => {
    for (const frame of FRAMES) {
      const [before = '', after = ''] = frame('"é^x"').split('^');
      for (const rest of [after, '']) {
        const bytes = Buffer.concat([Buffer.from(before), Buffer.from(hex, 'hex'), Buffer.from(rest)]);
        for (const size of [1, 2, 3, 7, 1000]) {
          const read = Repodata.read(inPieces(bytes, size), 'linux-64');
          const position = Buffer.byteLength(before);
          await expect(read).rejects.toMatchObject({ code: 'REPODATA_INVALID', position });
        }
      }
    }
  });

  test.each([
    ['{"a":tru}', 8],
    ['{"packages":{"a":{"b":[1,]}}}', 25],
    ['{"packages":{"a":{"b":1,}}}', 24],
    ['{"packages":{"a":{"b" 1}}}', 22],
    ['{"packages":{"a":{}"b":{}}}', 19],
    ['{"packages":{"a":{},}}', 20],
    ['{"packages":{"a":{"b":"\u0001"}}}', 23],
    ['{"packages":[]}', 12],
    ['{}x', 2],
    ['{"a":1', 6],
    ['{"packages":{"a":{"b":"c', 24],
    ['{"packages":{"a":{"b":01}}}', 23],
  ])('%j is refused at byte %i', async (text, position) => {
    for (const size of [1, 2, 3, 1000]) {
      const read = Repodata.read(inPieces(Buffer.from(text), size), 'linux-64');
      await expect(read).rejects.toMatchObject({ code: 'REPODATA_INVALID', position });
    }
  });
});

/** Repodata as text, from what a generator makes. */
const section = fc.dictionary(
  fc.constantFrom('a-1-0.conda', 'b-1-0.tar.bz2', 'é-1-0.conda'),
  fc.record(
    {
      name: fc.constantFrom<unknown>('a', 'b', 5),
      version: fc.constant('1'),
      build: fc.constant('0'),
      depends: fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 3 }),
      size: fc.oneof(fc.nat(), fc.double(), fc.constant(null)),
      sha256: fc.constantFrom('ab'.repeat(32), 'x'),
      extra: fc.jsonValue(),
    },
    { requiredKeys: [] },
  ),
  { maxKeys: 4 },
);
const document = fc.record(
  {
    info: fc.constant({ subdir: 'linux-64' }),
    packages: section,
    'packages.conda': section,
    v3: fc.record({ conda: section, whl: section }, { requiredKeys: [] }),
    removed: fc.array(fc.string()),
    other: fc.jsonValue(),
  },
  { requiredKeys: [] },
);
// Bytes that mean something in JSON make better mistakes than others.
const byte = fc.oneof(fc.constantFrom(...Buffer.from('"\\{}[],:0.eE+-tfnu \n\u0001é')), fc.nat({ max: 255 }));
const mutation = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  kind: fc.constantFrom('replace', 'insert', 'remove'),
  byte,
});

test('mutated bytes are taken if and only if JSON.parse takes them', async () => {
  await fc.assert(
    fc.asyncProperty(
      document,
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(undefined, 1),
      fc.integer({ min: 1, max: 50 }),
      async (value, mutations, indent, pieceBytes) => {
        let bytes: Buffer = Buffer.from(JSON.stringify(value, undefined, indent));
        for (const { at, kind, byte } of mutations) {
          const index = Math.floor(at * bytes.length);
          const added = kind === 'remove' ? [] : [byte];
          const rest = bytes.subarray(kind === 'insert' ? index : index + 1);
          bytes = Buffer.concat([bytes.subarray(0, index), Buffer.from(added), rest]);
        }
        const parsed = parse(bytes);
        fc.pre(parsed === undefined || isDocument(parsed));
        // CEP 26 takes an empty file for an empty object.
        expect(await isTaken(bytes, pieceBytes)).toBe(parsed !== undefined || bytes.length === 0);
      },
    ),
    { numRuns: 3000 },
  );
});

/** Whether it has the outline that repodata must have beyond being JSON. */
function isDocument(value: unknown): boolean {
  const isObject = (part: unknown): part is Record<string, unknown> =>
    typeof part === 'object' && part !== null && !Array.isArray(part);
  if (!isObject(value)) return false;
  const { info = {}, packages = {}, 'packages.conda': conda = {}, v3 = {} } = value;
  if (!isObject(info) || !isObject(packages) || !isObject(conda) || !isObject(v3)) return false;
  const { conda: records = {}, 'tar.bz2': others = {} } = v3;
  if (!isObject(records) || !isObject(others)) return false;
  return info['subdir'] === undefined || info['subdir'] === 'linux-64' || typeof info['subdir'] !== 'string';
}
