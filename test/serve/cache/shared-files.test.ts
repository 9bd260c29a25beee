import { open, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { digestOf } from '#ferry/io/digest.js';
import { openedFile } from '#ferry/io/opened-file.js';
import { SharedFiles } from '#ferry/serve/cache/shared-files.js';
import { tempFolder } from '../../support/temp.js';

/** A file, and how often it was opened. */
async function setUp() {
  const path = join(await tempFolder(), 'file');
  await writeFile(path, 'bytes');
  const files = new SharedFiles();
  onTestFinished(() => files[Symbol.asyncDispose]());
  let count = 0;
  const openOnce = async () => {
    count += 1;
    return openedFile(await open(path));
  };
  const get = () => files.open(digestOf(Buffer.from('bytes')), openOnce);
  return { path, files, get, count: () => count, openOnce };
}

test('a file that several want within a moment is opened once, and read by each', async () => {
  const { get, count } = await setUp();
  const [first, second] = [await get(), await get()];
  expect(count()).toBe(1);
  await first?.[Symbol.asyncDispose]();
  await first?.[Symbol.asyncDispose]();
  const target = Buffer.alloc(8);
  expect(await second?.read(target, 0)).toBe(5);
  await second?.[Symbol.asyncDispose]();
});

test.each([
  [
    'written to',
    async (path: string) => {
      await writeFile(path, 'other');
      // The clock of a file system may not have ticked since.
      await utimes(path, 1, 1);
    },
  ],
  ['gone', async (path: string) => rm(path).then(() => writeFile(path, 'bytes'))],
])('one that was %s is opened anew', async (_what, change) => {
  const { path, get, count } = await setUp();
  const first = await get();
  await change(path);
  await using second = await get();
  expect(second?.size).toBe(5);
  expect(count()).toBe(2);
  await first?.[Symbol.asyncDispose]();
});

test('where handles are scarce, none are kept', async () => {
  const { files, get, openOnce } = await setUp();
  await (await get())?.[Symbol.asyncDispose]();
  let isFull = true;
  const opened = await files.open(digestOf(Buffer.from('x')), async () => {
    if (isFull) {
      isFull = false;
      throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    }
    return openOnce();
  });
  expect(opened?.size).toBe(5);
  await opened?.[Symbol.asyncDispose]();
});
