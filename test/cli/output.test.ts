import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { printError } from '#ferry/cli/output.js';
import { FerryError } from '#ferry/errors.js';
import { writeFileAtomic } from '#ferry/io/atomic-file.js';
import { tempFolder } from '../support/temp.js';

/** What is said of an error. */
function said(error: unknown): string {
  let text = '';
  const stream = new Writable({
    write: (chunk: Buffer, _, done) => {
      text += chunk.toString();
      done();
    },
  });
  printError({ stdout: stream, stderr: stream }, error);
  return text.trimEnd();
}

const caught = async (work: () => unknown): Promise<unknown> => {
  try {
    return await work();
  } catch (error) {
    return error;
  }
};

test('a document that is not what it should be is described by its first fault', async () => {
  const cause = await caught(() => z.object({ plan_version: z.literal(1) }).parse({ plan_version: 2 }));
  expect(said(new FerryError('USAGE', '`p.json` is no plan', { cause }))).toBe(
    'error: `p.json` is no plan [USAGE]\n  because: `plan_version`: Invalid input: expected 1',
  );
});

test('what a cause says again is said once', () => {
  const inner = new FerryError('USAGE', '`x.lock` cannot be read', { cause: new Error('why') });
  expect(said(new FerryError('USAGE', '`--lock`: `x.lock` cannot be read', { cause: inner }))).toBe(
    'error: `--lock`: `x.lock` cannot be read [USAGE]\n  because: why',
  );
});

test('an error of the system names the place and its code, and no temporary file', async () => {
  const file = join(await tempFolder(), 'file');
  await writeFile(file, '');
  const error = await caught(() => writeFileAtomic(join(file, 'x'), Buffer.from('')));
  expect(said(error)).toBe(`error: \`${file}\`: not a directory [ENOTDIR]`);
  const missing = await caught(() => readFile(join(file, '..', 'none')));
  expect(said(new FerryError('USAGE', 'cannot be read', { cause: missing }))).toMatch(
    /\n {2}because: ENOENT: no such file/,
  );
});
