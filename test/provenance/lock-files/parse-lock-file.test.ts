import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import type { LockedArchives } from '#ferry/provenance/lock-files/locked-archives.js';
import { parseLockFile } from '#ferry/provenance/lock-files/parse-lock-file.js';

const CHANNEL = 'https://conda.example.org/ch';
const SHA256 = '01234567'.repeat(8);
/** All digits, and one that YAML takes for a number: both lose digits as such. */
const DIGITS = '12345678901234567890123456789012';
const EXPONENT = `12e45678901234567890123456789012`;

const zlib = {
  filename: 'zlib-1.3-0.conda',
  subdir: 'linux-64',
  url: `${CHANNEL}/linux-64/zlib-1.3-0.conda`,
  channel: CHANNEL,
};
const tzdata = {
  filename: 'tzdata-2024a-0.tar.bz2',
  subdir: 'noarch',
  url: `${CHANNEL}/noarch/tzdata-2024a-0.tar.bz2`,
  channel: CHANNEL,
};

async function refusal(text: string): Promise<FerryError> {
  const error: unknown = await parseLockFile('my.lock', text).catch((thrown: unknown) => thrown);
  if (error instanceof FerryError) return error;
  throw new Error('it was not refused');
}

describe('conda-lock.yml', () => {
  const entry = (fields: Record<string, string>): string =>
    Object.entries(fields)
      .map(([key, value], index) => `${index === 0 ? '-' : ' '} ${key}: ${value}\n`)
      .join('');

  test('wants conda packages of all platforms, each once, by the subdir of its URL', async () => {
    const text = `version: 1
metadata:
  content_hash: {linux-64: abc, osx-64: def}
  channels:
  - url: ch
    used_env_vars: []
  platforms: [linux-64, osx-64]
package:
- name: zlib
  version: '1.3'
  manager: conda
  platform: linux-64
  dependencies: {libc: '>=2'}
  url: ${zlib.url}
  hash:
    md5: ${DIGITS}
    sha256: ${SHA256.toUpperCase()}
  category: main
  optional: false
${entry({ name: 'tzdata', manager: 'conda', platform: 'linux-64', url: tzdata.url, hash: `{md5: ${EXPONENT}}` })}
${entry({ name: 'tzdata', manager: 'conda', platform: 'osx-64', url: tzdata.url, hash: `{md5: ${EXPONENT}}` })}
${entry({ name: 'requests', manager: 'pip', platform: 'linux-64', url: 'https://files.example.org/requests.whl' })}
`;
    expect(await parseLockFile('conda-lock.yml', text)).toEqual({
      archives: [
        { ...zlib, sha256: SHA256, md5: DIGITS },
        { ...tzdata, md5: EXPONENT },
      ],
      ignored: { pypi: 1, elsewhere: 0 },
    });
  });

  test('may share values and leave hashes empty', async () => {
    const text = `version: 1
package:
- {manager: conda, url: '${zlib.url}', hash: &h {sha256: ${SHA256}, md5: }}
- {manager: conda, url: '${tzdata.url}', hash: *h}
- {manager: conda, url: '${CHANNEL}/noarch/a-1-0.conda', hash: }
- {manager: conda, url: '${CHANNEL}/noarch/b-1-0.conda', hash: {md5: null, sha256: ~}}
`;
    const { archives } = await parseLockFile('conda-lock.yml', text);
    expect(archives.map(({ filename, sha256, md5 }) => [filename, sha256, md5])).toEqual([
      ['zlib-1.3-0.conda', SHA256, undefined],
      ['a-1-0.conda', undefined, undefined],
      ['b-1-0.conda', undefined, undefined],
      ['tzdata-2024a-0.tar.bz2', SHA256, undefined],
    ]);
  });
});

