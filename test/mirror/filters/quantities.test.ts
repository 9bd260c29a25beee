import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatDuration,
  formatSize,
  parseDate,
  parseDuration,
  parseSize,
} from '#ferry/mirror/filters/quantities.js';

describe('durations', () => {
  test.each([
    ['30m', 1_800_000],
    ['12h', 43_200_000],
    ['7d', 604_800_000],
    ['2w', 1_209_600_000],
    ['1.5d', 129_600_000],
    [' 7 d ', 604_800_000],
    ['0d', 0],
  ])('%j', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '7', 'd', '-7d', '7D', '7 days', '1d12h', '1e3d', `${'9'.repeat(30)}w`])(
    'not %j',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  test('whole minutes read back as they are written', () => {
    fc.assert(
      fc.property(fc.nat(10_000_000), (minutes) => {
        expect(parseDuration(formatDuration(minutes * 60_000))).toBe(minutes * 60_000);
      }),
    );
    expect(formatDuration(parseDuration('14d') ?? 0)).toBe('2w');
  });
});

describe('sizes', () => {
  test.each([
    ['0', 0],
    ['12345', 12_345],
    ['10B', 10],
    ['500kB', 500_000],
    ['100MB', 100_000_000],
    ['100mb', 100_000_000],
    ['1.5 GB', 1_500_000_000],
    ['1GiB', 1_073_741_824],
    ['0.3B', 0],
  ])('%j', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(['', 'MB', '-1MB', '1G', '1M', '1 giga', '1e9', '1,5GB', '1__proto__', '9999999TB'])(
    'not %j',
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );

  test('read back as they are written', () => {
    const size = fc.oneof(fc.nat(), fc.constantFrom(1e3, 1024, 1e8, 2 ** 30, 3 * 2 ** 40), fc.maxSafeNat());
    fc.assert(
      fc.property(size, (bytes) => {
        expect(parseSize(formatSize(bytes))).toBe(bytes);
      }),
    );
    expect([1e8, 2 ** 30, 1_234_567].map(formatSize)).toEqual(['100MB', '1GiB', '1234567B']);
  });
});

describe('dates', () => {
  test.each([
    ['2024-05-01', '2024-05-01T00:00:00.000Z'],
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
    ['2024-05-01T12:30', '2024-05-01T12:30:00.000Z'],
    ['2024-05-01 12:30:05', '2024-05-01T12:30:05.000Z'],
    ['2024-05-01t12:30:00.5z', '2024-05-01T12:30:00.500Z'],
    ['2024-05-01T00:30:00+02:00', '2024-04-30T22:30:00.000Z'],
  ])('%j, in UTC unless it says otherwise', (text, iso) => {
    expect(new Date(parseDate(text) ?? NaN).toISOString()).toBe(iso);
  });

  test.each([
    '',
    '2024',
    '2024-05',
    '2024-13-01',
    '2024-02-30',
    '2023-02-29',
    '01.05.2024',
    '2024-05-01T25:00',
    '7d',
  ])('not %j', (text) => {
    expect(parseDate(text)).toBeUndefined();
  });

  test('read back as the platform writes them', () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }), (date) => {
        expect(parseDate(date.toISOString())).toBe(date.getTime());
      }),
    );
  });
});
