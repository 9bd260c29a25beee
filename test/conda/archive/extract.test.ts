import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { extractPackage, type ExtractOptions } from '#ferry/conda/archive/extract.js';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import {
  FIXTURE_CHANNEL,
  HAS_REAL_CHANNELS,
  MALFORMED_CHANNEL,
  realChannel,
} from '../../support/channels.js';
import { tempFolder } from '../../support/temp.js';
import { codeOf } from './streams.js';

type Member = Extract<Parameters<typeof condaPackage>[0]['payloadFiles'], readonly unknown[]>[number];
type Format = 'conda' | 'tar.bz2';

const FORMATS = ['conda', 'tar.bz2'] as const;

function build(format: Format, payload: readonly Member[], info: readonly Member[] = []): Uint8Array {
  const spec = {
    ...{ name: 'ferry', version: '1.0', build: '0', subdir: 'linux-64', payloadFiles: payload },
    // What paths.json says of hostile members is no matter here.
    infoFiles: info,
  };
  return (format === 'conda' ? condaPackage(spec) : tarBz2Package(spec)).bytes;
}

/** A folder for the package in one of its own, so that what leaves the first is seen in the second. */
async function target(): Promise<{ readonly outside: string; readonly folder: string }> {
  const outside = await tempFolder();
  const folder = join(outside, 'package');
  await mkdir(folder);
  await writeFile(join(outside, 'victim'), 'safe');
  return { outside, folder };
}

/** What lies below a folder: its files with their bytes, `-> target` for links, `/` for folders. */
async function survey(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(folder.length + 1);
    if (entry.isSymbolicLink()) found[name] = `-> ${await readlink(path)}`;
    else found[name] = entry.isDirectory() ? '/' : await readFile(path, 'utf8');
  }
  return found;
}

async function extract(
  format: Format,
  bytes: Uint8Array,
  options?: ExtractOptions,
): Promise<Record<string, string>> {
  const { folder } = await target();
  await extractPackage({ bytes }, format, folder, options);
  const found = await survey(folder);
  return Object.fromEntries(Object.entries(found).filter(([path]) => !path.startsWith('info')));
}

const symlink = (path: string, to: string): Member => ({ path, type: 'symlink', target: to });
const hardlink = (path: string, to: string): Member => ({ path, type: 'hardlink', target: to });
const file = (path: string, content = 'x'): Member => ({ path, content });

test.each(FORMATS)('a %s is unpacked with its files, links, modes and times', async (format) => {
  const { folder } = await target();
  const bytes = build(format, [
    { path: 'bin/run', content: 'run', mode: 0o4775 },
    { path: './lib/a.py', content: 'a', mode: 0o444, pax: { mtime: '1600000000.75' } },
    { path: 'lib/empty', type: 'directory' },
    symlink('lib/b.py', 'a.py'),
    symlink('lib/nowhere', '../share/none'),
    hardlink('lib/c.py', 'lib/a.py'),
    hardlink('lib/d.py', 'lib/b.py'),
    file(`${'deep/'.repeat(60)}é.txt`, 'deep'),
    file('odd\\name', 'odd'),
  ]);
  const indexJson = await extractPackage({ bytes }, format, folder);
  expect(JSON.parse(Buffer.from(indexJson).toString())).toMatchObject({ name: 'ferry' });
  const found = await survey(folder);
  expect(found).toMatchObject({
    'bin/run': 'run',
    'lib/a.py': 'a',
    'lib/b.py': '-> a.py',
    'lib/c.py': 'a',
    'lib/d.py': '-> a.py',
    'lib/empty': '/',
    'lib/nowhere': '-> ../share/none',
    [`${'deep/'.repeat(60)}é.txt`]: 'deep',
    'odd\\name': 'odd',
    'info/index.json': Buffer.from(indexJson).toString(),
  });
  // The umask may take rights away, but for the owner's.
  expect((await stat(join(folder, 'bin/run'))).mode & 0o7722).toBe(0o700);
  const status = await stat(join(folder, 'lib/a.py'));
  expect(status.mode & 0o7733).toBe(0o600);
  expect(status.mtimeMs).toBe(1_600_000_000_750);
  expect((await stat(join(folder, 'lib/c.py'))).ino).toBe(status.ino);
});

