import { readTar, type TarMember } from '#ferry/conda/archive/tar.js';
import { describe, expect, it } from 'vitest';
import { concat, incompressible } from '../../../fixtures/build/bytes.mjs';
import { writeTar } from '../../../fixtures/build/tar.mjs';
import { codeOf } from './streams.js';

type Read = { member: TarMember; content: Uint8Array };

/** Chunks that stay as they are, as unpackers give them. */
async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void> {
  for (let offset = 0; offset < bytes.byteLength; offset += size) yield bytes.slice(offset, offset + size);
}

async function read(tar: Uint8Array, size = 65536): Promise<Read[]> {
  const found: Read[] = [];
  await readTar(chunksOf(tar, size), (member) => {
    const chunks: Uint8Array[] = [];
    return {
      write: (chunk) => chunks.push(chunk.slice()),
      end: () => found.push({ member, content: concat(chunks) }),
    };
  });
  return found;
}

async function names(tar: Uint8Array, size?: number): Promise<string[]> {
  return (await read(tar, size)).map(({ member }) => member.name);
}

/** Changes header fields of a tar's member, and makes its checksum right again. */
function patch(
  tar: Uint8Array,
  fields: Readonly<Record<number, string | Uint8Array>>,
  header = 0,
): Uint8Array {
  const changed = tar.slice();
  const block = changed.subarray(header, header + 512);
  for (const [offset, value] of Object.entries(fields)) {
    block.set(typeof value === 'string' ? new TextEncoder().encode(value) : value, Number(offset));
  }
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, '0')}\0 `), 148);
  return changed;
}

const longName = `info/${'folder/'.repeat(40)}é.txt`;
const members = [
  { path: './info/a', content: 'a' },
  { path: 'lib', type: 'directory' as const },
  { path: 'lib/noise', content: incompressible(5000) },
  { path: longName, content: 'long' },
  { path: 'info/empty', mode: 0o755 },
  { path: 'info/link', type: 'symlink' as const, target: `${'x/'.repeat(80)}y` },
  { path: 'info/hard', type: 'hardlink' as const, target: 'info/a' },
  { path: 'info/pipe', type: 'fifo' as const },
];

describe('readTar', () => {
  it.each(['pax', 'gnu'] as const)(
    'reads members and long names of %s in chunks of any size',
    async (longNames) => {
      const tar = writeTar(members, { longNames });
      for (const size of [1, 100, 511, 512, 513, 700, 1024, 1025, tar.byteLength]) {
        const found = await read(tar, size);
        expect(found.map(({ member }) => member.name.replace(/\/$/, ''))).toEqual(
          members.map(({ path }) => path),
        );
        expect(found.map(({ member }) => member.type).join()).toBe(
          'file,directory,file,file,file,symlink,link,other',
        );
        expect(found[2]?.content).toEqual(incompressible(5000));
        expect(found[4]?.member.mode).toBe(0o755);
        expect(found[5]?.member.linkTarget).toBe(`${'x/'.repeat(80)}y`);
        expect(found[6]?.member.linkTarget).toBe('info/a');
      }
    },
  );

  it('reads v7, whose directories are files with a slash, and sizes in base 256', async () => {
    const tar = writeTar([
      { path: 'info/', content: '' },
      { path: 'info/a', content: 'abc' },
    ]);
    const v7 = [0, 512].reduce((bytes, at) => patch(bytes, { 257: new Uint8Array(255) }, at), tar);
    const binary = patch(v7, { 124: Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3) }, 512);
    for (const bytes of [v7, binary]) {
      const found = await read(bytes);
      expect(found.map(({ member }) => member.type)).toEqual(['directory', 'file']);
      expect(found[1]?.content).toEqual(new TextEncoder().encode('abc'));
    }
  });

  it('takes one block of zeros for the end, and ignores what follows', async () => {
    const tar = writeTar([{ path: 'info/a', content: 'a' }], { end: false });
    const other = writeTar([{ path: 'info/b', content: 'b' }]);
    for (const rest of [new Uint8Array(512), new Uint8Array(10240)]) {
      for (const garbage of [new Uint8Array(), incompressible(3000), other, Uint8Array.of(1)]) {
        for (const size of [1, 512, 100_000]) {
          expect(await names(concat([tar, rest, garbage]), size)).toEqual(['info/a']);
        }
      }
    }
    expect(await names(tar)).toEqual(['info/a']);
    expect(await names(new Uint8Array(1024))).toEqual([]);
    expect(await names(new Uint8Array())).toEqual([]);
  });

  it('does not take zeros inside a long name for the end', async () => {
    const name = `info/${'n'.repeat(1019)}`;
    for (const size of [1, 512, 5000]) {
      expect(await names(writeTar([{ path: name }, { path: 'b' }], { longNames: 'gnu' }), size)).toEqual([
        name,
        'b',
      ]);
    }
  });

  it('tells a tar that ends inside a header, a long name, or content', async () => {
    const tar = writeTar(
      [
        { path: 'a', content: 'a' },
        { path: longName, content: 'long' },
      ],
      { end: false },
    );
    for (let length = 1; length < tar.byteLength; length += 37) {
      const expected = length === 1024 ? 'no error' : 'ARCHIVE_TRUNCATED';
      expect(await codeOf(read(tar.subarray(0, length), 700)), `cut to ${length}`).toBe(expected);
    }
    expect(await codeOf(read(tar.subarray(0, 1024)))).toBe('no error');
    // A long name without its member.
    expect(await codeOf(read(tar.subarray(0, 2048)))).toBe('ARCHIVE_TRUNCATED');
  });

  it('tells wrong headers', async () => {
    const good = { path: 'a', content: 'a' };
    expect(await codeOf(read(writeTar([{ ...good, wrongChecksum: true }])))).toBe('ARCHIVE_CORRUPT');
    expect(await codeOf(read(writeTar([good, { ...good, wrongChecksum: true }])))).toBe('ARCHIVE_CORRUPT');
    expect(await codeOf(read(writeTar([{ ...good, pax: { size: '-1' } }])))).toBe('ARCHIVE_CORRUPT');
    expect(await codeOf(read(writeTar([{ ...good, pax: { size: 'x' } }])))).toBe('ARCHIVE_CORRUPT');
    const link = writeTar([{ path: 'l', type: 'symlink', target: 'a', declaredSize: 512 }, good]);
    expect(await codeOf(read(link))).toBe('ARCHIVE_CORRUPT');
  });

  it('goes on behind a directory that declares a size', async () => {
    const tar = writeTar([
      { path: 'd', type: 'directory', declaredSize: 700 },
      { path: 'd/a', content: 'a' },
    ]);
    for (const size of [512, 100_000]) expect(await names(tar, size)).toEqual(['d/', 'd/a']);
  });

  it('is not led astray by headers that tar-stream misreads', async () => {
    const long = writeTar([
      { path: longName, content: 'abc' },
      { path: 'b', content: 'b' },
    ]);
    const sizes = ['00000000000\0', '-0000000512\0', 'xxxxxxxxxxx\0', '\u00fd0000000000\0', '77777777777\0'];
    for (const text of sizes) {
      const size = Buffer.from(text, 'latin1');
      for (const chunk of [512, 100_000]) {
        // Of the pax header, and of the member behind it.
        expect(await codeOf(read(patch(long, { 124: size }), chunk)), text).toMatch(/CORRUPT|TRUNCATED/);
        const member = await codeOf(read(patch(long, { 124: size }, 1024), chunk));
        expect(member, text).toMatch(
          text.startsWith('0') ? /CORRUPT|TRUNCATED|no error/ : /CORRUPT|TRUNCATED/,
        );
      }
    }
    const forAll = patch(writeTar([{ path: 'a', pax: { path: 'b' } }]), { 156: 'g' });
    expect(await codeOf(read(forAll))).toBe('ARCHIVE_CORRUPT');
    const sparse = writeTar([{ path: 'a', pax: { 'GNU.sparse.name': 'b' } }]);
    expect((await read(sparse))[0]?.member.type).toBe('other');
    const fifo = writeTar([{ path: 'a', type: 'fifo', declaredSize: 3 }]);
    expect(await codeOf(read(fifo))).toBe('ARCHIVE_CORRUPT');
  });

  it('passes on what a visitor throws', async () => {
    const failure = new Error('enough');
    const tar = writeTar([{ path: 'a', content: 'a' }]);
    const refuse = (): never => {
      throw failure;
    };
    await expect(readTar(chunksOf(tar, 512), refuse)).rejects.toBe(failure);
    await expect(readTar(chunksOf(tar, 5000), refuse)).rejects.toBe(failure);
    await expect(readTar(chunksOf(tar, 512), () => ({ write: refuse, end: () => undefined }))).rejects.toBe(
      failure,
    );
    await expect(readTar(chunksOf(tar, 512), () => ({ write: () => undefined, end: refuse }))).rejects.toBe(
      failure,
    );
  });

  it('passes on what the source throws', async () => {
    const failure = new Error('gone');
    async function* source(): AsyncGenerator<Uint8Array, void> {
      yield writeTar([{ path: 'a', content: 'a' }], { end: false });
      throw failure;
    }
    await expect(readTar(source(), () => undefined)).rejects.toBe(failure);
  });
});
