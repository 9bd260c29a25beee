import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JsonCursor } from '#ferry/conda/json-cursor.js';
import { ParseError } from '#ferry/errors.js';

/** Reads an object member by member, each value decoded from where the cursor says it is. */
function readMembers(bytes: Uint8Array): Record<string, unknown> {
  const cursor = new JsonCursor(bytes);
  const members: [string, unknown][] = [];
  cursor.readObject((key) => {
    members.push([key, cursor.decode(cursor.skipValue())]);
  });
  cursor.expectEnd();
  return Object.fromEntries(members);
}

function read(text: string | Uint8Array): unknown {
  try {
    return readMembers(Buffer.from(text));
  } catch (error) {
    return error;
  }
}

/** What JSON.parse makes of it, if it is an object. */
function parse(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function expectAgreement(characters: string): void {
  // Half of a surrogate pair has no bytes in UTF-8.
  const text = Buffer.from(characters).toString();
  const result = read(text);
  const wanted = parse(text);
  if (wanted === undefined) expect(result).toMatchObject({ name: 'ParseError', code: 'REPODATA_INVALID' });
  else expect(result).toEqual(wanted);
}

describe('agrees with JSON.parse', () => {
  const document = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue());

  test('on whole documents, whatever their white space', () => {
    fc.assert(
      fc.property(document, fc.constantFrom(undefined, 1, '\t', '\r\n '), (value, space) => {
        expectAgreement(JSON.stringify(value, undefined, space));
      }),
    );
  });

  test('on documents with a piece cut out, doubled or put in', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        ...Array.from('{}[]",:\\ \n\t0123456789+-.eEtfnu'),
        'null',
        'true',
        'false',
        '\u000b',
        '\u00a0',
        '\ufeff',
        '1e5',
        '-',
        '"a":',
      ),
      fc.string({ unit: 'binary', maxLength: 2 }),
    );
    const change = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(3), piece });
    fc.assert(
      fc.property(document, fc.array(change, { minLength: 1, maxLength: 3 }), (value, changes) => {
        let text = JSON.stringify(value);
        for (const { at, cut, piece } of changes) {
          const start = Math.floor(at * (text.length + 1));
          text = text.slice(0, start) + piece + text.slice(start + cut);
        }
        expectAgreement(text);
      }),
      { numRuns: 3000 },
    );
  });

  test('on documents cut short at every byte', () => {
    const whole = '{"a":[1,{"b":"x\\u00e9"},-0.5e+3,true,null],"c":{},"d":[]}';
    for (let length = 0; length < whole.length; length += 1) expectAgreement(whole.slice(0, length));
    expectAgreement(whole);
  });

  test.each([
    '{"a":01}',
    '{"a":-}',
    '{"a":+1}',
    '{"a":.5}',
    '{"a":1.}',
    '{"a":1e}',
    '{"a":1e+}',
    '{"a":0x1}',
    '{"a":1 2}',
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":truE}',
    '{"a":nul}',
    '{"a":nullx}',
    '{"a":true1}',
    "{'a':1}",
    '{a:1}',
    '{"a"}',
    '{"a" 1}',
    '{"a":}',
    '{"a":1,}',
    '{,}',
    '{"a":[1,]}',
    '{"a":[,1]}',
    '{"a":[1 2]}',
    '{"a":[}',
    '{"a":[1}}',
    '{"a":{"b":1]}',
    '{"a":{"b"}}',
    '{"a":{"b":}}',
    '{"a":{1:2}}',
    '{"a":{"b":1,}}',
    '{"a":"\n"}',
    '{"a":"\\x"}',
    '{"a":"\\u12g4"}',
    '{"a":"\\u12"}',
    '{"a":"\\',
    '{"a":1}}',
    '{"a":1}{}',
    '{"a":1} x',
    '[]',
    '"a"',
    '1',
    'null',
    '',
    ' ',
    '/**/{}',
    '\u00a0{}',
    '{"a":1}\u000b',
    '{"a":1e5,"b":-0,"c":1E-7,"d":10.250,"e":12345678901234567890}',
    '{"\\u0061":1,"a":2}',
    '{"a":"\\ud800","\\udc00":"\\"\\\\\\/\\b\\f\\n\\r\\t"}',
    '{"__proto__":{"a":1},"constructor":2}',
    ' \t\r\n{ } \n',
  ])('on %j', (text) => {
    expectAgreement(text);
  });
});

