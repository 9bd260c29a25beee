import { archiveExtensionOf } from '#ferry/conda/names.js';
import { checkIndexJson, parseIndexJson } from '#ferry/conda/archive/index-json.js';
import { describe, expect, it } from 'vitest';
import { codeOf } from './streams.js';

const index = {
  name: 'ferry',
  version: '1.0',
  build: '0',
  build_number: 0,
  subdir: 'noarch',
  extra: { kept: [1] },
};
const expected = {
  filename: 'ferry-1.0-0.conda',
  name: 'ferry',
  version: '1.0',
  build: '0',
  subdir: 'noarch',
};

function bytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
}

async function refusal(action: () => unknown): Promise<unknown> {
  return codeOf(Promise.resolve().then(action));
}

describe('parseIndexJson', () => {
  it('CEP 34: reads an index and keeps keys it does not know', () => {
    expect(parseIndexJson(bytes(index))).toEqual(index);
    expect(parseIndexJson(bytes('{"name":"a","name":"b","version":"1","build":"0"}')).name).toBe('b');
  });

  it('reads those of old packages, without subdir or with noarch: true', () => {
    const old = { name: 'old', version: '1', build: '0', arch: null, noarch: true, subdir: null };
    expect(parseIndexJson(bytes(old))).toEqual(old);
  });

  it.each([
    ['no JSON', '{'],
    ['nothing', ''],
    ['an array', []],
    ['null', null],
    ['no version', { name: 'a', build: '0' }],
    ['a version that is a number', { ...index, version: 1 }],
    ['a build number that is text', { ...index, build_number: '0' }],
    ['an empty name', { ...index, name: '' }],
  ])('refuses %s', async (_what, value) => {
    expect(await refusal(() => parseIndexJson(bytes(value)))).toBe('ARCHIVE_INDEX_INVALID');
  });

  it('refuses bytes that are not UTF-8', async () => {
    const latin1 = Buffer.from('{"name":"a","version":"1","build":"0","summary":"é"}', 'latin1');
    expect(await refusal(() => parseIndexJson(latin1))).toBe('ARCHIVE_INDEX_INVALID');
  });
});

describe('checkIndexJson', () => {
  it('takes an index that agrees, or has no subdir', () => {
    const { subdir: _subdir, ...without } = index;
    for (const agreeing of [index, without, { ...index, subdir: null }]) {
      expect(() => {
        checkIndexJson(parseIndexJson(bytes(agreeing)), expected);
      }).not.toThrow();
    }
  });

  it.each(['name', 'version', 'build'] as const)('names a differing %s and both values', (field) => {
    const other = parseIndexJson(bytes({ ...index, [field]: '9z' }));
    const message = `\`info/index.json\` of \`ferry-1.0-0.conda\` has ${field} \`9z\` instead of \`${expected[field]}\``;
    expect(() => {
      checkIndexJson(other, expected);
    }).toThrow(expect.objectContaining({ code: 'ARCHIVE_INDEX_MISMATCH', message }));
  });

  it('has a code of its own for another subdir', async () => {
    const other = parseIndexJson(bytes({ ...index, subdir: 'linux-64' }));
    const check = (): void => {
      checkIndexJson(other, expected);
    };
    expect(await refusal(check)).toBe('ARCHIVE_SUBDIR_MISMATCH');
  });
});

describe('archiveExtensionOf', () => {
  it('goes by the end of the file name', () => {
    expect(archiveExtensionOf('a-1-0.conda')).toBe('conda');
    expect(archiveExtensionOf('a-1-0.tar.bz2')).toBe('tar.bz2');
    expect(archiveExtensionOf('a-1-0.tar.gz')).toBeUndefined();
  });
});