describe('pixi.lock', () => {
  const expected: LockedArchives = {
    archives: [
      { ...zlib, sha256: SHA256, md5: DIGITS },
      { ...tzdata, sha256: undefined, md5: EXPONENT },
    ],
    ignored: { pypi: 2, elsewhere: 1 },
  };
  const environments = `environments:
  default:
    channels:
    - url: ${CHANNEL}/
    packages:
      linux-64:
      - conda: ${zlib.url}
      - conda: ${tzdata.url}
`;

  test.each(['6', '7'])('of version %s', async (version) => {
    const text = `version: ${version}
${environments}packages:
- conda: ${zlib.url}
  sha256: ${SHA256}
  md5: ${DIGITS}
  depends:
  - libc >=2
  license: Zlib
  size: 1234
- conda: ${tzdata.url}
  md5: ${EXPONENT}
- pypi: https://files.example.org/requests.whl
  name: requests
  sha256: ${SHA256}
- pypi: ./mine
  name: mine
- ${version === '7' ? 'conda_source: tool[0a1b2c3d] @ tool' : 'conda: ./tool'}
`;
    expect(await parseLockFile('pixi.lock', text)).toEqual(expected);
  });

  test.each(['4', '5'])('of version %s', async (version) => {
    const text = `version: ${version}
${environments}packages:
- kind: conda
  name: zlib
  version: '1.3'
  build: '0'
  subdir: linux-64
  url: ${zlib.url}
  sha256: ${SHA256}
  md5: ${DIGITS}
- kind: conda
  name: tzdata
  url: ${tzdata.url}
  md5: ${EXPONENT}
- kind: conda
  name: local
  path: ../local-1-0.conda
- kind: pypi
  name: requests
  url: https://files.example.org/requests.whl
- kind: pypi
  name: mine
  path: ./mine
`;
    expect(await parseLockFile('pixi.lock', text)).toEqual(expected);
  });

  test('without packages wants nothing', async () => {
    for (const packages of ['packages: []', 'packages:']) {
      expect(await parseLockFile('pixi.lock', `version: 6\n${packages}\n`)).toEqual({
        archives: [],
        ignored: { pypi: 0, elsewhere: 0 },
      });
    }
  });

  test('of the future is refused rather than half understood', async () => {
    const error = await refusal('version: 99\npackages: []\n');
    expect(error).toMatchObject({ code: 'LOCK_FILE_INVALID' });
    expect(error.hint).toContain('newer conda-ferry');
    expect((await refusal(`version: 6\npackages:\n- wheel: ${zlib.url}\n`)).message).toContain('packages.0');
  });
});

describe('explicit lists', () => {
  test('have md5, sha256 or no hash', async () => {
    const text = `# This file may be used to create an environment\r
# platform: linux-64\r
@EXPLICIT\r
${zlib.url}#${DIGITS}\r
${tzdata.url}#sha256:${SHA256.toUpperCase()}\r

${CHANNEL}/noarch/a-1!2-0.conda
${CHANNEL}/noarch/a-1%213-0.conda#${SHA256}
# pip requests @ https://files.example.org/requests.whl --hash=sha256:0
/srv/archives/local-1-0.conda
C:\\archives\\local-1-0.conda
https://example.org/download/v1/b-1-0.conda#${DIGITS}
`;
    const { archives, ignored } = await parseLockFile('explicit.txt', text);
    expect(
      archives.map(({ subdir, filename, sha256, md5 }) => [`${subdir}/${filename}`, sha256, md5]),
    ).toEqual([
      ['linux-64/zlib-1.3-0.conda', undefined, DIGITS],
      ['noarch/a-1!2-0.conda', undefined, undefined],
      ['noarch/a-1!3-0.conda', SHA256, undefined],
      ['noarch/tzdata-2024a-0.tar.bz2', SHA256, undefined],
    ]);
    expect(ignored).toEqual({ pypi: 1, elsewhere: 3 });
  });

  test.each([
    ['zlib >=1.3', 'line 2'],
    [`${CHANNEL}/linux-64/`, 'line 2'],
    [`${zlib.url}#sha1:${'0'.repeat(40)}`, 'line 2'],
    [`${zlib.url}#`, 'line 2'],
    [`${zlib.url}#${DIGITS.slice(1)}`, 'line 2'],
  ])('with %j are refused, %s', async (line, where) => {
    const error = await refusal(`@EXPLICIT\n${line}\n`);
    expect(error.code).toBe('LOCK_FILE_INVALID');
    expect(error.message).toContain(where);
  });

  test('read back what was put in', async () => {
    const hex = (length: number): fc.Arbitrary<string> =>
      fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
    const hash = fc.oneof(
      hex(32).map((md5) => ({ text: `#${md5}`, sha256: undefined, md5 })),
      hex(64).map((sha256) => ({ text: `#sha256:${sha256}`, sha256, md5: undefined })),
      fc.constant({ text: '', sha256: undefined, md5: undefined }),
    );
    const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
    const entry = fc.record({ name, subdir: fc.constantFrom('noarch', 'linux-64', 'osx-arm64'), hash });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(entry, { selector: ({ name }) => name }), async (entries) => {
        const lines = entries.map(
          ({ name, subdir, hash }) => `${CHANNEL}/${subdir}/${name}-1.0-0.conda${hash.text}`,
        );
        const { archives } = await parseLockFile('list', ['@EXPLICIT', ...lines].join('\n'));
        expect(
          new Set(
            archives.map(({ filename, subdir, sha256, md5 }) => [filename, subdir, sha256, md5].join()),
          ),
        ).toEqual(
          new Set(
            entries.map(({ name, subdir, hash }) =>
              [`${name}-1.0-0.conda`, subdir, hash.sha256, hash.md5].join(),
            ),
          ),
        );
      }),
    );
  });
});

