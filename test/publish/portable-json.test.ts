import { describe, expect, test } from 'vitest';
import { isPortableJson, parsePortableObject } from '#ferry/publish/portable-json.js';

const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));

describe('JSON that every client can read', () => {
  test.each([
    ['all kinds of values', { a: [1, null, true, 'ü', '😀', {}], b: { c: {} } }],
    ['depth that records have', nested(64)],
  ])('is that of %s', (_what, value) => {
    expect(isPortableJson(value)).toBe(true);
  });

  test.each([
    ['nesting without end', nested(65)],
    ['nesting that no recursion survives', nested(100_000)],
    ['half a character', { a: '\ud83d' }],
    ['half a character in a key', { '\udc00': 1 }],
    ['the key that msgpack readers refuse', JSON.parse('{"a":{"__proto__":1}}')],
  ])('is not that of %s', (_what, value) => {
    expect(isPortableJson(value)).toBe(false);
  });

  test('is parsed where it is an object', () => {
    expect(parsePortableObject(Buffer.from('{"a":1}'))).toEqual({ a: 1 });
    for (const text of ['[]', 'null', '{', '"a"', '{"a":"\\ud800"}'])
      expect(parsePortableObject(Buffer.from(text))).toBeUndefined();
    expect(parsePortableObject(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toBeUndefined();
  });
});
