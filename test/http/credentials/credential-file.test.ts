import { execFileSync } from 'node:child_process';
import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { getuid } from 'node:process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cacheFile, readCredentialFile } from '#ferry/http/credentials/credential-file.js';
import { tempFolder } from '../../support/temp.js';

test('a file is parsed once, and again once it has changed, been replaced or gone', async () => {
  const path = join(await tempFolder(), 'file');
  const parsed: string[] = [];
  const read = cacheFile(path, (text) => {
    parsed.push(text);
    return text;
  });
  expect(await read()).toBeUndefined();
  await writeFile(path, 'one');
  expect([await read(), await read(), await read()]).toEqual(['one', 'one', 'one']);
  expect(parsed).toEqual(['one']);
  await writeFile(`${path}.new`, 'two');
  await rename(`${path}.new`, path);
  expect([await read(), await read()]).toEqual(['two', 'two']);
  await rm(path);
  expect(await read()).toBeUndefined();
  await writeFile(path, 'two');
  expect(await read()).toBe('two');
  expect(parsed).toEqual(['one', 'two', 'two']);
});

test('a failure is not kept', async () => {
  const path = join(await tempFolder(), 'file');
  await writeFile(path, 'bad');
  let isRefused = true;
  const read = cacheFile(path, (text) => {
    if (isRefused) throw new Error('refused');
    return text;
  });
  await expect(read()).rejects.toThrow('refused');
  isRefused = false;
  expect(await read()).toBe('bad');
});

test('a pipe is read once', async () => {
  const path = join(await tempFolder(), 'pipe');
  execFileSync('mkfifo', [path]);
  const read = cacheFile(path, (text) => text);
  const first = read();
  await writeFile(path, 'through the pipe');
  expect(await first).toBe('through the pipe');
  expect(await read()).toBe('through the pipe');
});

test('what is not there is none, below a file too', async () => {
  const folder = await tempFolder();
  await writeFile(join(folder, 'file'), '');
  expect(await readCredentialFile(join(folder, 'no', 'such'))).toBeUndefined();
  expect(await readCredentialFile(join(folder, 'file', 'such'))).toBeUndefined();
});

test('a folder, no text and too much text are refused', async () => {
  const folder = await tempFolder();
  const refusal = async (path: string) =>
    readCredentialFile(path).then(
      () => 'read',
      (error: unknown) => error,
    );
  await mkdir(join(folder, 'folder'));
  await writeFile(join(folder, 'latin'), Buffer.from([0x61, 0xe4]));
  await writeFile(join(folder, 'large'), Buffer.alloc(1024 * 1024 + 1, 32));
  await writeFile(join(folder, 'limit'), Buffer.alloc(1024 * 1024, 32));
  const code = 'CREDENTIALS_UNREADABLE';
  const message = expect.stringMatching(/^credential file `.*` cannot be read/) as string;
  expect(await refusal(join(folder, 'folder'))).toMatchObject({ code, message });
  expect(await refusal(join(folder, 'latin'))).toMatchObject({
    message: expect.stringMatching(/: it is not UTF-8$/) as string,
  });
  expect(await refusal(join(folder, 'large'))).toMatchObject({
    message: expect.stringMatching(/: it is too large to be one$/) as string,
  });
  expect(await refusal(join(folder, 'limit'))).toBe('read');
});

test.skipIf(getuid?.() === 0)('a file that may not be read is an error', async () => {
  const path = join(await tempFolder(), 'file');
  await writeFile(path, '{}');
  await chmod(path, 0);
  await expect(readCredentialFile(path)).rejects.toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
});
