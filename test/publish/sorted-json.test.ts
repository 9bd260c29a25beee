import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sortedJson } from '#ferry/publish/sorted-json.js';

test('sorted JSON reads back as the same value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(sortedJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

test('sorted JSON is the same whatever the order of keys, those that are numbers too', () => {
  expect(sortedJson({ b: 1, '10': { z: [], a: null }, '9': 'x' })).toBe(
    '{"10":{"a":null,"z":[]},"9":"x","b":1}',
  );
  expect(sortedJson({ '9': 'x', '10': { a: null, z: [] }, b: 1 })).toBe(
    '{"10":{"a":null,"z":[]},"9":"x","b":1}',
  );
});
