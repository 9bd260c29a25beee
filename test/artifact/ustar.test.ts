import { execFileSync } from 'node:child_process';
import { lstat, mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { extract, type Header } from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { writeUstar, type TarMember } from '#ferry/artifact/ustar.js';
import { tempFolder } from '../support/temp.js';

interface ReadMember {
  readonly header: Header;
  readonly content: Buffer;
}

/** Reads with another implementation. */
async function readTar(tar: Uint8Array): Promise<ReadMember[]> {
  const reader = extract();
  const members: ReadMember[] = [];
  reader.end(tar);
  for await (const entry of reader) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    members.push({ header: entry.header, content: Buffer.concat(chunks) });
  }
  return members;
}

function file(path: string, content: string | Uint8Array = `content of ${path}\n`, mode = 0o644): TarMember {
  return { path, mode, type: 'file', bytes: Buffer.from(content) };
}

function symlink(path: string, target: string): TarMember {
  return { path, mode: 0o755, type: 'symlink', target };
}

/** A path of so many bytes whose components are at most `width` long, to be creatable on a disk. */
function pathOf(length: number, width = 50): string {
  return Array.from({ length }, (_, i) => (i % (width + 1) === width && i < length - 1 ? '/' : 'p')).join('');
}

const LENGTHS = [1, 99, 100, 101, 102, 154, 155, 156, 157, 200, 255, 256, 257, 300, 600];
const NAMES = [
  ...LENGTHS.map((length) => pathOf(length)),
  // One component that no prefix takes, a prefix of 155 and of 156 bytes, a name of 100 and of 101.
  'n'.repeat(101),
  'n'.repeat(200),
  `${pathOf(155)}/${'n'.repeat(100)}`,
  `${pathOf(155)}/${'m'.repeat(101)}`,
  `${pathOf(156, 51)}/${'n'.repeat(99)}`,
  `d/${'n'.repeat(100)}`,
  `d/${'n'.repeat(101)}`,
  // The 100th byte is a slash.
  `${'s'.repeat(99)}/${'t'.repeat(180)}`,
  'ünïcode/日本語.txt',
  `${'é'.repeat(49)}x`,
  'é'.repeat(50),
  `é/${pathOf(255)}`,
  'a b/with space',
  'back\\slash',
  'line\nend',
  '-dash',
];

function expectMembers(read: readonly ReadMember[], written: readonly TarMember[]): void {
  expect(read.map(({ header }) => header.name)).toEqual(written.map(({ path }) => path));
  written.forEach((member, i) => {
    const { header, content } = read[i]!;
    expect(header).toMatchObject({
      type: member.type,
      mode: member.mode,
      uid: 0,
      gid: 0,
      uname: '',
      gname: '',
      mtime: new Date(0),
    });
    if (member.type === 'symlink') expect(header.linkname).toBe(member.target);
    else expect(content.equals(member.bytes)).toBe(true);
  });
}

/** Unpacks with the system's tar. */
async function unpack(tar: Uint8Array): Promise<string> {
  const folder = await tempFolder();
  const archive = join(folder, 'archive.tar');
  const target = join(folder, 'unpacked');
  await mkdir(target);
  await writeFile(archive, tar);
  execFileSync('tar', ['-xf', archive, '-C', target], { env: { ...process.env, LC_ALL: 'C.UTF-8' } });
  return target;
}

describe('another reader finds what was written', () => {
  test.each(NAMES)('path %s', async (path) => {
    const members = [file(path), symlink(`${path}.link`, 'target'), file('after', 'x', 0o755)];
    expectMembers(await readTar(writeUstar(members)), members);
  });

  test.each([...LENGTHS.map((length) => 'l'.repeat(length)), 'zïel', '/'.repeat(120), '../a b'])(
    'link target %s',
    async (target) => {
      const members = [symlink('link', target), file('after')];
      expectMembers(await readTar(writeUstar(members)), members);
    },
  );

  test.each([0, 1, 511, 512, 513, 1024, 100_000])('file of %i bytes', async (size) => {
    const members = [file('a', Buffer.alloc(size, 0xab)), file('b', 'end')];
    const tar = writeUstar(members);
    expectMembers(await readTar(tar), members);
    expect(tar.byteLength).toBe(512 * (1 + Math.ceil(size / 512) + 2 + 2));
  });

  test('any paths, targets and contents', async () => {
    const component = fc.string({
      unit: fc.constantFrom('a', 'B', '.', '-', ' ', 'é', '日', '😀'),
      minLength: 1,
      maxLength: 60,
    });
    const path = fc.array(component, { minLength: 1, maxLength: 8 }).map((parts) => parts.join('/'));
    const member: fc.Arbitrary<TarMember> = fc.oneof(
      fc.record({
        path,
        mode: fc.constantFrom(0o644, 0o755),
        type: fc.constant('file' as const),
        bytes: fc.uint8Array({ maxLength: 1100 }),
      }),
      fc.record({ path, mode: fc.constant(0o755), type: fc.constant('symlink' as const), target: path }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(member, { maxLength: 5 }), async (members) => {
        const tar = writeUstar(members);
        expect(tar.byteLength % 512).toBe(0);
        expectMembers(await readTar(tar), members);
      }),
      { numRuns: 200 },
    );
  });
});

