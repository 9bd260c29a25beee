import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { translateDiskError, writeFileAtomic, writeFully } from '#ferry/io/atomic-file.js';
import type { Bytes } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { tempFolder } from '../support/temp.js';

async function* chunksOf(...texts: string[]): Bytes {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text));
}

test('writes bytes at hand and bytes that come, making folders as needed', async () => {
  const folder = await tempFolder();
  await writeFileAtomic(join(folder, 'a/b/one'), Buffer.from('one'));
  await writeFileAtomic(join(folder, 'a/b/two'), chunksOf('t', '', 'wo'));
  await writeFileAtomic(join(folder, 'a/b/empty'), chunksOf());
  expect(await readFile(join(folder, 'a/b/one'), 'utf8')).toBe('one');
  expect(await readFile(join(folder, 'a/b/two'), 'utf8')).toBe('two');
  expect((await readdir(join(folder, 'a/b'))).sort()).toEqual(['empty', 'one', 'two']);
});

test('the old file stays whole until the new one is', async () => {
  const path = join(await tempFolder(), 'file');
  await writeFile(path, 'old');
  const seen: string[] = [];
  const look = async (): Promise<void> => void seen.push(await readFile(path, 'utf8'));
  const source = (async function* (): Bytes {
    await look();
    yield Buffer.from('ne');
    await look();
    yield Buffer.from('w');
  })();
  await writeFileAtomic(path, source, { beforeRename: look });
  await look();
  expect(seen).toEqual(['old', 'old', 'old', 'new']);
});

test.each<[string, (failure: Error) => Parameters<typeof writeFileAtomic>]>([
  [
    'bytes that break off',
    (failure) => [
      '',
      (async function* () {
        yield await Promise.resolve(Buffer.from('ne'));
        throw failure;
      })(),
    ],
  ],
  [
    'a refusal at the end',
    (failure) => ['', Buffer.from('new'), { beforeRename: () => Promise.reject(failure) }],
  ],
])('after %s the old file is there, and nothing else', async (_, argumentsFor) => {
  const folder = await tempFolder();
  const path = join(folder, 'file');
  await writeFile(path, 'old');
  const failure = new Error('no');
  const [, source, options] = argumentsFor(failure);
  expect(await rejection(writeFileAtomic(path, source, options))).toBe(failure);
  expect(await readFile(path, 'utf8')).toBe('old');
  expect(await readdir(folder)).toEqual(['file']);
});

test('a file that cannot take its place leaves nothing behind', async () => {
  const folder = await tempFolder();
  await mkdir(join(folder, 'taken/inside'), { recursive: true });
  const error = await rejection(writeFileAtomic(join(folder, 'taken'), Buffer.from('x')));
  expect(error).toMatchObject({ syscall: 'rename' });
  await writeFile(join(folder, 'file'), 'x');
  expect(await rejection(writeFileAtomic(join(folder, 'file/below'), Buffer.from('x')))).toMatchObject({
    code: 'ENOTDIR',
  });
  expect((await readdir(folder)).sort()).toEqual(['file', 'taken']);
});

test('many writers of one file leave one of their texts', async () => {
  const folder = await tempFolder();
  const path = join(folder, 'file');
  const texts = Array.from({ length: 10 }, (_, i) => String(i).repeat(1000));
  await Promise.all(
    texts.map((text) => writeFileAtomic(path, chunksOf(text.slice(0, 500), text.slice(500)))),
  );
  expect(texts).toContain(await readFile(path, 'utf8'));
  expect(await readdir(folder)).toEqual(['file']);
});

test.skipIf(process.platform === 'win32')('gives the mode that was asked for', async () => {
  const folder = await tempFolder();
  await chmod(folder, 0o700);
  await writeFileAtomic(join(folder, 'secret'), Buffer.from('x'), { mode: 0o600 });
  expect((await stat(join(folder, 'secret'))).mode & 0o777).toBe(0o600);
});

test('a full disk is one clear error that names the place', () => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const cause = Object.assign(new Error('write'), { code });
    const error = translateDiskError(cause, '/data/layout/blob');
    expect(error).toMatchObject({
      code: 'DISK_FULL',
      cause,
      hint: expect.stringContaining('--temp-dir') as string,
    });
    expect(String(error)).toContain('`/data/layout`');
  }
  const other = Object.assign(new Error('open'), { code: 'EACCES' });
  expect(translateDiskError(other, '/x')).toBe(other);
});

test.skipIf(process.platform !== 'linux')('a disk that is really full is told so', async () => {
  const file = await open('/dev/full', 'w');
  try {
    const error = translateDiskError(await rejection(writeFully(file, Buffer.alloc(10))), '/dev/full');
    expect(error).toMatchObject({ code: 'DISK_FULL' });
  } finally {
    await file.close();
  }
});

test('writeFully writes at a position or where the file stands', async () => {
  const path = join(await tempFolder(), 'file');
  const file = await open(path, 'w');
  await writeFully(file, Buffer.from('01'));
  await writeFully(file, Buffer.from('23'));
  await writeFully(file, Buffer.from('x'), 1);
  await writeFully(file, Buffer.alloc(0));
  await file.close();
  expect(await readFile(path, 'utf8')).toBe('0x23');
});
