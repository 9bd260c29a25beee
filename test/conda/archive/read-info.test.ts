import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { archiveExtensionOf } from '#ferry/conda/names.js';
import { checkIndexJson, parseIndexJson } from '#ferry/conda/archive/index-json.js';
import { readInfo, type ArchiveInfo } from '#ferry/conda/archive/read-info.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { condaArchive, tarBz2Archive } from '../../../fixtures/build/archive.mjs';
import { bzip2 } from '../../../fixtures/build/bzip2.mjs';
import { concat, incompressible } from '../../../fixtures/build/bytes.mjs';
import { writeTar } from '../../../fixtures/build/tar.mjs';
import { zstdOfZeros } from '../../../fixtures/build/zstd.mjs';
import { codeOf } from './streams.js';

const root = join(import.meta.dirname, '../../..');
const spec = { name: 'ferry', version: '1.0', build: '0', subdir: 'noarch' };

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ferry-archive-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** All archives of a fixture channel, as `subdir/filename`. */
async function archivesOf(channel: string): Promise<string[]> {
  const files = await readdir(join(root, 'fixtures', channel), { recursive: true });
  return files
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => archiveExtensionOf(file) !== undefined);
}

/** Reads a fixture, both ways, and checks its index against where it lies. */
async function readFixture(channel: string, archive: string): Promise<ArchiveInfo> {
  const path = join(root, 'fixtures', channel, archive);
  const [subdir = '', filename = ''] = archive.split('/');
  const format = archiveExtensionOf(filename) ?? 'conda';
  const info = await readInfo({ path }, format);
  expect(await readInfo({ bytes: await readFile(path) }, format)).toEqual(info);
  const [, name = '', version = '', build = ''] =
    /^(.*)-([^-]*)-([^-]*?)\.(?:conda|tar\.bz2)$/.exec(filename) ?? [];
  checkIndexJson(parseIndexJson(info.indexJson), { filename, name, version, build, subdir });
  return info;
}

function paths(info: ArchiveInfo): string[] {
  return info.members.map(({ path }) => path);
}

/** A `.tar.bz2` of that many times 8 MiB of payload, with `info/index.json` behind it, in as many streams. */
function largeArchive(pieces: number): Uint8Array {
  const piece = incompressible(2 ** 23).map((byte, index) => (index % 16 === 0 ? byte : 0));
  const payload = { path: 'lib/large', declaredSize: pieces * piece.byteLength };
  const index = { path: 'info/index.json', content: '{"name":"large"}' };
  const head = bzip2(writeTar([payload], { end: false }));
  return concat([head, ...Array<Uint8Array>(pieces).fill(bzip2(piece)), bzip2(writeTar([index]))]);
}

