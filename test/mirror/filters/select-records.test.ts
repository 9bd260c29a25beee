import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FilterInput } from '#ferry/mirror/filters/filters.js';
import { parseFilters } from '#ferry/mirror/filters/filters.js';
import { selectRecords } from '#ferry/mirror/filters/select-records.js';
import { MAX_EXAMPLES } from '#ferry/mirror/filters/selection.js';
import { DAY_MS, makeDetails, NOW_MS, select, wantedOf, type Records } from '../../support/records.js';

const at = (day: string): number => Date.parse(`${day}T00:00:00Z`);

describe('include and exclude', () => {
  const records: Records = {
    'linux-64': { 'numpy-1.9-0': {}, 'numpy-2.0-0': {}, 'scipy-1.0-0': {}, 'mkl-1-0': {} },
    noarch: { 'numpy-base-1-0': {}, 'tool-1-0': {} },
  };
  const all = Object.entries(records).flatMap(([subdir, of]) =>
    Object.keys(of).map((stem) => `${subdir}/${stem}`),
  );
  const without = (...gone: string[]): string[] => all.filter((stem) => !gone.includes(stem)).sort();

  test.each<[string, FilterInput, string[]]>([
    ['nothing: everything is taken', {}, without()],
    [
      'include alone: only that',
      { include: ['numpy', 'tool=1'] },
      ['linux-64/numpy-1.9-0', 'linux-64/numpy-2.0-0', 'noarch/tool-1-0'],
    ],
    [
      'exclude alone: all but that',
      { exclude: ['numpy'] },
      without('linux-64/numpy-1.9-0', 'linux-64/numpy-2.0-0'),
    ],
    [
      'both: all but what is excluded, and of that what is included',
      { exclude: ['numpy'], include: ['numpy=2'] },
      without('linux-64/numpy-1.9-0'),
    ],
    [
      'undistributable wins over include',
      { include: ['mkl', 'scipy'], undistributable: ['mkl'] },
      ['linux-64/scipy-1.0-0'],
    ],
    [
      'undistributable alone does not make include a must',
      { undistributable: ['mkl'] },
      without('linux-64/mkl-1-0'),
    ],
  ])('%s', async (_, input, wanted) => {
    expect(await wantedOf(records, input)).toEqual(wanted);
  });

  test('counts and examples say why the rest is left out', async () => {
    const { selections } = await select(records, {
      exclude: ['numpy', 'mkl'],
      include: ['numpy==2.0'],
      undistributable: ['mkl'],
    });
    const selection = selections.get('linux-64');
    expect(selection?.leftOut).toEqual(
      new Map([
        ['excluded', 1],
        ['undistributable', 1],
      ]),
    );
    expect(selection?.examples).toEqual(
      new Map([
        ['excluded', ['numpy-1.9-0.conda']],
        ['undistributable', ['mkl-1-0.conda']],
      ]),
    );
    expect(selection).toMatchObject({ wantedCount: 2, dependencyCount: 0, ripensAtMs: undefined, unmet: [] });
    expect(selections.get('noarch')).toMatchObject({ wantedCount: 2, leftOut: new Map() });
  });

  test('a file name that no record had is not wanted', async () => {
    const { selections } = await select(records, { exclude: ['numpy'] });
    expect(selections.get('noarch')?.wants('other-1-0.conda')).toBe(false);
  });

  test('of many only some are kept as examples', async () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`a-${n}-0`, {}]));
    const { selections } = await select({ noarch: many }, { exclude: ['a'] });
    expect(selections.get('noarch')?.leftOut.get('excluded')).toBe(50);
    expect(selections.get('noarch')?.examples.get('excluded')).toHaveLength(MAX_EXAMPLES);
  });
});

test('--max-size leaves out what is larger, not what does not tell', async () => {
  const records = { noarch: { 'a-1-0': { size: 1000 }, 'b-1-0': { size: 1001 }, 'c-1-0': {} } };
  expect(await wantedOf(records, { maxSize: '1kB' })).toEqual(['noarch/a-1-0', 'noarch/c-1-0']);
});

