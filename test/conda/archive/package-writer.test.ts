import { lstatSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PackageWriter } from '#ferry/conda/archive/package-writer.js';
import { readTar } from '#ferry/conda/archive/tar.js';
import { writeTar } from '../../../fixtures/build/tar.mjs';
import { tempFolder } from '../../support/temp.js';
import { codeOf } from './streams.js';

// Few names, so that members meet.
const parts = (...names: string[]): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 4 }).map((all) => all.join('/'));
const path = fc.oneof({ weight: 9, arbitrary: parts('a', 'b', 'c') }, parts('a', 'b', '.', '..', 'info'));
const member = fc.oneof(
  fc.record({ path, content: fc.constantFrom('x', 'y') }),
  fc.record({ path, type: fc.constant('directory' as const) }),
  fc.record({ path, type: fc.constantFrom('symlink' as const, 'hardlink' as const), target: path }),
);

/** Paths of the links that lead somewhere else than into the folder. */
function linksOut(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => {
    if (!lstatSync(join(folder, name)).isSymbolicLink()) return false;
    try {
      return !`${realpathSync(join(folder, name))}/`.startsWith(`${realpathSync(folder)}/`);
    } catch {
      // It leads nowhere.
      return false;
    }
  });
}

test('whatever the members are, nothing is written outside and no link leads there', async () => {
  const outside = await tempFolder();
  await writeFile(join(outside, 'a'), 'safe');
  await mkdir(join(outside, 'b'));
  await fc.assert(
    fc.asyncProperty(fc.array(member, { minLength: 1, maxLength: 8 }), async (members) => {
      const folder = join(outside, 'package');
      await mkdir(folder);
      const writer = new PackageWriter(folder);
      const tar = writeTar([{ path: 'info/index.json', content: '{}' }, ...members]);
      const writing = readTar([tar], (found) => writer.visit(found)).then(() => writer.finish());
      const code = await codeOf(writing);
      writer.close();
      expect(code).toMatch(/^(?:no error|ARCHIVE_(?:PATH_UNSAFE|LINK_UNSAFE|MEMBER_TYPE|INDEX_MISSING))$/);
      if (code === 'no error') expect(linksOut(folder)).toEqual([]);
      expect(readFileSync(join(outside, 'a'), 'utf8')).toBe('safe');
      expect(readdirSync(join(outside, 'b'))).toEqual([]);
      await rm(folder, { recursive: true });
      expect(readdirSync(outside)).toEqual(['a', 'b']);
    }),
    { numRuns: 500 },
  );
});
