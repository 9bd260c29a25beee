/** The archives that a command is given: files, folders, patterns, and lists on stdin. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { archiveExtensionOf, isSubdir } from '../conda/names.js';
import { FerryError, isSystemError } from '../errors.js';
import { compareText } from '../io/compare-text.js';
import type { CommandContext } from './context.js';
import { readLines, STDIN } from './text-file.js';

/**
 * Finds archive files: a file is itself; a folder stands for the archives in it and in those of its folders that have the
 * name of a subdir, as a channel and the output folders of build tools have them; a pattern such as `output/noarch/*.conda` for what
 * it matches; `-` for the lines of stdin.
 * @returns paths, each once, in the order they were named
 * @throws FerryError `NOT_FOUND` where a path, folder or pattern stands for nothing; `USAGE`
 */
export async function findArchives(
  texts: readonly string[],
  context: Pick<CommandContext, 'stdin'>,
): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const text of texts) {
    const paths = text === STDIN ? await readList(context) : await expand(text);
    for (const path of paths) found.add(path);
  }
  return [...found];
}

async function expand(text: string): Promise<readonly string[]> {
  const kind = await kindOf(text);
  if (kind === 'file') return [text];
  if (kind === 'folder') return inFolder(text);
  // A shell leaves a pattern alone that matches nothing, and some shells leave all of them.
  const matches = isDynamicPattern(text)
    ? await glob(text, { absolute: false, expandDirectories: false })
    : [];
  const archives = matches.filter((path) => archiveExtensionOf(path) !== undefined).sort(compareText);
  if (archives.length > 0) return archives;
  throw new FerryError('NOT_FOUND', `there is no archive \`${text}\``);
}

async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'ENAMETOOLONG')) return undefined;
    throw error;
  }
}

async function inFolder(folder: string): Promise<readonly string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (archiveExtensionOf(entry.name) !== undefined) paths.push(path);
    else if (isSubdir(entry.name) && (await kindOf(path)) === 'folder') {
      const names = (await readdir(path)).filter((name) => archiveExtensionOf(name) !== undefined);
      paths.push(...names.map((name) => join(path, name)));
    }
  }
  if (paths.length > 0) return paths.sort(compareText);
  throw new FerryError('NOT_FOUND', `there are no archives in \`${folder}\``, {
    hint: 'archives are looked for in the folder itself, and in noarch, linux-64 and the like below it',
  });
}

async function readList(context: Pick<CommandContext, 'stdin'>): Promise<readonly string[]> {
  const paths = await readLines(STDIN, context);
  if (paths.length > 0) return paths;
  throw new FerryError('NOT_FOUND', 'the list on stdin names no archive');
}
