import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matchesRecord, parseMatchSpec } from '#ferry/conda/match-spec.js';

const zlib = { name: 'zlib', version: '1.2.11', build: 'h7b6447c_3' };

describe('a match spec', () => {
  test.each([
    ['zlib', zlib, true],
    ['ZLIB', zlib, true],
    ['zlib', { ...zlib, name: 'ZLib' }, true],
    ['zlib', { ...zlib, name: 'zlib-ng' }, false],
    ['zlib=1.2', zlib, true],
    ['zlib=1.2', { ...zlib, version: '1.2' }, true],
    ['zlib=1.2', { ...zlib, version: '1.20' }, false],
    ['zlib=1.2.*', zlib, true],
    ['zlib=1.2.*', { ...zlib, version: '1.2' }, true],
    ['zlib=1.2.*', { ...zlib, version: '1.20' }, false],
    ['zlib=1.2*', { ...zlib, version: '1.20' }, true],
    ['zlib==1.2.11', zlib, true],
    ['zlib==1.2', zlib, false],
    ['zlib=1.2.11=h7b6447c_3', zlib, true],
    ['zlib=1.2=h7b6447c_3', zlib, false],
    ['zlib=1.2.*=h7b6447c_3', zlib, true],
    ['zlib=1.2.11=*_3', zlib, true],
    ['zlib=*=h7b*', zlib, true],
    ['zlib=1.2.11=*_4', zlib, false],
    ['zlib=1.2.11=h7b6447c', zlib, false],
    ['zlib=1.2.11=h7b6447c.3', zlib, false],
    ['ferry-lib=1!2.0', { ...zlib, name: 'ferry-lib', version: '1!2.0' }, true],
    ['ferry-data==1.0+abc', { ...zlib, name: 'ferry-data', version: '1.0+abc' }, true],
    ['_libgcc_mutex', { ...zlib, name: '_libgcc_mutex' }, true],
  ])('cep29: %s against %j is %s', (text, record, expected) => {
    expect(matchesRecord(parseMatchSpec(text), record)).toBe(expected);
  });

  test.each([
    '',
    ' zlib',
    'zlib ',
    'zlib >=1',
    'zlib>=1',
    'zlib=',
    'zlib=1=',
    'zlib=1=2=3',
    'zlib[version=1]',
    '*',
    'conda-forge::zlib',
    'zlib\n',
    '-zlib',
    'zlib=1|2',
    'zlib=1,2',
  ])('cep29: %j is not understood, and said so', (text) => {
    expect(() => parseMatchSpec(text)).toThrow(
      expect.objectContaining({ code: 'MATCH_SPEC_INVALID' }) as Error,
    );
  });

  test('cep29: the exact spec of a record matches that record and no other', () => {
    const part = (alphabet: string) =>
      fc
        .array(fc.constantFrom(...Array.from(alphabet)), { minLength: 1, maxLength: 12 })
        .map((characters) => characters.join(''));
    const record = fc.record({ name: part('ab'), version: part('01.+!_'), build: part('h0_.+') });
    fc.assert(
      fc.property(record, record, (a, b) => {
        const spec = parseMatchSpec(`${a.name}=${a.version}=${a.build}`);
        expect(matchesRecord(spec, a)).toBe(true);
        const isSame = a.name === b.name && a.version === b.version && a.build === b.build;
        expect(matchesRecord(spec, b)).toBe(isSame);
      }),
    );
  });
});