test.each(FORMATS)('of several members of one path in a %s the last one stays', async (format) => {
  expect(
    await extract(
      format,
      build(format, [
        file('a', 'first'),
        hardlink('keeps', 'a'),
        file('a', 'second'),
        symlink('b', 'a'),
        file('b', 'no link'),
        file('c', 'no file'),
        symlink('c', 'a'),
        hardlink('a', 'a'),
      ]),
    ),
  ).toEqual({ a: 'second', keeps: 'first', b: 'no link', c: '-> a' });
});

test.each(FORMATS)('info/repodata_record.json of a %s itself is left out', async (format) => {
  for (const member of [
    file('info/repodata_record.json'),
    symlink('info/repodata_record.json', '../victim'),
  ]) {
    const { folder } = await target();
    await extractPackage({ bytes: build(format, [], [member]) }, format, folder);
    expect(await readdir(join(folder, 'info'))).not.toContain('repodata_record.json');
  }
});

const UNSAFE: readonly (readonly [string, string, readonly Member[]])[] = [
  ['an absolute path', 'ARCHIVE_PATH_UNSAFE', [file('/victim')]],
  ['a path that climbs', 'ARCHIVE_PATH_UNSAFE', [file('../victim')]],
  ['a path that climbs in its middle', 'ARCHIVE_PATH_UNSAFE', [file('lib/../../victim')]],
  ['a path that climbs the Windows way', 'ARCHIVE_PATH_UNSAFE', [file('lib\\..\\..\\victim')]],
  ['a drive', 'ARCHIVE_PATH_UNSAFE', [file('C:/victim')]],
  [
    'a path that climbs by its pax header',
    'ARCHIVE_PATH_UNSAFE',
    [{ ...file('a'), pax: { path: '../victim' } }],
  ],
  ['a NUL in its pax path', 'ARCHIVE_PATH_UNSAFE', [{ ...file('a'), pax: { path: 'a\0b' } }]],
  ['a file through a symlink', 'ARCHIVE_PATH_UNSAFE', [symlink('d', 'lib'), file('d/x')]],
  ['a file through a symlink that leaves', 'ARCHIVE_PATH_UNSAFE', [symlink('d', '..'), file('d/victim')]],
  [
    'a folder through a symlink',
    'ARCHIVE_PATH_UNSAFE',
    [symlink('d', 'lib'), { path: 'd/e', type: 'directory' }],
  ],
  [
    'a folder in place of a symlink',
    'ARCHIVE_PATH_UNSAFE',
    [symlink('d', 'lib'), { path: 'd', type: 'directory' }],
  ],
  ['a symlink in place of a folder', 'ARCHIVE_PATH_UNSAFE', [file('d/x'), symlink('d', '..')]],
  ['a hard link in place of a folder', 'ARCHIVE_PATH_UNSAFE', [file('d/x'), file('f'), hardlink('d', 'f')]],
  ['a file below a file', 'ARCHIVE_PATH_UNSAFE', [file('d'), file('d/x')]],
  ['a file in place of the package', 'ARCHIVE_MEMBER_TYPE', [file('.')]],
  ['a symlink in place of info', 'ARCHIVE_MEMBER_TYPE', [symlink('info', 'lib')]],
  ['an absolute symlink', 'ARCHIVE_LINK_UNSAFE', [symlink('a', '/etc/passwd')]],
  ['a symlink that leaves', 'ARCHIVE_LINK_UNSAFE', [symlink('lib/a', '../../victim')]],
  [
    'a symlink that leaves by another one',
    'ARCHIVE_LINK_UNSAFE',
    [symlink('p/q/d', '../..'), symlink('x', 'p/q/d/../y')],
  ],
  [
    'a symlink that leaves by its pax header',
    'ARCHIVE_LINK_UNSAFE',
    [{ ...symlink('a', 'b'), pax: { linkpath: '../victim' } }],
  ],
  ['a symlink to nothing', 'ARCHIVE_LINK_UNSAFE', [symlink('a', '')]],
  ['a hard link out', 'ARCHIVE_LINK_UNSAFE', [hardlink('a', '../victim')]],
  ['an absolute hard link', 'ARCHIVE_LINK_UNSAFE', [hardlink('a', '/etc/passwd')]],
  ['a hard link to what comes later', 'ARCHIVE_LINK_UNSAFE', [hardlink('a', 'b'), file('b')]],
  ['a hard link to a folder', 'ARCHIVE_LINK_UNSAFE', [file('d/x'), hardlink('a', 'd')]],
  [
    'a hard link through a symlink',
    'ARCHIVE_LINK_UNSAFE',
    [file('lib/x'), symlink('d', 'lib'), hardlink('a', 'd/x')],
  ],
  ['a character device', 'ARCHIVE_MEMBER_TYPE', [{ path: 'null', type: 'character-device' }]],
  ['a block device', 'ARCHIVE_MEMBER_TYPE', [{ path: 'disk', type: 'block-device' }]],
  ['a pipe', 'ARCHIVE_MEMBER_TYPE', [{ path: 'pipe', type: 'fifo' }]],
  [
    'a sparse file',
    'ARCHIVE_MEMBER_TYPE',
    [{ ...file('a'), pax: { 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '9999999999999' } }],
  ],
  ['a link with content', 'ARCHIVE_CORRUPT', [{ ...symlink('a', 'b'), content: 'x' }]],
  ['a path too long for any system', 'ARCHIVE_LIMIT_EXCEEDED', [file('a/'.repeat(3000))]],
  ['a path too deep', 'ARCHIVE_LIMIT_EXCEEDED', [file(`${'a/'.repeat(200)}x`)]],
  ['a name too long for this system', 'OUTPUT_UNWRITABLE', [file('n'.repeat(300))]],
];

