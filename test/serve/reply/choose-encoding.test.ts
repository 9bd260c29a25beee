import { expect, test } from 'vitest';
import { chooseEncoding } from '#ferry/serve/reply/choose-encoding.js';

test.each([
  [null, 'identity'],
  ['', 'identity'],
  ['identity', 'identity'],
  ['gzip', 'gzip'],
  ['gzip, deflate', 'gzip'],
  ['gzip, deflate, br, zstd', 'zstd'],
  ['GZIP', 'gzip'],
  ['*', 'zstd'],
  ['deflate, br', 'identity'],
  ['gzip;q=1.0, zstd;q=0.5', 'gzip'],
  ['zstd;q=0, gzip', 'gzip'],
  ['zstd;q=0.5', 'zstd'],
  ['zstd;q=0.5, identity', 'identity'],
  ['gzip;q=0, zstd;q=0', 'identity'],
  ['identity;q=0, gzip;q=0.1', 'gzip'],
  ['identity;q=0', 'identity'],
  ['*;q=0', 'identity'],
  ['gzip;q=nonsense', 'identity'],
  [';;;,,,=', 'identity'],
])('of plain, gzip and zstd, %s takes %s', (header, chosen) => {
  expect(chooseEncoding(header, ['zstd', 'gzip'])).toBe(chosen);
  expect(chooseEncoding(header, ['gzip', 'zstd'])).toBe(chosen);
});

test('only what there is can be chosen', () => {
  expect(chooseEncoding('zstd, gzip;q=0.5', ['gzip'])).toBe('gzip');
  expect(chooseEncoding('zstd, gzip', [])).toBe('identity');
});
