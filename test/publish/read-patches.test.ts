import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readPatches } from '#ferry/publish/read-patches.js';
import { condaArchive, tarBz2Archive } from '../../fixtures/build/archive.mjs';
import { tempFolder } from '../support/temp.js';

const LINUX = { patch_instructions_version: 1, remove: ['a-1-0.conda'] };
const NOARCH = { patch_instructions_version: 1, remove: ['b-1-0.conda'] };

async function written(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(await tempFolder(), name);
  await writeFile(path, content);
  return path;
}

const packageSpec = (payloadFiles: Readonly<Record<string, string>>) => ({
  name: 'patches',
  version: '1',
  build: '0',
  subdir: 'noarch',
  payloadFiles,
});
const DOCUMENTS = {
  'linux-64/patch_instructions.json': JSON.stringify(LINUX),
  'noarch/patch_instructions.json': JSON.stringify(NOARCH),
  'noarch/other.json': '{',
};

describe('a file of patch instructions', () => {
  test.each([
    ['p.json', JSON.stringify({ 'linux-64': LINUX, noarch: NOARCH })],
    ['patches-1-0.conda', condaArchive(packageSpec(DOCUMENTS))],
    ['patches-1-0.tar.bz2', tarBz2Archive(packageSpec(DOCUMENTS))],
  ])('has instructions by subdir: %s', async (name, content) => {
    const patches = await readPatches(await written(name, content));
    expect(patches('linux-64')).toEqual(LINUX);
    expect(patches('noarch')).toEqual(NOARCH);
    expect(patches('osx-64')).toBeUndefined();
  });

  test('may be instructions for every subdir', async () => {
    const patches = await readPatches(await written('p.json', JSON.stringify(LINUX)));
    expect([patches('linux-64'), patches('noarch')]).toEqual([LINUX, LINUX]);
  });

  test.each([
    ['p.json', '{', 'REPODATA_INVALID'],
    ['p.json', '[]', 'REPODATA_INVALID'],
    ['p.json', '{"linux-64":{"remove":1}}', 'REPODATA_INVALID'],
    ['p.json', '{"patch_instructions_version":3}', 'UNSUPPORTED'],
    ['p-1-0.conda', condaArchive(packageSpec({ 'a.txt': '' })), 'REPODATA_INVALID'],
    ['p-1-0.conda', condaArchive(packageSpec({ 'noarch/patch_instructions.json': '[' })), 'REPODATA_INVALID'],
    ['p-1-0.conda', 'nothing', 'ARCHIVE_NOT_CONDA'],
  ])('is refused: %s, case %#', async (name, content, code) => {
    await expect(readPatches(await written(name, content))).rejects.toMatchObject({ code });
  });

  test('that is not there is the error of the system', async () => {
    await expect(readPatches('/nowhere/p.json')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