test.each(UNSAFE.flatMap((row) => FORMATS.map((format) => [format, ...row] as const)))(
  'a %s with %s is refused: %s',
  async (format, _what, code, members) => {
    // In front, so that what is wrong is met with files there already, and behind, where links are made late.
    for (const payload of [
      [file('lib/x'), ...members],
      [...members, file('z')],
    ]) {
      const { outside, folder } = await target();
      expect(await codeOf(extractPackage({ bytes: build(format, payload) }, format, folder))).toBe(code);
      expect((await readdir(outside)).sort()).toEqual(['package', 'victim']);
      expect(await readFile(join(outside, 'victim'), 'utf8')).toBe('safe');
    }
  },
);

test.each(FORMATS)('a name that is not UTF-8 is refused in a %s', async (format) => {
  const bytes = build(format, [file('caf\ufffd')]);
  expect(await codeOf(extract(format, bytes))).toBe('ARCHIVE_PATH_UNSAFE');
});

test('what Windows takes for something else is refused there only', async () => {
  const names = ['con', 'lib/NUL.txt', 'aux .c', 'com1', 'a\\b', 'data:stream', 'dot.', 'space /x', 'what?'];
  for (const name of names) {
    const bytes = build('conda', [file(name)]);
    expect(await codeOf(extract('conda', bytes, { platform: 'win32' })), name).toBe('ARCHIVE_PATH_UNSAFE');
    expect(Object.keys(await extract('conda', bytes, { platform: 'linux' }))).toContain(name);
  }
  const fine = build('conda', [file('console/comma.txt'), file('lib/nullable')]);
  expect(Object.keys(await extract('conda', fine, { platform: 'win32' }))).toContain('lib/nullable');
});

