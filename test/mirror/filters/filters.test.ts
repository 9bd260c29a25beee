import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import {
  describeFilters,
  filtersDigestInput,
  hasFilters,
  NO_FILTERS,
  parseFilters,
  type FilterInput,
} from '#ferry/mirror/filters/filters.js';
import type { LockedArchives } from '#ferry/provenance/lock-files/locked-archives.js';

const SHA256 = 'a'.repeat(64);
const lockOf = (...filenames: string[]): LockedArchives => ({
  archives: filenames.map((filename) => ({
    filename,
    subdir: 'noarch',
    sha256: SHA256,
    url: `https://conda.example.org/ch/noarch/${filename}`,
  })),
  ignored: { pypi: 2, elsewhere: 1 },
});

function refusal(input: FilterInput): FerryError {
  try {
    parseFilters(input);
  } catch (error) {
    if (error instanceof FerryError) return error;
  }
  throw new Error('it was not refused');
}

describe('parsing', () => {
  test('of everything', () => {
    expect(
      parseFilters({
        latest: '3',
        latestPerVariant: true,
        since: '2024-05-01',
        minAge: '7d',
        maxSize: '100MB',
      }),
    ).toMatchObject({
      latest: { count: 3, perVariant: true },
      sinceMs: Date.parse('2024-05-01'),
      minAgeMs: 604_800_000,
      maxSize: 100_000_000,
      withDependencies: false,
    });
  });

  test('of nothing takes everything', () => {
    expect(hasFilters(parseFilters({}))).toBe(false);
    expect(hasFilters(parseFilters({ withDependencies: true }))).toBe(false);
    expect(hasFilters(parseFilters({ maxSize: '1GB' }))).toBe(true);
    expect(filtersDigestInput(NO_FILTERS)).toEqual({});
  });

  test.each<[string, FilterInput]>([
    ['--latest', { latest: '0' }],
    ['--latest', { latest: 'all' }],
    ['--since', { since: 'yesterday' }],
    ['--min-age', { minAge: '7' }],
    ['--max-size', { maxSize: '1G' }],
    ['--include', { include: ['numpy', ''] }],
    ['--exclude', { exclude: ['=1.2='] }],
    ['--undistributable', { undistributable: [''] }],
    ['--min-age-exempt', { minAge: '7d', minAgeExempt: [''] }],
    ['--min-age-exempt', { minAgeExempt: ['numpy'] }],
    ['--latest-per-variant', { latestPerVariant: true }],
    ['--with-dependencies', { withDependencies: true, lock: lockOf('a-1-0.conda') }],
    ['--lock', { lock: lockOf() }],
  ])('names %s where it is wrong', (flag, input) => {
    const error = refusal(input);
    expect(error.code).toBe('USAGE');
    expect(error.message).toContain(`\`${flag}\``);
    if (flag !== '--lock') expect(error.hint).toBeTruthy();
  });

  test('says in which line of which file a match spec is wrong', () => {
    const error = refusal({ include: [{ text: '=', from: '`wanted.txt`, line 3' }] });
    expect(error.message).toContain('`wanted.txt`, line 3');
    expect(error.cause).toMatchObject({ code: 'MATCH_SPEC_INVALID' });
  });
});

describe('what the ledger keeps', () => {
  const digestInput = (input: FilterInput): string => JSON.stringify(filtersDigestInput(parseFilters(input)));

  test('is the same whatever the order, the spaces and where texts come from', () => {
    const specs = fc.array(fc.constantFrom('a', 'b', 'c=1', 'd==2'), { minLength: 1 });
    fc.assert(
      fc.property(specs, fc.nat(), (texts, seed) => {
        const turned = [...texts.slice(seed % texts.length), ...texts.slice(0, seed % texts.length)];
        const fromFile = turned.map((text) => ({ text: ` ${text} `, from: `line ${seed}` }));
        expect(digestInput({ include: texts })).toBe(digestInput({ include: fromFile }));
      }),
    );
    expect(digestInput({ minAge: '7d' })).toBe(digestInput({ minAge: '1w' }));
    expect(digestInput({ lock: lockOf('a-1-0.conda', 'b-1-0.conda') })).toBe(
      digestInput({ lock: lockOf('b-1-0.conda', 'a-1-0.conda', 'a-1-0.conda') }),
    );
  });

  test('differs where what is wanted can differ', () => {
    const inputs: FilterInput[] = [
      {},
      { include: ['a'] },
      { exclude: ['a'] },
      { undistributable: ['a'] },
      { include: ['a'], exclude: ['a'] },
      { latest: '1' },
      { latest: '2' },
      { latest: '2', latestPerVariant: true },
      { since: '2024-05-01' },
      { since: '1970-01-01' },
      { minAge: '7d' },
      { minAge: '0d' },
      { minAge: '7d', minAgeExempt: ['a'] },
      { maxSize: '1MB' },
      { maxSize: '0' },
      { include: ['a'], withDependencies: true },
      { lock: lockOf('a-1-0.conda') },
      { lock: lockOf('a-1-1.conda') },
    ];
    expect(new Set(inputs.map(digestInput)).size).toBe(inputs.length);
  });

  test('tells locked archives by their hashes, not by where they come from', () => {
    expect(filtersDigestInput(parseFilters({ lock: lockOf('a-1-0.conda') }))).toEqual({
      lock: [`noarch/a-1-0.conda#sha256:${SHA256}`],
    });
  });
});

test('filters are described for people', () => {
  const describe = (input: FilterInput): readonly string[] => describeFilters(parseFilters(input));
  expect(describe({})).toEqual([]);
  expect(describe({ include: ['numpy', 'scipy=1'] })).toEqual(['only numpy, scipy=1']);
  expect(describe({ exclude: ['numpy'], include: ['numpy==2.0'] })).toEqual([
    'all but numpy, but for numpy==2.0',
  ]);
  expect(describe({ exclude: ['a', 'b', 'c', 'd', 'e', 'f', 'g'] })).toEqual([
    'all but a, b, c, d, e and 2 more',
  ]);
  expect(
    describe({
      latest: '1',
      latestPerVariant: true,
      since: '2024-05-01',
      maxSize: '1GiB',
      minAge: '7d',
      minAgeExempt: ['own'],
      undistributable: ['mkl'],
      withDependencies: true,
    }),
  ).toEqual([
    'the newest version of each name and Python variant',
    'nothing built before 2024-05-01T00:00:00.000Z',
    'nothing over 1GiB',
    'nothing younger than 1w, but for own',
    'never mkl',
    'with what these depend on',
  ]);
  expect(describe({ lock: lockOf('a-1-0.conda') })).toEqual([
    'only the 1 archives that are locked; 3 entries of no conda channel are passed over',
  ]);
});
