import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  isLockedHash,
  readLockedUrl,
  uniteLocks,
  type LockedArchive,
} from '#ferry/provenance/lock-files/locked-archives.js';

describe('a URL', () => {
  test.each([
    [
      'https://conda.example.org/ch/label/dev/linux-64/a-1-0.conda',
      'linux-64',
      'https://conda.example.org/ch/label/dev',
    ],
    ['oci://ghcr.io/ch/noarch/a-1-0.conda', 'noarch', 'oci://ghcr.io/ch'],
    ['file:///srv/ch/noarch/a-1-0.conda', 'noarch', 'file:///srv/ch'],
    ['https://conda.example.org/ch/noarch/a-1-0.conda?token=x', 'noarch', 'https://conda.example.org/ch'],
  ])('%s is in a channel', (url, subdir, channel) => {
    expect(readLockedUrl(url, {})).toMatchObject({ filename: 'a-1-0.conda', subdir, channel });
  });

  test.each([
    'a-1-0.conda',
    './noarch/a-1-0.conda',
    '/srv/noarch/a-1-0.conda',
    'c:/srv/noarch/a-1-0.conda',
    'https://example.org/files/a-1-0.conda',
    'https://example.org/noarch/a.whl',
    'https://example.org/noarch/a-1-0.zip',
    'https://example.org/noarch/%zz-1-0.conda',
    'https://example.org/noarch/..%2fa-1-0.conda',
    'https://',
    'git+https://example.org/a.git',
  ])('%s is in none', (url) => {
    expect(readLockedUrl(url, {})).toBeUndefined();
  });
});

test.each<[Partial<LockedArchive>, { sha256?: string; md5?: string }, boolean]>([
  [{ sha256: 'a' }, { sha256: 'a' }, true],
  [{ sha256: 'a' }, { sha256: 'b' }, false],
  [{ sha256: 'a', md5: 'm' }, { sha256: 'b', md5: 'm' }, false],
  [{ sha256: 'a', md5: 'm' }, { md5: 'm' }, true],
  [{ md5: 'm' }, { sha256: 'b', md5: 'm' }, true],
  [{ md5: 'm' }, { sha256: 'b' }, false],
  [{ sha256: 'a' }, {}, false],
  [{}, { sha256: 'b' }, true],
  [{}, {}, true],
])('%j and a record with %j: %s', (locked, record, same) => {
  const archive = { filename: 'a-1-0.conda', subdir: 'noarch', url: '', ...locked };
  expect(isLockedHash(archive, record)).toBe(same);
});

test('locks are united in any order and grouping, and without doubles', () => {
  const archive = fc.record({
    filename: fc.constantFrom('a-1-0.conda', 'b-1-0.conda'),
    subdir: fc.constantFrom('noarch', 'linux-64'),
    sha256: fc.constantFrom(undefined, '1', '2'),
    url: fc.constantFrom('https://a.example.org', 'https://b.example.org'),
  });
  const lock = fc.record({
    archives: fc.array(archive, { maxLength: 4 }),
    ignored: fc.record({ pypi: fc.nat(3), elsewhere: fc.nat(3) }),
  });
  fc.assert(
    fc.property(lock, lock, lock, (a, b, c) => {
      const all = uniteLocks([a, b, c]);
      expect(uniteLocks([c, b, a])).toEqual(all);
      expect(uniteLocks([a, uniteLocks([b, c])])).toEqual(all);
      expect(uniteLocks([all, { archives: all.archives, ignored: { pypi: 0, elsewhere: 0 } }])).toEqual(all);
    }),
  );
});
