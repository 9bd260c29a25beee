import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseSample } from '#ferry/conformance/sample.js';

const ITEMS = Array.from({ length: 1000 }, (_, i) => i);

test('so many items are chosen, each once, in their order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.integer({ min: 0, max: 50 }), fc.string(), (items, size, seed) => {
      const places = items.map((_, i) => i);
      const chosen = chooseSample(places, size, seed);
      expect(chosen).toHaveLength(Math.min(size, items.length));
      expect(chosen).toEqual([...new Set(chosen)].sort((a, b) => a - b));
    }),
  );
});

test('the same seed chooses the same, on every machine', () => {
  expect(chooseSample(ITEMS, 5, 'seed')).toEqual(chooseSample(ITEMS, 5, 'seed'));
  expect(chooseSample(ITEMS, 5, 'seed')).toMatchInlineSnapshot(`
    [
      12,
      194,
      464,
      588,
      933,
    ]
  `);
});

test('another seed chooses others', () => {
  expect(chooseSample(ITEMS, 5, 'a')).not.toEqual(chooseSample(ITEMS, 5, 'b'));
});

test('every item has the same chance', () => {
  const items = ITEMS.slice(0, 20);
  const counts = new Map(items.map((item) => [item, 0]));
  for (let seed = 0; seed < 4000; seed++)
    for (const item of chooseSample(items, 5, String(seed))) counts.set(item, (counts.get(item) ?? 0) + 1);
  // A thousand are to be expected of each; by chance alone none is ever a fifth away from that.
  for (const times of counts.values()) expect(Math.abs(times - 1000)).toBeLessThan(200);
});
