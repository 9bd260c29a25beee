import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRepodataRecord } from '#ferry/conda/package-record.js';
import { parseRecordDetails } from '../../support/records.js';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { isFerryError } from '#ferry/errors.js';
import { inPieces } from './pieces.js';

/** Text of a value in which some characters are written as escapes, and some numbers with a fraction or an exponent. */
function spell(value: unknown, spelling: string): string {
  const text = JSON.stringify(value);
  if (spelling === 'escaped') {
    const escape = (c: string): string => `\\u00${c.charCodeAt(0).toString(16)}`;
    return text.replace(/"[^"\\]*"/g, (string) => string.replace(/[ae]/g, escape));
  }
  if (spelling === 'float' && typeof value === 'number' && Number.isSafeInteger(value)) return `${text}.0e0`;
  return text;
}

const hex = (length: number): fc.Arbitrary<string> =>
  fc.string({
    unit: fc.constantFrom(...'0123456789abcdefABCDEF'.split(/(?:)/)),
    minLength: length,
    maxLength: length,
  });
const odd: fc.Arbitrary<unknown> = fc.constantFrom<unknown[]>(
  null,
  5,
  -1,
  1.5,
  '',
  'x',
  [],
  {},
  true,
  'é',
  1e300,
);
const rarely = <T>(usual: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 12, arbitrary: usual }, { weight: 1, arbitrary: odd });
const spelling = fc.oneof(
  { weight: 8, arbitrary: fc.constant('plain') },
  { weight: 1, arbitrary: fc.constantFrom('escaped', 'float') },
);
const name = fc.constantFrom('a', 'zlib', 'r-base', '_x', 'A.b', '-x', 'é', 'x y');
const version = fc.constantFrom('1', '1.2.11', '1!2', '1-2', '');
const build = fc.constantFrom('0', 'h1_0', 'py+x', 'b-d');
const extension = fc.constantFrom('conda', 'tar.bz2');
const member = fc.oneof(
  fc.tuple(fc.constant('sha256'), rarely(hex(64))),
  fc.tuple(fc.constant('md5'), rarely(hex(32))),
  fc.tuple(fc.constant('size'), rarely(fc.oneof(fc.nat(), fc.maxSafeNat()))),
  fc.tuple(fc.constant('subdir'), rarely(fc.constantFrom('linux-64', 'noarch'))),
  fc.tuple(fc.constant('url'), rarely(fc.constantFrom('a/b.conda', 'https://example.org/x'))),
  fc.tuple(fc.constant('depends'), rarely(fc.array(fc.string()))),
  fc.tuple(fc.constant('timestamp'), rarely(fc.nat())),
  fc.tuple(fc.constant('indexed_timestamp'), rarely(fc.nat())),
  fc.tuple(fc.constant('attestations_sha256'), rarely(hex(64))),
  fc.tuple(fc.constantFrom('name', 'version', 'build', 'sizes', 'x'), odd),
);
const record = fc.record({
  key: fc.record({ name, version, build, extension }),
  // Mostly what the key says.
  told: fc.record({ name: rarely(fc.constant(undefined)), version: rarely(fc.constant(undefined)) }),
  members: fc.array(fc.tuple(member, spelling), { maxLength: 8 }),
  isListedRight: fc.boolean(),
});
const SECTIONS = { conda: 'packages.conda', 'tar.bz2': 'packages' } as const;