describe("the system's tar finds what was written", () => {
  test('every path and file', async () => {
    // A folder and a file cannot have one name, so each path gets a folder of its own.
    const members = NAMES.map((path, i) => file(`${i}/${path}`));
    const folder = await unpack(writeUstar([...members, file('executable', '#!/bin/sh\n', 0o755)]));
    for (const member of members) {
      expect(await readFile(join(folder, member.path), 'utf8')).toBe(
        Buffer.from((member as { bytes: Uint8Array }).bytes).toString(),
      );
    }
    expect((await lstat(join(folder, 'executable'))).mode & 0o777).toBe(0o755);
    expect((await lstat(join(folder, 'executable'))).mtimeMs).toBe(0);
    expect(await readdir(folder)).toHaveLength(NAMES.length + 1);
  });

  test('every link', async () => {
    const targets = [...LENGTHS.map((length) => 'l'.repeat(length)), 'zïel', '../up'];
    const folder = await unpack(writeUstar(targets.map((target, i) => symlink(`link${i}`, target))));
    for (const [i, target] of targets.entries())
      expect(await readlink(join(folder, `link${i}`))).toBe(target);
  });

  test('every size', async () => {
    const sizes = [0, 511, 512, 513];
    const folder = await unpack(writeUstar(sizes.map((size) => file(String(size), Buffer.alloc(size, 1)))));
    for (const size of sizes) expect((await lstat(join(folder, String(size)))).size).toBe(size);
  });
});

/** A header as POSIX lays it out, in text; `~` stands for NUL. The checksums in here are those of GNU tar. */
function headerOf(fields: {
  name: string;
  mode?: string;
  size: string;
  checksum: string;
  type: string;
  link?: string;
  prefix?: string;
}): Buffer {
  const at: readonly (readonly [number, string])[] = [
    [0, fields.name],
    [100, fields.mode ?? '0000644~'],
    [108, '0000000~0000000~'],
    [124, `${fields.size}~`],
    [136, '00000000000~'],
    [148, `${fields.checksum}~ `],
    [156, fields.type],
    [157, fields.link ?? ''],
    [257, 'ustar~00'],
    [329, '0000000~0000000~'],
    [345, fields.prefix ?? ''],
  ];
  const block = Buffer.alloc(512);
  for (const [offset, text] of at) block.write(text.replaceAll('~', '\0'), offset, 'latin1');
  return block;
}

describe('pax: each byte is fixed', () => {
  test('of a file', () => {
    const tar = writeUstar([file('index.json', '{}')]);
    const header = headerOf({ name: 'index.json', size: '00000000002', checksum: '011177', type: '0' });
    expect(
      Buffer.from(tar).equals(Buffer.concat([header, Buffer.from('{}'), Buffer.alloc(510 + 1024)])),
    ).toBe(true);
    // What GNU tar --format=ustar --numeric-owner --owner=0 --group=0 --mtime=@0 writes.
    expect(Buffer.from(tar.subarray(100, 157)).toString('hex')).toBe(
      '303030303634340030303030303030003030303030303000303030303030303030303200' +
        '303030303030303030303000303131313737002030',
    );
  });

  test('of a symlink', () => {
    const tar = Buffer.from(writeUstar([symlink('a', 'b')]));
    const header = headerOf({
      name: 'a',
      mode: '0000755~',
      size: '00000000000',
      checksum: '007505',
      type: '2',
      link: 'b',
    });
    expect(tar.subarray(0, 512).toString('hex')).toBe(header.toString('hex'));
    expect(tar).toHaveLength(512 + 1024);
  });

  test('of a path that is split', () => {
    const tar = Buffer.from(writeUstar([file(`${'p'.repeat(60)}/${'n'.repeat(60)}`, '')]));
    const header = headerOf({
      name: 'n'.repeat(60),
      prefix: 'p'.repeat(60),
      size: '00000000000',
      checksum: '041205',
      type: '0',
    });
    expect(tar.subarray(0, 512).toString('hex')).toBe(header.toString('hex'));
  });

  test('of a name of 100 bytes, which has no room for a NUL', () => {
    const tar = Buffer.from(writeUstar([file('n'.repeat(100), '')]));
    expect(tar.subarray(0, 101).toString('latin1')).toBe(`${'n'.repeat(100)}0`);
    expect(tar).toHaveLength(512 + 1024);
  });

  test('of a path for which ustar has no room', () => {
    const path = 'é'.repeat(3);
    const tar = Buffer.from(writeUstar([file(path, '')]));
    expect(tar.subarray(0, 14).toString()).toBe('././@PaxHeader');
    expect(tar.subarray(156, 157).toString()).toBe('x');
    expect(tar.subarray(512, 528).toString()).toBe('15 path=éééx'.replace('x', '\n\0'));
    expect(tar.subarray(1024, 1028).toString()).toBe('???\0');
    expect(tar).toHaveLength(3 * 512 + 1024);
  });

  test.each([1, 2, 3, 10])(
    'a record counts its own length, also where a digit more makes it longer (%i)',
    async (count) => {
      for (let length = 80; length < 110; length += 1) {
        const target = 'é'.repeat(count) + 'x'.repeat(length);
        const [read] = await readTar(writeUstar([symlink('l', target)]));
        expect(read?.header.linkname).toBe(target);
        expect(read?.header.pax).toEqual({ linkpath: target });
      }
    },
  );

  test('of nothing', () => {
    expect(Buffer.from(writeUstar([])).equals(Buffer.alloc(1024))).toBe(true);
  });
});
