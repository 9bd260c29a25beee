import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { openBlobFolder } from '#ferry/image-layout/blob-folder.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { openerOf } from '#ferry/io/bytes.js';
import { digestHex } from '#ferry/io/digest.js';
import type { BlobFolder, FolderBlob } from '#ferry/oci/blob-folder.js';
import type { OpenedBytes } from '#ferry/io/opened-bytes.js';
import { artifactOf, contentOf, pushArtifact, rejection, type Content } from '../contracts/artifacts.js';
import { tempFolder } from '../support/temp.js';

const blob = contentOf('0123456789');
const other = contentOf('other');

let path: string;
let folder: BlobFolder;

beforeEach(async () => {
  path = join(await tempFolder(), 'cache');
  folder = openBlobFolder(path);
});

async function write({ descriptor, bytes }: Content): Promise<void> {
  await folder.write(descriptor, openerOf(bytes));
}

async function listed(from = folder): Promise<FolderBlob[]> {
  const found: FolderBlob[] = [];
  for await (const each of from.blobs()) found.push(each);
  return found.sort((a, b) => a.size - b.size);
}

async function textOf(opened: OpenedBytes | undefined): Promise<string | undefined> {
  if (opened === undefined) return undefined;
  await using held = opened;
  const target = Buffer.alloc(held.size);
  return target.toString('utf8', 0, await held.read(target, 0));
}

const pathOf = ({ descriptor }: Content): string =>
  join(path, 'blobs', 'sha256', digestHex(descriptor.digest));

test('reading makes nothing', async () => {
  expect(await listed()).toEqual([]);
  expect(await folder.open(blob.descriptor.digest)).toBeUndefined();
  await folder.remove(blob.descriptor.digest);
  await folder.touch(blob.descriptor.digest);
  expect(await rejection(stat(path))).toMatchObject({ code: 'ENOENT' });
});

