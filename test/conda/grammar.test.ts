import { performance } from 'node:perf_hooks';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  endsLikeSubdir,
  isBuildString,
  isChannelLabel,
  isChannelPathComponent,
  isPackageName,
  isVersion,
  isVirtualPackageName,
  versionFaults,
} from '#ferry/conda/grammar.js';

/** Texts over few characters, so that each rule is met often. */
const nearly = (alphabet: string, maxLength = 12): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...Array.from(alphabet)), { maxLength }).map((characters) => characters.join(''));

/** Says the same as the words of CEP 26, one character after the other. */
function isNameByWords(text: string): boolean {
  const separators = '._-';
  if (text.length === 0 || text.length > 64 || /[.-]/.test(text[0] ?? '')) return false;
  return Array.from(text).every(
    (character, index) =>
      /[a-z0-9._-]/.test(character) &&
      !(separators.includes(character) && separators.includes(text[index - 1] ?? 'x')),
  );
}

describe('cep26/name', () => {
  test.each(['zlib', '_libgcc_mutex', 'r-base', 'a', '_', 'foo_', 'repodata.json', '7zip', 'g'.repeat(64)])(
    'cep26/name: %s is one',
    (name) => {
      expect(isPackageName(name)).toBe(true);
    },
  );

  test.each([
    '',
    'Zlib',
    'a__b',
    'a._b',
    '-a',
    '.a',
    '__glibc',
    '_.a',
    '_-a',
    'a b',
    'é',
    'a\n',
    'g'.repeat(65),
  ])('cep26/name: %j is none', (name) => {
    expect(isPackageName(name)).toBe(false);
  });

  test('cep26/name: the pattern says what the words say', () => {
    fc.assert(
      fc.property(nearly('ab1_.-A', 8), (text) => {
        expect(isPackageName(text)).toBe(isNameByWords(text));
      }),
      { numRuns: 2000 },
    );
  });

  test('cep26/name: no name is taken that the pattern of CEP 26 refuses', () => {
    const official = /^(([a-z0-9])|([a-z0-9_](?!_)))[._-]?([a-z0-9]+(\.|-|_|$))*$/i;
    fc.assert(
      fc.property(nearly('ab1_.-', 8), (text) => {
        fc.pre(isPackageName(text));
        expect(official.test(text)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test('cep26/name: virtual names begin with two underscores', () => {
    expect(['__glibc', '__cuda', '__archspec_1'].every(isVirtualPackageName)).toBe(true);
    expect(['_glibc', '___a', '__', '__A', 'glibc', `__${'a'.repeat(63)}`].some(isVirtualPackageName)).toBe(
      false,
    );
    fc.assert(
      fc.property(nearly('a1_.-', 8), (text) => {
        expect(isPackageName(text) && isVirtualPackageName(text)).toBe(false);
      }),
    );
  });
});

describe('cep33/version', () => {
  test.each([
    '1.2.11',
    '1!2.0',
    '2.1+cuda12',
    '1!2.15.1_alpha+1.2.3h123',
    '1.0.1_',
    'h1.0',
    '2147483647',
    '00001!1',
  ])('cep33/version: %s has no fault', (version) => {
    expect(versionFaults(version)).toEqual([]);
  });

  test.each([
    ['', ['characters']],
    ['1~2', ['characters']],
    ['1.0-rc1', ['dash']],
    ['1.0RC1', ['case']],
    ['1..2', ['segment']],
    ['1._2', ['segment']],
    ['.1', ['segment']],
    ['1.0__', ['segment']],
    ['1!2!3', ['epoch']],
    ['0!1', ['epoch']],
    ['a!1', ['epoch']],
    ['!1', ['epoch']],
    ['1!', ['main']],
    ['1+', ['local']],
    ['1+a+b', ['local']],
    ['+a', ['main']],
    ['2147483648', ['number']],
    ['1.20231114221320', ['number']],
    ['1'.repeat(65), ['length']],
  ])('cep33/version: %j is at fault for %j', (version, faults) => {
    expect(versionFaults(version)).toEqual(faults);
  });

  test('cep33/version: what is only advised against is still a version', () => {
    expect(['1.0-rc1', '1.0RC1', '1..2'].every(isVersion)).toBe(true);
    expect(['', '1!2!3', '1+', '1~2', '2147483648'].some(isVersion)).toBe(false);
  });

  test('cep33/version: what is put together from its parts has no fault', () => {
    const segment = nearly('abz0129', 5).filter((text) => text !== '');
    const part = fc
      .tuple(segment, fc.array(fc.tuple(fc.constantFrom('.', '_'), segment), { maxLength: 3 }))
      .map(([first, rest]) => first + rest.flat().join(''));
    const version = fc
      .tuple(fc.constantFrom('', '1!', '20!'), part, fc.option(part))
      .map(([epoch, main, local]) => `${epoch}${main}${local === null ? '' : `+${local}`}`);
    fc.assert(
      fc.property(version, (text) => {
        expect(versionFaults(text)).toEqual([]);
      }),
    );
  });
});

describe('cep26: other names', () => {
  test('cep26/build', () => {
    expect(['0', 'h4ab18f5_1', 'PY3.0+a', 'b'.repeat(64)].every(isBuildString)).toBe(true);
    expect(['', 'a-b', 'a b', 'a\n', 'b'.repeat(65)].some(isBuildString)).toBe(false);
  });

  test('cep26/label', () => {
    expect(['dev', 'broken/old', 'A-1._', 'a'.repeat(128)].every(isChannelLabel)).toBe(true);
    expect(['', '1a', '/a', 'a b', 'a:b', 'a'.repeat(129)].some(isChannelLabel)).toBe(false);
  });

  test('cep26/channel', () => {
    expect(['conda-forge', '_a', 'a.', 'a'.repeat(128)].every(isChannelPathComponent)).toBe(true);
    expect(['', '.a', '-a', 'A', 'a/b', '~a', 'a'.repeat(129)].some(isChannelPathComponent)).toBe(false);
  });

  test('cep26/channel-subdir: the last component counts', () => {
    expect(['noarch', 'a/linux-64'].every(endsLikeSubdir)).toBe(true);
    expect(['a', 'noarch/a', 'conda-forge', ''].some(endsLikeSubdir)).toBe(false);
  });
});

test('cep26: names of a million characters cost no time', () => {
  const texts = ['a', '_', 'a_', 'a.', '1', '1.', '1!', '+', '__a', 'a/'].flatMap((unit) =>
    ['', '!', '\n'].map((end) => unit.repeat(1_000_000 / unit.length) + end),
  );
  const start = performance.now();
  for (const text of texts) {
    for (const judge of [
      isPackageName,
      isVirtualPackageName,
      isVersion,
      isBuildString,
      isChannelLabel,
      isChannelPathComponent,
      endsLikeSubdir,
    ])
      expect(judge(text)).toBe(false);
  }
  // Far more than linear work takes, far less than anything else.
  expect(performance.now() - start).toBeLessThan(5000);
});

test('cep26: the worst names of the longest length cost no time', () => {
  const start = performance.now();
  for (const unit of ['a', 'a_', '_a', '1.', '1_', 'a1']) {
    const text = `${unit.repeat(31)}!!`;
    for (let round = 0; round < 10_000; round++) {
      isPackageName(text);
      isVirtualPackageName(`__${text.slice(0, 62)}`);
      isVersion(text);
    }
  }
  expect(performance.now() - start).toBeLessThan(5000);
});
