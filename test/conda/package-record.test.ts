import { describe, expect, test } from 'vitest';
import { archiveIdentity, parseRepodataRecord } from '#ferry/conda/package-record.js';

const SHA256 = 'ab'.repeat(32);
const MD5 = 'cd'.repeat(16);
const zlib = { name: 'zlib', version: '1.2.11', build: 'h7b6447c_3' };
const FILENAME = 'zlib-1.2.11-h7b6447c_3.conda';

function refusal(filename: string, value: unknown): unknown {
  try {
    return parseRepodataRecord(filename, value, 'linux-64');
  } catch (error) {
    return error;
  }
}

describe('a record of repodata', () => {
  test('cep36: is read with its place; hex digits come in lower case', () => {
    const value = {
      ...zlib,
      sha256: SHA256.toUpperCase(),
      md5: MD5.toUpperCase(),
      size: 7,
      subdir: 'linux-64',
      url: '../a',
    };
    expect(parseRepodataRecord(FILENAME, { ...value, depends: [], build_number: 3 }, 'linux-64')).toEqual({
      filename: FILENAME,
      extension: 'conda',
      listedIn: 'linux-64',
      ...zlib,
      sha256: SHA256,
      md5: MD5,
      size: 7,
      subdir: 'linux-64',
      url: '../a',
    });
  });

  test('cep36: `null` means the same as an absent field', () => {
    const value = { ...zlib, sha256: null, md5: null, size: null, subdir: null, url: null };
    expect(parseRepodataRecord(FILENAME, value, 'linux-64')).toEqual(
      parseRepodataRecord(FILENAME, zlib, 'linux-64'),
    );
  });

  test('cep36: its subdir may be missing or another; where it is listed stays known', () => {
    expect(parseRepodataRecord(FILENAME, { ...zlib, subdir: 'noarch' }, 'linux-64')).toMatchObject({
      subdir: 'noarch',
      listedIn: 'linux-64',
    });
  });

  test.each([
    ['name', { ...zlib, name: 'zlib-ng' }],
    ['version', { ...zlib, version: '1.2.12' }],
    ['build', { ...zlib, build: '0' }],
    ['case of the name', { ...zlib, name: 'Zlib' }],
  ])('cep36: one whose %s disagrees with its key is refused', (_, value) => {
    expect(refusal(FILENAME, value)).toMatchObject({ code: 'RECORD_INVALID' });
  });

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a list', [zlib]],
    ['text', 'zlib'],
    ['no name', { version: '1.2.11', build: 'h7b6447c_3' }],
    ['a null version', { ...zlib, version: null }],
    ['a number as build', { ...zlib, build: 0 }],
    ['a short sha256', { ...zlib, sha256: SHA256.slice(1) }],
    ['a sha256 with its algorithm', { ...zlib, sha256: `sha256:${SHA256}` }],
    ['a sha256 with a line end', { ...zlib, sha256: `${SHA256}\n` }],
    ['a long md5', { ...zlib, md5: `${MD5}0` }],
    ['an empty md5', { ...zlib, md5: '' }],
    ['a negative size', { ...zlib, size: -1 }],
    ['a fraction of a byte', { ...zlib, size: 1.5 }],
    ['a size beyond exact numbers', { ...zlib, size: 2 ** 60 }],
    ['a size in text', { ...zlib, size: '7' }],
    ['a url that is no text', { ...zlib, url: {} }],
  ])('cep36: %s is refused', (_, value) => {
    expect(refusal(FILENAME, value)).toMatchObject({ code: 'RECORD_INVALID' });
  });

  test('a refusal is one short line, whatever the record says', () => {
    const { message } = refusal(FILENAME, { ...zlib, name: `\u001b[2J\n${'x'.repeat(100_000)}` }) as Error;
    expect(message.length).toBeLessThan(600);
    expect(message).not.toMatch(/\p{Cc}/u);
  });
});

test('what tells archives apart is the sha256, and the md5 only where old repodata has no more', () => {
  expect(archiveIdentity({ sha256: SHA256, md5: MD5 })).toBe(`sha256:${SHA256}`);
  expect(archiveIdentity({ md5: MD5 })).toBe(`md5:${MD5}`);
  expect(archiveIdentity({})).toBeUndefined();
});