describe('says where the fault is, in bytes', () => {
  test.each([
    ['', 0],
    ['\ufeff{}', 0],
    ['[]', 0],
    ['{"a":1', 6],
    ['{"a" 1}', 5],
    ['{"é" 1}', 6],
    ['{"a":tru}', 5],
    ['{"a":1,}', 7],
    ['{"a":[1,2}', 9],
    ['{"a":[1,[2,}]]}', 11],
    ['{"a":{"b":1 "c":2}}', 12],
    ['{"a":{"b":[-x]}}', 11],
    ['{"a":"b', 5],
    ['{"a":"b\nc"}', 7],
    ['{"a":"b\\qc"}', 7],
    ['{"a":1} x', 8],
    ['{"a":01}', 6],
  ])('%j at byte %i', (text, position) => {
    const error = read(text);
    expect(error).toBeInstanceOf(ParseError);
    expect(error).toMatchObject({ code: 'REPODATA_INVALID', position });
    expect((error as Error).message).toContain(`at byte ${position}:`);
  });

  test.each([
    [[0x22, 0xff, 0x22], 5],
    [[0x22, 0x61, 0xc3, 0x22], 5],
    [[0x22, 0xed, 0xa0, 0x80, 0x22], 5],
    [[0x22, 0xc0, 0xaf, 0x22], 5],
    [[0xe9], 5],
  ])('bytes %j, which are not UTF-8', (bytes, position) => {
    const text = Buffer.concat([Buffer.from('{"a":'), Buffer.from(bytes), Buffer.from('}')]);
    expect(read(text)).toMatchObject({ code: 'REPODATA_INVALID', position });
  });
});

test('of equal keys the last one comes last, as JSON.parse counts it', () => {
  expect(read('{"a":1,"b":2,"\\u0061":3}')).toEqual({ a: 3, b: 2 });
});

test('spans are the bytes of key and value, also behind characters of several bytes', () => {
  const text = Buffer.from('{ "ключ" : [ 1 , "é" ] ,"b":{"c":0}}');
  const cursor = new JsonCursor(text);
  const found: string[][] = [];
  const whole = cursor.readObject((key, keySpan) => {
    const value = cursor.skipValue();
    found.push([
      key,
      text.subarray(keySpan.start, keySpan.end).toString(),
      text.subarray(value.start, value.end).toString(),
    ]);
  });
  expect(found).toEqual([
    ['ключ', '"ключ"', '[ 1 , "é" ]'],
    ['b', '"b"', '{"c":0}'],
  ]);
  expect(whole).toEqual({ start: 0, end: text.length });
});

test.each([
  ['arrays', '[', ']'],
  ['objects', '{"a":', '}'],
])('%s within each other do not use up the stack', (_, open, close) => {
  const depth = 200_000;
  const value = `${open.repeat(depth)}1${close.repeat(depth)}`;
  const cursor = new JsonCursor(Buffer.from(`{"deep":${value}}`));
  cursor.readObject(() => {
    expect(cursor.skipValue()).toEqual({ start: 8, end: 8 + value.length });
  });
  cursor.expectEnd();
  expect(read(`{"deep":${value.slice(0, -1)}}`)).toMatchObject({ code: 'REPODATA_INVALID' });
});

test('a cursor may start in the middle of the text', () => {
  const text = Buffer.from('garbage {"a":1} garbage');
  const cursor = new JsonCursor(text, 8);
  expect(cursor.readObject(() => cursor.skipValue())).toEqual({ start: 8, end: 15 });
});