describe('what is no lock file', () => {
  test.each([
    ['', 'neither YAML'],
    ['hello', 'neither YAML'],
    [`${zlib.url}\n`, 'neither YAML'],
    ['[]', 'neither YAML'],
    ['a: b: c', 'line 1'],
    ['version: 1\nversion: 1\npackage: []', 'line 2'],
    ['name: env\ndependencies:\n- python\n', 'version'],
    ['version: 1', 'package'],
    ['version: 1\npackage:\n- name: a\n', 'package.0'],
    [`version: 1\npackage:\n- {manager: brew, url: x}\n`, 'package.0.manager'],
    [`version: 6\npackages:\n- {conda: '${zlib.url}', sha256: 12ab}\n`, 'packages.0.sha256'],
    [`version: 1\npackage:\n- {manager: conda, url: '${zlib.url}', hash: {md5: [1]}}\n`, 'package.0.hash'],
  ])('%j is refused', async (text, says) => {
    const error = await refusal(text);
    expect(error).toMatchObject({ code: 'LOCK_FILE_INVALID', input: 'my.lock' });
    expect(error.message).toContain('`my.lock`');
    expect(error.message).toContain(says);
  });

  test('a bomb of aliases is refused, and so is one of brackets', async () => {
    const bomb = [
      'a: &a [x, x]',
      ...Array.from('bcdefghij', (of) => {
        const before = String.fromCharCode(of.charCodeAt(0) - 1);
        return `${of}: &${of} [${Array.from({ length: 9 }, () => `*${before}`).join(', ')}]`;
      }),
    ].join('\n');
    expect((await refusal(`version: 1\n${bomb}\npackage: []\n`)).code).toBe('LOCK_FILE_INVALID');
    expect((await refusal('['.repeat(50_000))).code).toBe('LOCK_FILE_INVALID');
    expect((await refusal('{a: '.repeat(50_000))).code).toBe('LOCK_FILE_INVALID');
  });

  test('keys of prototypes do no harm', async () => {
    const lock = await parseLockFile(
      'x',
      'version: 6\n__proto__: {packages: 1}\nconstructor: a\npackages: []\n',
    );
    expect(lock.archives).toEqual([]);
  });
});

test('no secret of a URL is kept, nor shown in an error', async () => {
  const url = 'https://me:hunter2@conda.example.org/t/tk-123/ch/noarch/a-1-0.conda';
  const lock = await parseLockFile('list', `@EXPLICIT\n${url}\n`);
  expect(JSON.stringify(lock)).not.toMatch(/hunter2|tk-123/);
  expect(lock.archives).toMatchObject([{ filename: 'a-1-0.conda', subdir: 'noarch' }]);
  for (const text of [
    `@EXPLICIT\n${url}#x`,
    `version: 6\npackages:\n- conda: ${url}\n  md5: x`,
    `version: 6\n${url} ]: [`,
  ]) {
    const error = await refusal(text);
    expect(`${error.message} ${JSON.stringify(error)} ${String(error.cause)}`).not.toMatch(/hunter2|tk-123/);
  }
});
