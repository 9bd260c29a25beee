import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FilterInput } from '#ferry/mirror/filters/filters.js';
import { DAY_MS, NOW_MS, select, wantedOf, type Records } from '../../support/records.js';

const on = (...depends: string[]) => ({ depends });
const closed = (...include: string[]): FilterInput => ({ include, withDependencies: true });

describe('--with-dependencies', () => {
  test('takes every record that meets a dependency, and what these depend on', async () => {
    const records: Records = {
      'linux-64': {
        'app-1-0': on('lib=1', 'data'),
        'lib-1.0-0': on('base==2'),
        'lib-1.1-0': {},
        'lib-2.0-0': on('other'),
        'base-2-0': {},
        'base-2-1': {},
        'base-3-0': {},
        'other-1-0': {},
        'data-1-0': on('app'),
      },
    };
    const { selections, reads } = await select(records, closed('app'));
    expect(await wantedOf(records, closed('app'))).toEqual(
      ['app-1-0', 'base-2-0', 'base-2-1', 'data-1-0', 'lib-1.0-0', 'lib-1.1-0'].map(
        (stem) => `linux-64/${stem}`,
      ),
    );
    expect(selections.get('linux-64')).toMatchObject({
      wantedCount: 6,
      dependencyCount: 5,
      leftOut: new Map([['not-included', 3]]),
      examples: new Map([['not-included', ['lib-2.0-0.conda', 'base-3-0.conda', 'other-1-0.conda']]]),
      unmet: [],
    });
    expect(reads.get('linux-64')).toBe(2);
  });

  test('spans a platform and noarch, and no other platform', async () => {
    const records: Records = {
      'linux-64': { 'app-1-0': on('tool'), 'lib-1-0': {}, 'ui-1-0': {} },
      'osx-64': { 'lib-1-0': {}, 'ui-1-0': {} },
      noarch: { 'tool-1-0': on('lib'), 'page-1-0': on('ui') },
    };
    expect(await wantedOf(records, closed('app'))).toEqual([
      'linux-64/app-1-0',
      'linux-64/lib-1-0',
      'noarch/tool-1-0',
    ]);
    // Nobody knows where a noarch package will be installed.
    expect(await wantedOf(records, closed('page'))).toEqual([
      'linux-64/ui-1-0',
      'noarch/page-1-0',
      'osx-64/ui-1-0',
    ]);
  });

  test('never takes what is excluded, undistributable, too large or too young', async () => {
    const records: Records = {
      noarch: {
        'app-1-0': { ...on('mkl', 'big', 'bad', 'new', 'fine'), indexed_timestamp: NOW_MS - 30 * DAY_MS },
        'mkl-1-0': { indexed_timestamp: 1e12 },
        'big-1-0': { size: 2000, indexed_timestamp: 1e12 },
        'bad-1-0': { indexed_timestamp: 1e12 },
        'new-1-0': { indexed_timestamp: NOW_MS - DAY_MS },
        'fine-1-0': { timestamp: 1, indexed_timestamp: 1e12 },
      },
    };
    const input = {
      since: '2025-01-01',
      exclude: ['bad'],
      undistributable: ['mkl'],
      maxSize: '1kB',
      minAge: '7d',
      withDependencies: true,
    };
    expect(await wantedOf(records, input)).toEqual(['noarch/app-1-0', 'noarch/fine-1-0']);
    const { selections } = await select(records, input);
    expect(selections.get('noarch')?.unmet.map(({ spec }) => spec)).toEqual(['bad', 'big', 'mkl', 'new']);
    expect(selections.get('noarch')?.ripensAtMs).toBe(NOW_MS + 6 * DAY_MS);
  });

  test('has a dependency wait that does not tell its age, and nothing that nobody needs', async () => {
    const old = { indexed_timestamp: 1e12 };
    const records = { noarch: { 'app-1-0': { ...on('lib'), ...old }, 'lib-1-0': {}, 'other-1-0': {} } };
    const { selections } = await select(records, { ...closed('app'), minAge: '7d' });
    expect(selections.get('noarch')?.waiting).toEqual(new Map([['lib-1-0.conda', NOW_MS]]));
  });

  test('with --latest takes the newest of the versions that meet a dependency', async () => {
    const records: Records = {
      'linux-64': {
        'app-2-0': on('lib=1'),
        'app-1-0': on('lib=2'),
        'lib-1.0-0': {},
        'lib-1.1-0': {},
        'lib-1.1-1': {},
        'lib-2.0-0': {},
      },
    };
    const input = { ...closed('app'), latest: '1' };
    expect(await wantedOf(records, input)).toEqual([
      'linux-64/app-2-0',
      'linux-64/lib-1.1-0',
      'linux-64/lib-1.1-1',
    ]);
    // What was asked for and is not among the newest comes back if something needs it.
    const { selections } = await select(records, { latest: '1', withDependencies: true });
    expect(selections.get('linux-64')).toMatchObject({
      wantedCount: 4,
      dependencyCount: 2,
      leftOut: new Map([['older-than-latest', 2]]),
    });
  });

  test('tells what nobody provides, by platform', async () => {
    const records: Records = {
      'linux-64': {
        'app-1-0': on('gone==2', 'lib'),
        'app-1-1': on('gone==2'),
        'gone-1-0': {},
        'lib-1-0': {},
      },
      'osx-64': { 'gone-2-0': {} },
      noarch: { 'app-2-0': on('lib') },
    };
    const { selections } = await select(records, closed('app'));
    expect(selections.get('linux-64')?.unmet).toEqual([
      { spec: 'gone==2', neededBy: 'app-1-0.conda', count: 2 },
    ]);
    expect(selections.get('osx-64')?.unmet).toEqual([{ spec: 'lib', neededBy: 'app-2-0.conda', count: 1 }]);
    expect(selections.get('noarch')?.unmet).toEqual([]);
  });

  test('virtual packages are no dependencies, and tell where a noarch package is installed', async () => {
    const records: Records = {
      'linux-64': { 'app-1-0': on('__glibc >=2.17', 'shell') },
      'win-64': { 'app-1-0': on('__win', 'shell') },
      noarch: {
        'shell-1-unix_0': on('__unix'),
        'shell-1-win_0': on('__win', 'winpty'),
        'winpty-1-0': {},
      },
    };
    const linux = { 'linux-64': records['linux-64'] ?? {}, noarch: records['noarch'] ?? {} };
    expect(await wantedOf(linux, closed('app'))).toEqual(['linux-64/app-1-0', 'noarch/shell-1-unix_0']);
    expect(await wantedOf(records, closed('app'))).toEqual([
      'linux-64/app-1-0',
      'noarch/shell-1-unix_0',
      'noarch/shell-1-win_0',
      'noarch/winpty-1-0',
      'win-64/app-1-0',
    ]);
  });

  test('noarch alone is closed over by itself', async () => {
    const records = { noarch: { 'app-1-0': on('tool', 'python'), 'tool-1-0': {} } };
    expect(await wantedOf(records, closed('app'))).toEqual(['noarch/app-1-0', 'noarch/tool-1-0']);
    const { selections } = await select(records, closed('app'));
    expect(selections.get('noarch')?.unmet).toMatchObject([{ spec: 'python' }]);
  });

  test('a dependency that cannot be read is taken for its name; without a name nobody meets it', async () => {
    const records = { noarch: { 'app-1-0': on('lib >>>1 <', '%'), 'lib-1-0': {} } };
    expect(await wantedOf(records, closed('app'))).toEqual(['noarch/app-1-0', 'noarch/lib-1-0']);
    const { selections } = await select(records, closed('app'));
    expect(selections.get('noarch')?.unmet).toMatchObject([{ spec: '%' }]);
  });

  test('constraints and groups of optional dependencies take nothing', async () => {
    const records = {
      noarch: {
        'app-1-0': { constrains: ['lib'], extra_depends: { web: ['lib'] } },
        'lib-1-0': {},
      },
    };
    expect(await wantedOf(records, closed('app'))).toEqual(['noarch/app-1-0']);
  });

  test('names are compared without regard to case', async () => {
    const records = { noarch: { 'app-1-0': on('PyYAML'), 'pyyaml-1-0': {} } };
    expect(await wantedOf(records, closed('App'))).toEqual(['noarch/app-1-0', 'noarch/pyyaml-1-0']);
  });

  test('what is taken is closed: each dependency is met or told', async () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const dependency = fc.tuple(name, fc.constantFrom('', '=1', '==2', '=3')).map((parts) => parts.join(''));
    const stem = fc
      .tuple(name, fc.constantFrom('1', '1.5', '2', '3'), fc.nat(1))
      .map((parts) => parts.join('-'));
    const subdir = fc.dictionary(
      stem,
      fc.array(dependency, { maxLength: 3 }).map((depends) => ({ depends })),
      {
        noNullPrototype: true,
      },
    );
    await fc.assert(
      fc.asyncProperty(
        subdir,
        subdir,
        fc.option(fc.constantFrom('1', '2')),
        async (linux, noarch, latest) => {
          const records: Records = { 'linux-64': linux, noarch };
          const input = { ...closed('a=1', 'b==2'), latest: latest ?? undefined };
          const wanted = await wantedOf(records, input);
          const { selections } = await select(records, input);
          const unmet = new Set(selections.get('linux-64')?.unmet.map(({ spec }) => spec));
          for (const path of wanted) {
            const [of = '', own = ''] = path.split('/');
            for (const text of (records[of]?.[own] as { depends: string[] }).depends) {
              const isMet = wanted.some((other) => meets(text, other.slice(other.indexOf('/') + 1)));
              expect(isMet, `${path} needs ${text}`).toBe(!unmet.has(text));
            }
          }
          // With everything in it already, nothing changes.
          const again = Object.fromEntries(
            Object.entries(records).map(([key, of]) => [
              key,
              Object.fromEntries(Object.entries(of).filter(([own]) => wanted.includes(`${key}/${own}`))),
            ]),
          );
          if (latest === null) expect(await wantedOf(again, input)).toEqual(wanted);
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** Tells whether an archive meets `name`, `name=1` or `name==2`, said in other words than the parser's. */
function meets(text: string, stem: string): boolean {
  const [name, version = ''] = stem.split('-');
  const [wanted, ...rest] = text.split('=');
  if (name !== wanted) return false;
  const asked = rest.at(-1) ?? '';
  if (rest.length === 0) return true;
  return rest.length === 2 ? version === asked : version === asked || version.startsWith(`${asked}.`);
}