test('--since goes by when it was built, else by when it was indexed; without a date it is old', async () => {
  const records = {
    noarch: {
      'a-1-0': { timestamp: at('2024-05-01') },
      'b-1-0': { timestamp: at('2024-05-01') - 1, indexed_timestamp: at('2025-01-01') },
      'c-1-0': { indexed_timestamp: at('2024-06-01') },
      'd-1-0': {},
      // In seconds, as old records tell it.
      'e-1-0': { timestamp: at('2024-07-01') / 1000 },
    },
  };
  expect(await wantedOf(records, { since: '2024-05-01' })).toEqual([
    'noarch/a-1-0',
    'noarch/c-1-0',
    'noarch/e-1-0',
  ]);
});

describe('--latest', () => {
  test('takes the newest versions by the order of versions, with all their builds', async () => {
    const records = {
      'linux-64': {
        'a-1.10-0': {},
        'a-1.9-0': {},
        'a-1.10-mpi_100': { build_number: 100 },
        'a-1.2-0': {},
        'b-1.0-0': {},
        'b-1-1': {},
        'b-0.9-0': {},
        'b-1.0rc1-0': {},
      },
    };
    expect(await wantedOf(records, { latest: '1' })).toEqual([
      'linux-64/a-1.10-0',
      'linux-64/a-1.10-mpi_100',
      'linux-64/b-1-1',
      'linux-64/b-1.0-0',
    ]);
    const { selections } = await select(records, { latest: '2' });
    expect(selections.get('linux-64')?.examples.get('older-than-latest')).toEqual([
      'a-1.2-0.conda',
      'b-0.9-0.conda',
    ]);
  });

  test('counts in each subdir by itself, so that a platform that lags keeps something', async () => {
    const records = { 'linux-64': { 'a-2-0': {}, 'a-1-0': {} }, 'osx-64': { 'a-1-0': {} } };
    expect(await wantedOf(records, { latest: '1' })).toEqual(['linux-64/a-2-0', 'osx-64/a-1-0']);
  });

  test('counts only what is taken otherwise', async () => {
    const records = {
      noarch: {
        'a-3-0': { indexed_timestamp: NOW_MS - DAY_MS },
        'a-2-0': { indexed_timestamp: NOW_MS - 8 * DAY_MS },
        'a-1-0': { indexed_timestamp: NOW_MS - 9 * DAY_MS },
      },
    };
    expect(await wantedOf(records, { latest: '1', minAge: '7d' })).toEqual(['noarch/a-2-0']);
    expect(await wantedOf(records, { latest: '1', exclude: ['a=3', 'a=2'] })).toEqual(['noarch/a-1-0']);
  });

  test('--latest-per-variant counts for each Python', async () => {
    const py = (minor: number) => ({
      depends: [`python >=3.${minor},<3.${minor + 1}.0a0`, `python_abi 3.${minor}.* *_cp3${minor}`],
    });
    const records = {
      'linux-64': {
        'a-3-py312_0': py(12),
        'a-2-py312_0': py(12),
        'a-2-py311_0': py(11),
        'a-1-py311_0': py(11),
        'a-1-py310_0': py(10),
        'python-3.12.1-0_cpython': {},
        'python-3.11.9-0_cpython': {},
        'python-3.11.8-0_cpython': {},
      },
    };
    expect(await wantedOf(records, { latest: '1', latestPerVariant: true })).toEqual([
      'linux-64/a-1-py310_0',
      'linux-64/a-2-py311_0',
      'linux-64/a-3-py312_0',
      'linux-64/python-3.11.9-0_cpython',
      'linux-64/python-3.12.1-0_cpython',
    ]);
  });

  test('takes the same whatever the order of the records', async () => {
    const version = fc.tuple(fc.nat(3), fc.nat(12)).map(([major, minor]) => `${major}.${minor}`);
    const stem = fc.tuple(fc.constantFrom('a', 'b'), version, fc.nat(2)).map((parts) => parts.join('-'));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(stem, { maxLength: 30 }),
        fc.integer({ min: 1, max: 4 }),
        async (stems, count) => {
          const entries = stems.map((text) => [text, {}] as const);
          const order = (of: typeof entries): Promise<string[]> =>
            wantedOf({ noarch: Object.fromEntries(of) }, { latest: String(count) });
          const wanted = await order(entries);
          expect(await order(entries.toReversed())).toEqual(wanted);
          for (const name of ['a', 'b']) {
            const versionsOf = (of: readonly string[]): Set<number> =>
              new Set(
                of
                  .filter((text) => text.split('-')[0] === name)
                  .map((text) => rank(text.split('-')[1] ?? '')),
              );
            const newest = [...versionsOf(stems)].sort((x, y) => y - x).slice(0, count);
            expect(
              [...versionsOf(wanted.map((text) => text.slice('noarch/'.length)))].sort((x, y) => y - x),
            ).toEqual(newest);
          }
        },
      ),
    );
    function rank(text: string): number {
      const [major = 0, minor = 0] = text.split('.').map(Number);
      return major * 1000 + minor;
    }
  });
});

