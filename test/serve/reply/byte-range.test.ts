import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRange } from '#ferry/serve/reply/byte-range.js';

describe('a Range header', () => {
  test.each([
    ['bytes=0-0', 10, { start: 0, end: 1 }],
    ['bytes=2-4', 10, { start: 2, end: 5 }],
    ['bytes=2-', 10, { start: 2, end: 10 }],
    ['bytes=2-99999999999999999999999', 10, { start: 2, end: 10 }],
    ['bytes=-3', 10, { start: 7, end: 10 }],
    ['bytes=-30', 10, { start: 0, end: 10 }],
    ['Bytes=9-9', 10, { start: 9, end: 10 }],
  ])('%s of %i bytes is a part', (header, size, part) => {
    expect(parseRange(header, size)).toEqual(part);
  });

  test.each([
    ['bytes=10-', 10],
    ['bytes=10-20', 10],
    ['bytes=99999999999999999999999-', 10],
    ['bytes=-0', 10],
    ['bytes=0-', 0],
  ])('%s of %i bytes asks for what is not there', (header, size) => {
    expect(parseRange(header, size)).toBe('none');
  });

  test.each([
    ['bytes=4-2', 10],
    ['bytes=-', 10],
    ['bytes=', 10],
    ['bytes=0-1,4-5', 10],
    ['bytes=0-1, 4-5', 10],
    ['bytes=a-b', 10],
    ['bytes=0x1-2', 10],
    ['bytes=1.5-2', 10],
    ['bytes=-1-2', 10],
    ['bytes 0-1', 10],
    ['lines=0-1', 10],
    ['', 10],
    ['bytes=-5', 0],
  ])('%s of %i bytes is ignored', (header, size) => {
    expect(parseRange(header, size)).toBeUndefined();
  });

  test('whatever it says, a part lies inside and is not empty', () => {
    const number = fc.oneof(fc.nat(20).map(String), fc.bigInt({ min: 0n }).map(String), fc.constant(''));
    fc.assert(
      fc.property(number, number, fc.nat(20), (first, last, size) => {
        const range = parseRange(`bytes=${first}-${last}`, size);
        if (range === undefined || range === 'none') return;
        expect(range.start).toBeGreaterThanOrEqual(0);
        expect(range.end).toBeGreaterThan(range.start);
        expect(range.end).toBeLessThanOrEqual(size);
      }),
    );
  });
});
