import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatArchiveFilename, isSubdir, KNOWN_SUBDIRS, parseArchiveFilename } from '#ferry/conda/names.js';
import { ParseError } from '#ferry/errors.js';

const text = (alphabet: string, maxLength: number) =>
  fc
    .array(fc.constantFrom(...Array.from(alphabet)), { minLength: 1, maxLength })
    .map((characters) => characters.join(''));
const LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';
const archiveName = fc.record({
  // A dash in front would leave no name before it.
  name: fc.tuple(text(`${LETTERS}_A`, 1), text(`${LETTERS}_.-`, 40)).map((parts) => parts.join('')),
  version: text(`${LETTERS}._+!~`, 40),
  build: text(`${LETTERS}_.+AZ`, 40),
  extension: fc.constantFrom('conda' as const, 'tar.bz2' as const),
});

function refusal(filename: string): unknown {
  try {
    return parseArchiveFilename(filename);
  } catch (error) {
    return error;
  }
}

describe('names of archives', () => {
  test('cep26: what is formatted parses to the same', () => {
    fc.assert(
      fc.property(archiveName, (archive) => {
        expect(parseArchiveFilename(formatArchiveFilename(archive))).toEqual(archive);
      }),
    );
  });

  test('cep26: what parses formats to the same text, and anything else is RECORD_INVALID', () => {
    const nearly = fc.oneof(
      fc.string({ unit: 'binary' }),
      text('ab1-._+!~/\\ \n\0é', 24).map((stem) => `${stem}.conda`),
      text('a1-.', 12).map((stem) => `${stem}.tar.bz2`),
    );
    fc.assert(
      fc.property(nearly, (filename) => {
        const result = refusal(filename);
        if (result instanceof Error)
          expect(result).toMatchObject({ name: 'ParseError', code: 'RECORD_INVALID' });
        else
          expect(formatArchiveFilename(result as Parameters<typeof formatArchiveFilename>[0])).toBe(filename);
      }),
      { numRuns: 500 },
    );
  });

  test('cep26: version and build string are cut from the end, so dashes belong to the name', () => {
    expect(parseArchiveFilename('ca-certificates-2024.2.2-hbcca054_0.tar.bz2')).toEqual({
      name: 'ca-certificates',
      version: '2024.2.2',
      build: 'hbcca054_0',
      extension: 'tar.bz2',
    });
  });

  test.each([
    '',
    '.conda',
    '.tar.bz2',
    '-.conda',
    '--.conda',
    'a-1.conda',
    'a--0.conda',
    'a-1-.conda',
    '-1-0.conda',
    '.-1-0.conda',
    '..-1-0.conda',
    '../a-1-0.conda',
    'a/b-1-0.conda',
    'a\\b-1-0.conda',
    'C:a-1-0.conda',
    'a-1-0.CONDA',
    'a-1-0.whl',
    'a-1-0.conda.sigs',
    'a-1-0.conda\n',
    'a\n-1-0.conda',
    'a\0-1-0.conda',
    'a-1%2f..-0.conda',
    'a-1=2-0.conda',
    'a-1-0!0.conda',
    '\u212a-1-0.conda',
    '\u017f-1-0.conda',
    'é-1-0.conda',
    '__proto__',
  ])('cep26: %j is refused', (filename) => {
    expect(refusal(filename)).toBeInstanceOf(ParseError);
    expect(refusal(filename)).toMatchObject({ code: 'RECORD_INVALID' });
  });

  test('cep26: a file name has at most 211 characters', () => {
    const longest = `${'a'.repeat(211 - '-1-0.conda'.length)}-1-0.conda`;
    expect(parseArchiveFilename(longest).name).toHaveLength(201);
    expect(refusal(`a${longest}`)).toMatchObject({ code: 'RECORD_INVALID' });
  });

  test.each([`${'x'.repeat(1_000_000)}.zip`, `a\u001b[2J\n-1-0.conda`, `a-${'\n'.repeat(100)}-0.conda`])(
    'a refusal is one short line, whatever the name',
    (filename) => {
      const { message } = refusal(filename) as Error;
      expect(message.length).toBeLessThan(400);
      expect(message).not.toMatch(/\p{Cc}/u);
    },
  );
});

describe('names of subdirs', () => {
  test.each(KNOWN_SUBDIRS)('cep26: %s is one', (subdir) => {
    expect(isSubdir(subdir)).toBe(true);
  });

  test.each([
    '',
    'linux',
    'Linux-64',
    'linux-64-x',
    'linux_64',
    '..',
    'linux-64/..',
    'linux-64\n',
    'noarch/',
    `a-${'b'.repeat(31)}`,
  ])('cep26: %j is none', (subdir) => {
    expect(isSubdir(subdir)).toBe(false);
  });
});
