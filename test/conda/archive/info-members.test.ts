import { readInfo, type InfoMember } from '#ferry/conda/archive/read-info.js';
import { describe, expect, it } from 'vitest';
import { tarBz2Archive } from '../../../fixtures/build/archive.mjs';
import type { TarMember } from '../../../fixtures/build/tar.mjs';
import { codeOf } from './streams.js';

const spec = { name: 'ferry', version: '1.0', build: '0', subdir: 'noarch' };

/** Reads an archive with these members behind the usual ones. */
async function read(...infoFiles: TarMember[]): Promise<readonly InfoMember[]> {
  const bytes = tarBz2Archive({ ...spec, infoFiles });
  return (await readInfo({ bytes }, 'tar.bz2')).members;
}

/** Path → content, or link, of what is not in every package. */
async function contents(...infoFiles: TarMember[]): Promise<Record<string, string>> {
  const usual = ['about.json', 'files', 'index.json', 'paths.json'];
  const members = (await read(...infoFiles)).filter(({ path }) => !usual.includes(path));
  return Object.fromEntries(
    members.map((member) => [
      member.path,
      member.type === 'file' ? new TextDecoder().decode(member.bytes) : `-> ${member.target}`,
    ]),
  );
}

const file = (path: string, content = path): TarMember => ({ path, content });
const symlink = (path: string, target: string): TarMember => ({ path, type: 'symlink', target });
const hardlink = (path: string, target: string): TarMember => ({ path, type: 'hardlink', target });
const directory = (path: string): TarMember => ({ path, type: 'directory' });