describe('readInfo', async () => {
  const malformed = await archivesOf('malformed');
  const expected = JSON.parse(
    await readFile(join(root, 'fixtures/malformed/expected.json'), 'utf8'),
  ) as Record<string, { readonly code: string }>;

  it.each(malformed)('gives its code for malformed/%s', async (archive) => {
    const code = expected[archive]?.code ?? 'no error';
    // A wrong digest is for those to see who know the right one.
    expect(await codeOf(readFixture('malformed', archive))).toBe(
      code.startsWith('ARCHIVE_') ? code : 'no error',
    );
  });

  it.each(await archivesOf('channel'))('reads channel/%s', async (archive) => {
    const info = await readFixture('channel', archive);
    expect(paths(info)).toEqual(expect.arrayContaining(['about.json', 'files', 'index.json', 'paths.json']));
    expect(info.stem).toBe(archive.endsWith('.conda') ? /([^/]*)\.conda$/.exec(archive)?.[1] : undefined);
  });

  it('gives the bytes of index.json as they are, wherever it stands', async () => {
    const indexContent = '{ "name":"ferry","version":"1.0","build":"0","build":"0" }\r\n';
    const last = { ...spec, indexContent, arrange: <T>(members: readonly T[]) => [...members].reverse() };
    for (const info of [
      await readInfo({ bytes: condaArchive(last) }, 'conda'),
      await readInfo({ bytes: tarBz2Archive(last) }, 'tar.bz2'),
    ]) {
      expect(new TextDecoder().decode(info.indexJson)).toBe(indexContent);
    }
  });

  it('reads only the info tarball of a .conda', async () => {
    const zip = {
      entries: <T extends { name: string; bytes: Uint8Array }>(entries: readonly T[]) =>
        entries.map((entry) =>
          entry.name.startsWith('pkg-') ? { ...entry, bytes: new Uint8Array(9) } : entry,
        ),
    };
    expect(paths(await readInfo({ bytes: condaArchive({ ...spec, zip }) }, 'conda'))).toContain('index.json');
  });

  it('finds any cut of either format', async () => {
    const conda = condaArchive(spec);
    for (let length = 0; length < conda.byteLength; length += 7) {
      const code = await codeOf(readInfo({ bytes: conda.subarray(0, length) }, 'conda'));
      expect(code, `cut to ${length}`).toBe(length === 0 ? 'ARCHIVE_EMPTY' : 'ARCHIVE_TRUNCATED');
    }
    const tarBz2 = tarBz2Archive(spec);
    for (let length = 0; length < tarBz2.byteLength; length += 7) {
      const code = await codeOf(readInfo({ bytes: tarBz2.subarray(0, length) }, 'tar.bz2'));
      expect(code, `cut to ${length}`).toBe(length === 0 ? 'ARCHIVE_EMPTY' : 'ARCHIVE_TRUNCATED');
    }
  });

  it('stops what expands too far, wherever the bytes would go', async () => {
    // Both need next to no bytes for the zeros, which no member of info/ holds.
    const payload = { path: 'lib/zeros', declaredSize: 300_000_000 };
    const head = writeTar([{ path: 'info/index.json', content: '{}' }, payload], { end: false });
    const compress = () =>
      concat([bzip2(head), ...Array<Uint8Array>(6).fill(bzip2([{ zeros: 50_000_000 }]))]);
    const tarBz2 = tarBz2Archive({ ...spec, bzip2: { compress } });
    expect(await codeOf(readInfo({ bytes: tarBz2 }, 'tar.bz2'))).toBe('ARCHIVE_LIMIT_EXCEEDED');

    const compressInfo = (tar: Uint8Array) => zstdOfZeros([tar, { zeros: 100_000_000 }]);
    const conda = condaArchive({ ...spec, zip: { compressInfo } });
    expect(await codeOf(readInfo({ bytes: conda }, 'conda'))).toBe('ARCHIVE_LIMIT_EXCEEDED');
  });

  it('stops when told to', async () => {
    const bytes = largeArchive(8);
    const path = join(folder, 'aborted.tar.bz2');
    await writeFile(path, bytes);
    for (const location of [{ bytes }, { path }]) {
      const reason = new Error('no longer wanted');
      const early = readInfo(location, 'tar.bz2', { signal: AbortSignal.abort(reason) });
      await expect(early).rejects.toBe(reason);
      const controller = new AbortController();
      const running = readInfo(location, 'tar.bz2', { signal: controller.signal });
      setTimeout(() => {
        controller.abort(reason);
      }, 20);
      await expect(running).rejects.toBe(reason);
    }
  });

  it('leaves an error of the disk as it is', async () => {
    expect(await codeOf(readInfo({ path: join(folder, 'none.conda') }, 'conda'))).toBe('ENOENT');
    expect(await codeOf(readInfo({ path: folder }, 'conda'))).toBe('EISDIR');
  });

  it('reads a large .tar.bz2 in little memory', async () => {
    const path = join(folder, 'large.tar.bz2');
    await writeFile(path, largeArchive(24));
    const script = `
      import { readInfo } from '#ferry/conda/archive/read-info.js';
      const before = process.memoryUsage().rss;
      const { members } = await readInfo({ path: ${JSON.stringify(path)} }, 'tar.bz2');
      const mebibytes = (process.resourceUsage().maxRSS * 1024 - before) / 2 ** 20;
      console.log(JSON.stringify({ members: members.length, mebibytes }));`;
    const run = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: root,
    });
    const result = JSON.parse(run.stdout) as { members: number; mebibytes: number };
    expect(result.members).toBe(1);
    expect(result.mebibytes).toBeLessThan(150);
  }, 30_000);
});