describe('--min-age', () => {
  const records = {
    noarch: {
      'old-1-0': { indexed_timestamp: NOW_MS - 7 * DAY_MS },
      'young-1-0': { indexed_timestamp: NOW_MS - 7 * DAY_MS + 1 },
      'future-1-0': { indexed_timestamp: NOW_MS + DAY_MS },
      'silent-1-0': {},
      'seen-1-0': {},
      'ripe-1-0': {},
    },
  };
  const seen: Record<string, number> = {
    'seen-1-0.conda': NOW_MS - 3 * DAY_MS,
    'ripe-1-0.conda': NOW_MS - 7 * DAY_MS,
    'old-1-0.conda': NOW_MS,
  };
  const firstSeen = (_: string, filename: string): number | undefined => seen[filename];

  test('goes by when the source says it was indexed, else by when it was first seen', async () => {
    expect(await wantedOf(records, { minAge: '7d' }, { firstSeen })).toEqual([
      'noarch/old-1-0',
      'noarch/ripe-1-0',
    ]);
  });

  test('has what does not tell its age wait, and says when the first ripens', async () => {
    const { selections } = await select(records, { minAge: '7d' }, { firstSeen });
    const selection = selections.get('noarch');
    expect(selection?.waiting).toEqual(
      new Map([
        ['silent-1-0.conda', NOW_MS],
        ['seen-1-0.conda', NOW_MS - 3 * DAY_MS],
      ]),
    );
    expect(selection?.ripensAtMs).toBe(NOW_MS + 1);
    expect(selection?.leftOut).toEqual(new Map([['too-young', 4]]));
  });

  test('run after run, what waits ripens in its time', async () => {
    let waiting: ReadonlyMap<string, number> = new Map();
    const only = { noarch: { 'silent-1-0': {} } };
    const wantedAt: boolean[] = [];
    for (let day = 0; day <= 7; day += 1) {
      const { selections } = await select(
        only,
        { minAge: '7d' },
        {
          nowMs: NOW_MS + day * DAY_MS,
          firstSeen: (_, filename) => waiting.get(filename),
        },
      );
      waiting = selections.get('noarch')?.waiting ?? new Map();
      wantedAt.push(selections.get('noarch')?.wants('silent-1-0.conda') === true);
    }
    expect(wantedAt).toEqual([false, false, false, false, false, false, false, true]);
    expect(waiting.size).toBe(0);
  });

  test('leaves what is published, unless it has other bytes by now', async () => {
    const sha256 = 'b'.repeat(64);
    const isPublished = (_: string, filename: string, identity: string | undefined): boolean =>
      filename === 'a-1-0.conda' && identity === `sha256:${sha256}`;
    const young = { indexed_timestamp: NOW_MS };
    const published = { noarch: { 'a-1-0': { ...young, sha256 } } };
    const replaced = { noarch: { 'a-1-0': { ...young, sha256: 'c'.repeat(64) } } };
    expect(await wantedOf(published, { minAge: '7d' }, { isPublished })).toEqual(['noarch/a-1-0']);
    expect(await wantedOf(replaced, { minAge: '7d' }, { isPublished })).toEqual([]);
  });

  test('does not hold for the exempt', async () => {
    expect(
      await wantedOf(records, { minAge: '7d', minAgeExempt: ['silent', 'young=1'] }, { firstSeen }),
    ).toEqual(['noarch/old-1-0', 'noarch/ripe-1-0', 'noarch/silent-1-0', 'noarch/young-1-0']);
  });

  test('has nothing wait that is not wanted anyway', async () => {
    const { selections } = await select(records, {
      minAge: '7d',
      exclude: ['silent', 'young', 'future', 'seen'],
    });
    expect(selections.get('noarch')).toMatchObject({ waiting: new Map([['ripe-1-0.conda', NOW_MS]]) });
  });
});