test('an entry that the file system finds at a new path is another spelling of a member, and refused', async () => {
  // As on a file system that does not tell cases apart: something is there that no member of this name made.
  for (const member of [
    file('lib'),
    file('lib/x'),
    symlink('lib', 'x'),
    { path: 'lib', type: 'directory' } as const,
  ]) {
    const { folder, outside } = await target();
    await mkdir(join(folder, 'lib'));
    const bytes = build('conda', [member]);
    expect(await codeOf(extractPackage({ bytes }, 'conda', folder))).toBe('ARCHIVE_PATH_UNSAFE');
    expect(await readdir(join(folder, 'lib'))).toEqual([]);
    expect(await readdir(outside)).toHaveLength(2);
  }
});

test('a bomb as payload is refused', async () => {
  // More than is let pass without a look at the ratio; all zeros.
  const bytes = build('conda', [file('zeros', '\0'.repeat(300 * 1024 * 1024))]);
  const { folder } = await target();
  expect(await codeOf(extractPackage({ bytes }, 'conda', folder))).toBe('ARCHIVE_LIMIT_EXCEEDED');
});

test('all malformed archives are refused as reading them is, or unpacked', async () => {
  const expected = JSON.parse(await readFile(join(MALFORMED_CHANNEL, 'expected.json'), 'utf8')) as Record<
    string,
    { readonly code: string }
  >;
  // What the archive says of itself is for whoever asked for it to compare.
  const later = /^(?:ARCHIVE_INDEX_(?:INVALID|MISMATCH)|ARCHIVE_SUBDIR_MISMATCH|DIGEST_MISMATCH)$/;
  for (const [path, { code }] of Object.entries(expected)) {
    const { outside, folder } = await target();
    const format = path.endsWith('.conda') ? 'conda' : 'tar.bz2';
    const extracting = extractPackage({ path: join(MALFORMED_CHANNEL, path) }, format, folder);
    if (later.test(code)) await extracting;
    else expect(await codeOf(extracting), path).toBe(code);
    expect(await readdir(outside)).toHaveLength(2);
  }
});

interface PathsJson {
  readonly paths: readonly { readonly _path: string; readonly path_type: string; readonly sha256?: string }[];
}

/** Compares what lies there with what paths.json of the package says of its files. @returns how many it lists */
async function checkPaths(folder: string): Promise<number> {
  const json = await readFile(join(folder, 'info', 'paths.json'), 'utf8').catch(() => '{"paths":[]}');
  const { paths } = JSON.parse(json) as PathsJson;
  for (const { _path: path, path_type: type, sha256 } of paths) {
    const place = join(folder, path);
    // Packages made on Windows have copies where the list says links.
    if (type !== 'softlink') expect((await lstat(place)).isSymbolicLink(), path).toBe(false);
    if (type !== 'hardlink' || sha256 === undefined) continue;
    expect(
      createHash('sha256')
        .update(await readFile(place))
        .digest('hex'),
      path,
    ).toBe(sha256);
  }
  return paths.length;
}

const channels = [
  FIXTURE_CHANNEL,
  ...(HAS_REAL_CHANNELS ? [realChannel('conda-format'), realChannel('test-recipes')] : []),
];

test.each(channels)('archives of %s unpack to what their paths.json lists', async (channel) => {
  let files = 0;
  for (const path of await readdir(channel, { recursive: true })) {
    if (!/\.(?:conda|tar\.bz2)$/.test(path)) continue;
    const { folder } = await target();
    const format = path.endsWith('.conda') ? 'conda' : 'tar.bz2';
    try {
      await extractPackage({ path: join(channel, path) }, format, folder);
    } catch (error) {
      // The symlinks in these have lost their targets; no other unpacker takes them either.
      expect(path).toMatch(/zlib-1\.2\.11-(?:h7b6447c|h1de35cc)_3\.conda$/);
      expect(error).toMatchObject({ code: 'ARCHIVE_LINK_UNSAFE' });
      continue;
    }
    files += await checkPaths(folder);
  }
  expect(files).toBeGreaterThan(10);
});
