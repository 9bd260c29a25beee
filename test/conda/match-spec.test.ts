import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatMatchSpec } from '#ferry/conda/match-spec/format-match-spec.js';
import { parseMatchSpec } from '#ferry/conda/match-spec/match-spec.js';
import { matchesRecord } from '#ferry/conda/match-spec/matches-record.js';
import { formatArchiveFilename } from '#ferry/conda/names.js';
import { parseRecordDetails } from '../support/records.js';
import type { FerryErrorCode, ParseError } from '#ferry/errors.js';
import { ROOT } from '../support/ferry.js';

type TableRecord = Readonly<Record<string, unknown>> & {
  readonly name: string;
  readonly version: string;
  readonly build: string;
};

/** What rattler says of specs and records; `test/interop/match-spec.test.ts` asks it about many more. */
const table = JSON.parse(readFileSync(join(ROOT, 'test', 'conda', 'match-spec.table.json'), 'utf8')) as {
  readonly records: Readonly<Record<string, TableRecord>>;
  readonly rows: readonly (readonly [spec: string, record: string, answer: boolean | 'invalid'])[];
};

const invalid = (fields: object = {}): Error =>
  expect.objectContaining({ code: 'MATCH_SPEC_INVALID' satisfies FerryErrorCode, ...fields }) as Error;

function matches(text: string, record: Parameters<typeof matchesRecord>[1]): boolean {
  return matchesRecord(parseMatchSpec(text), record);
}

const zlib = { name: 'zlib', version: '1.2.11', build: 'h7b6447c_3' };