describe('--lock', () => {
  const sha = (digit: string): string => digit.repeat(64);
  const md5 = (digit: string): string => digit.repeat(32);
  const locked = (subdir: string, stem: string, hashes: { sha256?: string; md5?: string }) => ({
    subdir,
    filename: `${stem}.conda`,
    ...hashes,
    url: `https://conda.example.org/ch/${subdir}/${stem}.conda`,
  });
  const records = {
    'linux-64': {
      'a-1-0': { sha256: sha('1'), md5: md5('1') },
      'b-1-0': { sha256: sha('2'), md5: md5('2') },
      'c-1-0': { md5: md5('3') },
      'd-1-0': { sha256: sha('4') },
      'e-1-0': {},
    },
    noarch: { 'a-1-0': { sha256: sha('1') } },
  };
  const archives = [
    locked('linux-64', 'a-1-0', { sha256: sha('1') }),
    locked('linux-64', 'b-1-0', { sha256: sha('f'), md5: md5('2') }),
    locked('linux-64', 'c-1-0', { sha256: sha('3'), md5: md5('3') }),
    locked('linux-64', 'd-1-0', { md5: md5('4') }),
    locked('linux-64', 'e-1-0', {}),
    locked('linux-64', 'z-1-0', { sha256: sha('9') }),
    locked('osx-64', 'a-1-0', { sha256: sha('9') }),
  ];
  const lock = { archives, ignored: { pypi: 0, elsewhere: 0 } };

  test('takes exactly the locked archives with exactly their hashes', async () => {
    expect(await wantedOf(records, { lock })).toEqual(['linux-64/a-1-0', 'linux-64/c-1-0', 'linux-64/e-1-0']);
    const { selections } = await select(records, { lock });
    expect(selections.get('linux-64')).toMatchObject({
      lockMissing: [archives[5]],
      lockMismatches: [
        { locked: archives[1], found: `sha256:${sha('2')}` },
        { locked: archives[3], found: `sha256:${sha('4')}` },
      ],
      leftOut: new Map([['not-locked', 2]]),
    });
    expect(selections.get('noarch')).toMatchObject({ lockMissing: [], lockMismatches: [] });
  });

  test('with two hashes for one name takes either, and tells which one is not to be had', async () => {
    const other = locked('linux-64', 'a-1-0', { sha256: sha('7') });
    const { selections } = await select(records, { lock: { ...lock, archives: [archives[0]!, other] } });
    expect(selections.get('linux-64')?.wants('a-1-0.conda')).toBe(true);
    expect(selections.get('linux-64')?.lockMismatches).toEqual([
      { locked: other, found: `sha256:${sha('1')}` },
    ]);
  });

  test('what is locked and excluded is left out, and not missing', async () => {
    const { selections } = await select(records, { lock, exclude: ['a'] });
    expect(selections.get('linux-64')?.leftOut.get('excluded')).toBe(1);
    expect(selections.get('linux-64')?.lockMissing).toEqual([archives[5]]);
  });
});

test('an abort ends it with its own reason', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  async function* details() {
    yield makeDetails('noarch', 'a-1-0');
    controller.abort(reason);
    yield makeDetails('noarch', 'b-1-0');
  }
  const options = { nowMs: NOW_MS, firstSeen: () => undefined, signal: controller.signal };
  await expect(selectRecords([{ subdir: 'noarch', details }], parseFilters({}), options)).rejects.toBe(
    reason,
  );
});

test('each subdir is read once, whatever is filtered record by record', async () => {
  const input = { exclude: ['b'], latest: '1', since: '2000-01-01', minAge: '1h', maxSize: '1GB' };
  const { reads } = await select({ noarch: { 'a-1-0': {} }, 'linux-64': {} }, input);
  expect(reads).toEqual(
    new Map([
      ['noarch', 1],
      ['linux-64', 1],
    ]),
  );
});