test('the first write makes an image layout that lists nothing, and any tool may read it', async () => {
  await write(blob);
  expect((await readdir(path)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  expect(JSON.parse(await readFile(join(path, 'index.json'), 'utf8'))).toMatchObject({ manifests: [] });
  expect(await textOf(await folder.open(blob.descriptor.digest))).toBe('0123456789');
  expect(await listed()).toMatchObject([{ digest: blob.descriptor.digest, size: 10 }]);
});

test('where the size is not known, the digest decides, up to a limit', async () => {
  const { digest } = blob.descriptor;
  const open = openerOf(blob.bytes);
  expect(await folder.write({ digest, size: undefined }, open)).toEqual({ size: 10 });
  const wrong = folder.write({ digest: other.descriptor.digest, size: undefined }, open);
  expect(await rejection(wrong)).toMatchObject({ code: 'DIGEST_MISMATCH' });
  const large = folder.write({ digest, size: undefined, maxBytes: 9 }, open);
  expect(await rejection(large)).toMatchObject({ code: 'SIZE_EXCEEDED' });
  expect(await listed()).toHaveLength(1);
});

test('bytes that are wrong leave nothing behind', async () => {
  const writing = folder.write(blob.descriptor, openerOf(Buffer.from('9876543210')));
  expect(await rejection(writing)).toMatchObject({ code: 'DIGEST_MISMATCH' });
  expect(await readdir(join(path, 'blobs', 'sha256'))).toEqual([]);
});

test('what is open stays readable when it is removed; removing twice is no error', async () => {
  await write(blob);
  await using opened = await folder.open(blob.descriptor.digest);
  await folder.remove(blob.descriptor.digest);
  await folder.remove(blob.descriptor.digest);
  expect(await folder.open(blob.descriptor.digest)).toBeUndefined();
  expect(await opened?.read(Buffer.alloc(10), 0)).toBe(10);
});

test('a folder that is deleted while in use is made anew', async () => {
  await write(blob);
  await rm(path, { recursive: true });
  expect(await listed()).toEqual([]);
  expect(await folder.open(blob.descriptor.digest)).toBeUndefined();
  await write(other);
  expect((await readdir(path)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  expect(await textOf(await folder.open(other.descriptor.digest))).toBe('other');
});

test('a blob that is touched counts as used now', async () => {
  await write(blob);
  await utimes(pathOf(blob), 1, 1);
  expect((await listed())[0]?.usedAt).toBe(1000);
  await folder.touch(blob.descriptor.digest);
  expect(Date.now() - Number((await listed())[0]?.usedAt)).toBeLessThan(60_000);
});

test('the same state of a file has the same identity, another one another', async () => {
  await write(blob);
  const identity = async (): Promise<string | undefined> => {
    await using opened = await folder.open(blob.descriptor.digest);
    return opened?.identity;
  };
  const first = await identity();
  expect(await identity()).toBe(first);
  await utimes(pathOf(blob), 1, 1);
  const second = await identity();
  await writeFile(pathOf(blob), '9876543210');
  expect(new Set([first, second, await identity()]).size).toBe(3);
});

test('what dead writers left is swept, what else lies there is passed over', async () => {
  await write(blob);
  const blobs = join(path, 'blobs', 'sha256');
  await writeFile(join(blobs, '.tmp-dead'), '');
  await utimes(join(blobs, '.tmp-dead'), 1, 1);
  await writeFile(join(blobs, '.tmp-alive'), '');
  await writeFile(join(blobs, 'README'), '');
  await mkdir(join(blobs, digestHex(other.descriptor.digest)));
  expect(await listed()).toHaveLength(1);
  expect(await folder.open(other.descriptor.digest)).toBeUndefined();
  expect((await readdir(blobs)).sort()).not.toContain('.tmp-dead');
  expect(await readdir(blobs)).toContain('.tmp-alive');
});

test('a layout that lists content is no cache, and is left alone', async () => {
  const root = await tempFolder();
  const artifact = artifactOf('a layer');
  await pushArtifact(openLayoutRegistry(root).repository('cache'), artifact, ['1']);
  const refused = openBlobFolder(join(root, 'cache'));
  const { digest } = artifact.manifest.descriptor;
  for (const call of [
    () => listed(refused),
    () => refused.open(digest),
    () => refused.remove(digest),
    () => refused.write(blob.descriptor, openerOf(blob.bytes)),
  ]) {
    expect(await rejection(call())).toMatchObject({ code: 'LAYOUT_INVALID' });
  }
  expect(await openLayoutRegistry(root).repository('cache').resolve('1')).toBeDefined();
});

test('a folder with other folders in it does not become a cache', async () => {
  await mkdir(join(path, 'documents'), { recursive: true });
  expect(await rejection(write(blob))).toMatchObject({ code: 'LAYOUT_INVALID' });
});

test('a link to the folder is the choice of the user', async () => {
  const target = join(await tempFolder(), 'target');
  await mkdir(target);
  await symlink(target, path);
  await write(blob);
  expect(await readdir(target)).toContain('oci-layout');
});

test('many write at once, also the same', async () => {
  const contents = Array.from({ length: 20 }, (_, index) => contentOf(randomBytes(index + 1)));
  await Promise.all([...contents, ...contents].map(write));
  expect((await listed()).map(({ size }) => size)).toEqual(contents.map(({ bytes }) => bytes.byteLength));
});

test('an abort leaves nothing', async () => {
  const reason = new Error('enough');
  const controller = new AbortController();
  const writing = folder.write(
    blob.descriptor,
    async function* () {
      yield await Promise.resolve(blob.bytes.subarray(0, 5));
      controller.abort(reason);
      yield blob.bytes.subarray(5);
    },
    { signal: controller.signal },
  );
  expect(await rejection(writing)).toBe(reason);
  expect(await readdir(join(path, 'blobs', 'sha256'))).toEqual([]);
});