describe('a match spec', () => {
  test.each(table.rows)('cep29: %j and %s: %j, as with rattler', (text, name, answer) => {
    const record = table.records[name];
    if (record === undefined) throw new Error(`the table has no record ${name}`);
    const filename = formatArchiveFilename({ ...record, extension: 'conda' });
    const details = parseRecordDetails(filename, record, 'linux-64');
    if (answer === 'invalid') expect(() => parseMatchSpec(text)).toThrow(invalid());
    else expect(matches(text, details)).toBe(answer);
  });

  test.each([
    ['zlib', { ...zlib, name: 'ZLib' }, true],
    ['zlib', { ...zlib, name: 'zlib-ng' }, false],
    ['Z*', zlib, true],
    ['^Z[A-L]IB$', zlib, true],
    ['zlib=1.2', { ...zlib, version: '1.2' }, true],
    ['zlib=1.2', { ...zlib, version: '1.20' }, false],
    ['zlib=1.2.*', { ...zlib, version: '1.2' }, true],
    ['zlib=1.2*', { ...zlib, version: '1.20' }, false],
    ['zlib=1.2=h7b6447c_3', zlib, false],
    ['zlib=1.2.11=h7b6447c.3', zlib, false],
    ['ferry-lib=1!2.0', { ...zlib, name: 'ferry-lib', version: '1!2.0' }, true],
    ['ferry-data==1.0+abc', { ...zlib, name: 'ferry-data', version: '1.0+abc' }, true],
    ['_libgcc_mutex', { ...zlib, name: '_libgcc_mutex' }, true],
    ['zlib *', { ...zlib, version: 'no version at all' }, true],
    ['zlib >=0', { ...zlib, version: 'no version at all' }, false],
  ])('cep29: %s against %j is %s', (text, record, answer) => {
    expect(matches(text, record)).toBe(answer);
  });

  const placed = { ...zlib, filename: 'zlib-1.2.11-h7b6447c_3.conda', listedIn: 'linux-64' };
  test.each([
    ['zlib[subdir=linux-64]', true],
    ['zlib[subdir=linux-*]', true],
    ['zlib[subdir="^(?:linux|osx)-64$"]', true],
    ['zlib[subdir=noarch]', false],
    ['conda-forge/linux-64::zlib', true],
    ['conda-forge/noarch::zlib', false],
    ['conda-forge/noarch::zlib[subdir=linux-64]', true],
    ['conda-forge[linux-64,noarch]::zlib', true],
    ['conda-forge[noarch]::zlib', false],
    ['*[channel="conda-forge/osx-64"]', false],
    ['zlib[fn=zlib-1.2.11-h7b6447c_3.conda]', true],
    ['zlib[fn="zlib-*.tar.bz2"]', false],
    ['https://repo.example.org/main/linux-64/zlib-1.2.11-h7b6447c_3.conda', true],
    ['https://repo.example.org/main/noarch/zlib-1.2.11-h7b6447c_3.conda', false],
    ['/mnt/channel/zlib-1.2.11-h7b6447c_3.conda', true],
    ['zlib[url="https://repo.example.org/zlib-1.2.11-h7b6447c_3.tar.bz2"]', false],
  ])('cep29: %s asks where an archive is: %s', (text, answer) => {
    expect(matches(text, placed)).toBe(answer);
  });

  test.each(['build_number=0', 'license=MIT', 'md5=' + '0'.repeat(32), 'subdir=noarch', 'flags=[a]', 'fn=*'])(
    'a record that does not say does not match what asks for %s',
    (field) => {
      expect(matches(`*[${field}]`, zlib)).toBe(false);
    },
  );

  test.each([
    ['zlib[versoin=1]', 5, 'versoin'],
    ['conda-forge::zlib >=1,<x..', 22, '<x..'],
    ['zlib[build_number="x"]', 19, 'x'],
    ['zlib[build="^(?=a)$"]', 12, '^(?=a)$'],
    ['zlib * a**', 7, 'a**'],
    ['conda-forge[plan-9]::zlib', 12, 'plan-9]'],
    ['r@base', 0, 'r@base'],
  ])('%j is refused at character %i', (text, position, input) => {
    expect(() => parseMatchSpec(text)).toThrow(invalid({ position, input } satisfies Partial<ParseError>));
  });

  test.each([
    'a'.repeat(2049),
    `* ${'('.repeat(1000)}1${')'.repeat(1000)}`,
    `*[when="${'('.repeat(500)}a${')'.repeat(500)}"]`,
    `^${'('.repeat(200)}a${')'.repeat(200)}$`,
    '^(?:a{1000}){1000}$',
    '^(?:(?:(?:){1000}){1000}){1000}$',
    '^(a)\\1$',
    '^(?<!a)b$',
    '^a++$',
    '^\\p{L}$',
    '^[a&&b]$',
  ])('%.40j asks for too much', (text) => {
    expect(() => parseMatchSpec(text)).toThrow(invalid());
  });

  test('expressions that take other engines years take none here', () => {
    const build = `${'a'.repeat(5000)}!`;
    for (const pattern of [
      '^(a+)+$',
      '^(a|a)*$',
      '^(a|aa)+$',
      '^(.*a){20}$',
      '*a*a*a*a*a*a*a*a*b',
      '*[a]*?*a*a*a*b',
    ])
      expect(matches(`*[build="${pattern}"]`, { ...zlib, build })).toBe(false);
  });

  test('cep29: the exact spec of a record matches that record, and others only if their versions are equal', () => {
    const part = (alphabet: string) =>
      fc
        .array(fc.constantFrom(...Array.from(alphabet)), { minLength: 1, maxLength: 8 })
        .map((characters) => characters.join(''));
    const version = fc.array(fc.nat(12), { minLength: 1, maxLength: 4 }).map((numbers) => numbers.join('.'));
    const record = fc.record({ name: part('ab'), version, build: part('h0_.+') });
    fc.assert(
      fc.property(record, record, (a, b) => {
        const text = `${a.name}=${a.version}=${a.build}`;
        expect(matches(text, a)).toBe(true);
        const stem = (text: string) => text.replace(/(?:\.0)+$/, '');
        const isSame = a.name === b.name && a.build === b.build && stem(a.version) === stem(b.version);
        expect(matches(text, b)).toBe(isSame);
      }),
    );
  });

  test('no text makes the parser fail in any other way than it says', () => {
    const piece = fc.constantFrom(
      ...Array.from('ab1.*=<>!~|,()[]\'"^$\\{}?+-_ #;:/'),
      ...['[version=', '[build="', 'when=', ' and ', '::', '>=1', 'https://', '(?', '[^', '"]'],
    );
    const text = fc.array(piece, { maxLength: 25 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(text, (input) => {
        try {
          parseMatchSpec(input);
        } catch (error) {
          expect(error).toEqual(invalid());
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('a match spec in its canonical form', () => {
  test.each([
    ['zlib', 'zlib'],
    ['ZLIB 1.2', 'zlib[version="==1.2"]'],
    [
      'conda-forge/linux-64::zlib=1.2=h*',
      'zlib[version="==1.2",build="h*",channel="conda-forge",subdir="linux-64"]',
    ],
    ['a (1|2),<3', 'a[version="(==1|==2),<3"]'],
    ['a[when="x>=1 and (y or z[build=b])"]', 'a[when="x>=1 and (y or z[build=\\"b\\"])"]'],
    ['a[when="x and y or z"]', 'a[when="x and y or z"]'],
    ['a[license=\'say "x"\']', 'a[license=\'say "x"\']'],
    ['https://u:p@x.org/t/tk-1/c::a', 'a[channel="https://x.org/c/"]'],
    ['https://conda.anaconda.org/conda-forge::a', 'a[channel="conda-forge"]'],
    ['a[track_features="p,q",build_number=3]', 'a[build_number="==3",track_features="p q"]'],
  ])('%j is %j', (text, canonical) => {
    expect(formatMatchSpec(parseMatchSpec(text))).toBe(canonical);
  });

  test('reads as what it was made of', () => {
    const record = fc.record({
      name: fc.constantFrom('a', 'b'),
      version: fc.constantFrom('1', '1.2', '2.0'),
      build: fc.constantFrom('x', 'y_1'),
    });
    const version = fc.constantFrom('', '=1', '==1.2', ' >=1,<2|2.*', ' !=1.2.*', ' (1|2.0),!=3');
    const fields = fc.subarray([
      'build=x*',
      'build="^y_\\d$"',
      'license=MIT',
      'flags=[a,b:*]',
      'when="x or y>1"',
      'channel=c/noarch',
    ]);
    fc.assert(
      fc.property(
        fc.constantFrom('a', 'B*', '^[ab]$'),
        version,
        fields,
        record,
        (name, condition, list, actual) => {
          const spec = parseMatchSpec(`${name}${condition}[${list.join(',')}]`);
          const text = formatMatchSpec(spec);
          expect(formatMatchSpec(parseMatchSpec(text))).toBe(text);
          expect(matches(text, actual)).toBe(matchesRecord(spec, actual));
        },
      ),
    );
  });

  test('is refused for what no text says', () => {
    const spec = { ...parseMatchSpec('a'), license: `it's "x"` };
    expect(() => formatMatchSpec(spec)).toThrow(invalid());
    expect(() => formatMatchSpec(parseMatchSpec('ns:/a*'))).toThrow(invalid());
  });
});