test('every record is read, or refused with the same words, as parseRepodataRecord does with JSON.parse', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(record, { selector: ({ key }) => Object.values(key).join('\n'), maxLength: 8 }),
      fc.constantFrom('', ' ', '\n  '),
      fc.integer({ min: 1, max: 100 }),
      fc.constantFrom('classic', 'revision'),
      async (records, space, pieceBytes, kind) => {
        const texts: Record<string, string[]> = { 'packages.conda': [], packages: [] };
        const expected = new Map<string, { value: unknown; isInPlace: boolean }>();
        for (const { key, told, members, isListedRight } of records) {
          const stem = `${key.name}-${key.version}-${key.build}`;
          const filename = `${stem}.${key.extension}`;
          const fields: (readonly [readonly [string, unknown], string])[] = [
            [['name', told.name ?? key.name], 'plain'],
            [['version', told.version ?? key.version], 'plain'],
            [['build', key.build], 'plain'],
            ...members,
          ];
          const body = fields.map(
            ([[field, value], spelled]) =>
              `${spell(field, spelled === 'escaped' ? spelled : 'plain')}${space}:${space}${spell(value, spelled)}${space}`,
          );
          const text = `{${space}${body.join(`,${space}`)}}`;
          const isInPlace = kind === 'revision' || isListedRight;
          const other = key.extension === 'conda' ? 'tar.bz2' : 'conda';
          const section = SECTIONS[isInPlace ? key.extension : other];
          texts[section]?.push(`"${kind === 'revision' ? stem : filename}":${space}${text}`);
          expected.set(filename, { value: JSON.parse(text), isInPlace });
        }
        const list = (section: string): string => `{${space}${texts[section]?.join(`${space},`) ?? ''}}`;
        const document =
          kind === 'classic'
            ? `{"packages":${list('packages')},"packages.conda":${list('packages.conda')}}`
            : `{"v3":{"tar.bz2":${list('packages')},"conda":${list('packages.conda')}}}`;
        const read = await Repodata.read(inPieces(Buffer.from(document), pieceBytes), 'linux-64');
        expect(read.recordCount).toBe(expected.size);
        const attested: unknown[] = [];
        const valid: string[] = [];
        for (const [filename, { value, isInPlace }] of expected) {
          const found = read.get(filename);
          let wanted: unknown;
          try {
            const parsed = parseRepodataRecord(filename, value, 'linux-64');
            wanted = isInPlace ? { filename, record: parsed } : { filename };
            if (isInPlace) valid.push(filename);
            if (isInPlace)
              expect(read.identity(filename)?.slice(-32)).toBe((parsed.sha256 ?? parsed.md5)?.slice(-32));
            const { attestations_sha256: sha256 } = value as Record<string, unknown>;
            if (typeof sha256 === 'string') attested.push({ filename, sha256 });
          } catch (error) {
            if (!isFerryError(error)) throw error;
            wanted = { filename, error: { code: error.code, message: error.message } };
          }
          expect(found).toMatchObject(wanted as object);
          if (!isInPlace) expect(found).toHaveProperty('error');
        }
        expect([...read.attestations()]).toHaveLength(attested.length);
        expect([...read.attestations()]).toEqual(expect.arrayContaining(attested));
        const grouped = [...read.packages()].flatMap(({ records }) =>
          records.map(({ filename }) => filename),
        );
        expect(grouped.toSorted()).toEqual(valid.toSorted());
        expect([...read.invalid()]).toHaveLength(expected.size - valid.length);
        for await (const details of read.details()) {
          const { value } = expected.get(details.filename)!;
          expect(details).toEqual(parseRecordDetails(details.filename, value, 'linux-64'));
          valid.splice(valid.indexOf(details.filename), 1);
        }
        expect(valid).toEqual([]);
      },
    ),
    { numRuns: 300 },
  );
});

test('packages come in order of name, then of file name, those of one name together', async () => {
  const text = (filename: string): string => {
    const [, name, version, build] = /^(.*)-(.*)-(.*?)\.(?:conda|tar)/.exec(filename) ?? [];
    return `"${filename}":${JSON.stringify({ name, version, build })}`;
  };
  const conda = ['b-a-1-0.conda', 'b-2-0.conda', 'a.x-1-0.conda', 'b-10-0.conda', 'a-1-0.conda'];
  const json = `{"packages":{${text('b-10-0.tar.bz2')}},"packages.conda":{${conda.map(text).join(',')},"x":{}}}`;
  const read = await Repodata.read(inPieces(Buffer.from(json), 10), 'noarch');
  expect(
    [...read.packages()].map(({ name, records }) => [name, records.map(({ filename }) => filename)]),
  ).toEqual([
    ['a', ['a-1-0.conda']],
    ['a.x', ['a.x-1-0.conda']],
    ['b', ['b-10-0.conda', 'b-10-0.tar.bz2', 'b-2-0.conda']],
    ['b-a', ['b-a-1-0.conda']],
  ]);
  expect([...read.invalid()]).toMatchObject([{ filename: 'x', error: { code: 'RECORD_INVALID' } }]);
});