describe('members of info/', () => {
  it('are sorted by the bytes of their paths, not by UTF-16', async () => {
    const paths = ['b', 'a/z', 'a.b', 'a', '\u{1f600}', '\uff5e', 'B'].filter((path) => path !== 'a');
    const members = await read(...paths.map((path) => file(`info/${path}`)));
    const sorted = members.map(({ path }) => path);
    expect(sorted).toEqual([...sorted].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    expect(sorted.indexOf('\uff5e')).toBeLessThan(sorted.indexOf('\u{1f600}'));
    expect(sorted).toContain('a/z');
  });

  it('have mode 0755 if anyone may execute them, else 0644', async () => {
    const members = await read(
      ...[0o600, 0o4644, 0o700, 0o645].map((mode) => ({ path: `info/${mode}`, mode })),
    );
    const modes = members.flatMap((member) =>
      member.type === 'file' && /^\d/.test(member.path) ? [member.mode] : [],
    );
    expect(modes.sort()).toEqual([0o644, 0o644, 0o755, 0o755]);
  });

  it('leave directories out, take ./ and doubled slashes, and let the last of one path win', async () => {
    expect(
      await contents(
        directory('info/d'),
        file('./info//d/./a', 'first'),
        file('info/d/a', 'second'),
        directory('info/d'),
      ),
    ).toEqual({ 'd/a': 'second' });
    expect(await contents(file('info/a', 'file'), symlink('info/a', 'b'))).toEqual({ a: '-> b' });
    expect(await contents(symlink('info/a', 'b'), file('info/a', 'file'))).toEqual({ a: 'file' });
  });

  it('have in a hard link what its target had when it came', async () => {
    expect(await contents(file('info/a', '1'), hardlink('info/b', './info/a'), file('info/a', '2'))).toEqual({
      a: '2',
      b: '1',
    });
    expect(await contents(symlink('info/a', 'x'), hardlink('info/d/b', 'info/a'))).toEqual({
      a: '-> x',
      'd/b': '-> x',
    });
  });

  it.each([
    ['the payload', 'lib/a'],
    ['a member that comes later', 'info/later'],
    ['nothing', ''],
    ['a path out of the archive', '../info/index.json'],
    ['an absolute path', '/info/index.json'],
  ])('refuse a hard link to %s', async (_what, target) => {
    const members = [file('lib/a'), hardlink('info/b', target), file('info/later')];
    expect(await codeOf(read(...members))).toBe('ARCHIVE_LINK_UNSAFE');
  });

  it.each([
    ['dangling', [symlink('info/a', 'nowhere')]],
    ['to a folder', [file('info/d/x'), symlink('info/a', 'd/')]],
    ['to info itself', [symlink('info/d/a', '..')]],
    ['a loop', [symlink('info/a', 'b'), symlink('info/b', 'a')]],
    ['a loop onto itself', [symlink('info/a', './a/b')]],
    ['a chain', [symlink('info/d/e/up', '../..'), symlink('info/x', 'd/e/up/index.json')]],
  ] as [string, TarMember[]][])('take a symlink that stays inside: %s', async (_what, members) => {
    expect(await codeOf(read(...members))).toBe('no error');
  });

  it.each([
    ['up', [symlink('info/a', '../x')]],
    ['up and back', [symlink('info/a', '../info/index.json')]],
    ['up from a folder', [symlink('info/d/a', '../../x')]],
    ['through a name that is not there', [symlink('info/a', 'x/../../y')]],
    ['through a file', [file('info/f'), symlink('info/a', 'f/../../y')]],
    ['absolute', [symlink('info/a', '/etc/passwd')]],
    ['absolute on Windows', [symlink('info/a', 'c:\\windows')]],
    ['up on Windows', [symlink('info/a', 'd\\..\\..\\x')]],
    ['through a link', [symlink('info/p/q/d', '../..'), symlink('info/x', 'p/q/d/../y')]],
    ['through a later link', [symlink('info/x', 'p/q/d/../y'), symlink('info/p/q/d', '../..')]],
    ['through two links', [symlink('info/a/b', '..'), symlink('info/c', 'a/b'), symlink('info/x', 'c/../y')]],
    ['nowhere', [symlink('info/a', '')]],
    ['up from where a hard link is', [symlink('info/d/a', '../x'), hardlink('info/b', 'info/d/a')]],
  ] as [string, TarMember[]][])('refuse a symlink that leaves: %s', async (_what, members) => {
    expect(await codeOf(read(...members))).toBe('ARCHIVE_LINK_UNSAFE');
  });

  it.each([
    ['below a link', [symlink('info/a', 'd'), file('info/a/x')]],
    ['below what becomes a link', [file('info/a/x'), symlink('info/a', 'd')]],
    ['below what no longer is a link', [symlink('info/a', 'd'), file('info/a/x'), file('info/a')]],
    ['a folder that is a link', [symlink('info/a', 'd'), directory('info/a')]],
    ['below a file', [file('info/a'), file('info/a/x')]],
    ['out of info', [file('info/../x')]],
    ['out of info on Windows', [file('info/d\\..\\..\\x')]],
    ['on a drive', [file('c:/x')]],
    ['on a drive, further in', [file('./c:x')]],
    ['absolute on Windows', [file('\\x')]],
    ['absolute', [file('/info/x')]],
    ['with NUL', [{ ...file('info/x'), pax: { path: 'info/x\0y' } }]],
    ['out of the payload', [file('lib/../../x')]],
    ['link of the payload that leaves', [symlink('../x', 'y')]],
  ] as [string, TarMember[]][])('refuse an unsafe path: %s', async (_what, members) => {
    expect(await codeOf(read(...members))).toBe('ARCHIVE_PATH_UNSAFE');
  });

  it('take any link and any type of member in the payload', async () => {
    const payload: TarMember[] = [
      symlink('lib/a', '/etc/passwd'),
      hardlink('lib/b', 'lib/c'),
      { path: 'lib/d', type: 'fifo' },
      file('lib/a/x'),
    ];
    expect(await codeOf(read(...payload))).toBe('no error');
  });

  it.each(['fifo', 'character-device', 'block-device'] as const)('refuse a %s', async (type) => {
    expect(await codeOf(read({ path: 'info/x', type }))).toBe('ARCHIVE_MEMBER_TYPE');
  });

  it('refuse a file or a link in place of info/', async () => {
    expect(await codeOf(read(file('info')))).toBe('ARCHIVE_MEMBER_TYPE');
    expect(await codeOf(read(symlink('info', 'lib')))).toBe('ARCHIVE_MEMBER_TYPE');
    expect(await codeOf(read(directory('info')))).toBe('no error');
  });

  it('refuse more than the limits', async () => {
    const mebibyte = new Uint8Array(1024 * 1024);
    const copies = Array.from({ length: 256 }, (_, index) => hardlink(`info/c${index}`, 'info/a'));
    const tooMuch: [string, TarMember[]][] = [
      ['declared', [{ path: 'info/x', declaredSize: 2 ** 29 }]],
      ['copied by hard links', [{ path: 'info/a', content: mebibyte }, ...copies]],
      ['deep', [file(`info/${'d/'.repeat(130)}x`)]],
      ['long', [file(`info/${'d'.repeat(5000)}`)]],
      ['a long target', [symlink('info/a', 'd/'.repeat(3000))]],
      ['many links', steepLinks()],
    ];
    for (const [what, members] of tooMuch) {
      expect(await codeOf(read(...members)), what).toBe('ARCHIVE_LIMIT_EXCEEDED');
    }
    const bytes = tarBz2Archive({ ...spec, indexContent: new Uint8Array(5 * 1024 * 1024).fill(0x20) });
    expect(await codeOf(readInfo({ bytes }, 'tar.bz2'))).toBe('ARCHIVE_LIMIT_EXCEEDED');
  });

  it('need a file index.json', async () => {
    const link = symlink('info/index.json', 'about.json');
    expect(await codeOf(read(link))).toBe('ARCHIVE_INDEX_MISSING');
  });
});

/** Links of which each leads a long way round to the one before. */
function steepLinks(): TarMember[] {
  const around = 'd/../'.repeat(700);
  return Array.from({ length: 300 }, (_, index) => symlink(`info/l${index}`, `${around}l${index - 1}`));
}
