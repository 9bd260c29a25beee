import type { Command } from 'commander';
import { FerryError } from '../errors.js';
import { parseFilters, type FilterInput, type Filters, type SpecInput } from '../mirror/filters/filters.js';
import { readSpecLines } from '../mirror/filters/spec-list.js';
import { uniteLocks, type LockedArchives } from '../provenance/lock-files/locked-archives.js';
import { parseLockFile } from '../provenance/lock-files/parse-lock-file.js';

/** Flags that say what a mirror takes: filters as texts, some of them in files. */
export interface FilterFlags extends Omit<FilterInput, 'lock' | 'undistributable'> {
  readonly includeFrom?: readonly string[] | undefined;
  readonly excludeFrom?: readonly string[] | undefined;
  readonly lock?: readonly string[] | undefined;
  readonly undistributable?: readonly string[] | undefined;
}

/** Adds the flags on what to take. Those that may be given again take one value each, so that arguments may follow. */
export function addFilterOptions(command: Command): Command {
  return command
    .optionsGroup('What to take:')
    .option('--include <spec>', 'only what matches; with --exclude, what to take all the same', collect)
    .option('--exclude <spec>', 'all but what matches', collect)
    .option('--include-from <file>', 'as --include, one match spec a line', collect)
    .option('--exclude-from <file>', 'as --exclude, one match spec a line', collect)
    .option('--latest <n>', 'only the newest versions of each package')
    .option('--latest-per-variant', 'with --latest, as many of each Python it is built for')
    .option('--since <date>', 'only what was built since, such as 2024-05-01')
    .option('--min-age <age>', 'only what is at the source for so long, such as 7d')
    .option('--min-age-exempt <spec>', 'what may be younger', collect)
    .option('--max-size <size>', 'only archives up to so many bytes, such as 100MB')
    .option('--with-dependencies', 'also what the rest depends on, and so on')
    .option('--lock <file>', 'only what conda-lock.yml, pixi.lock or an explicit list has', collect)
    .option('--undistributable <file>', 'match specs of what is never taken, one a line', collect);
}

/**
 * Reads filters from flags, and the files that these name.
 * @param readFile gives a file's text
 * @throws FerryError `USAGE`, `LOCK_FILE_INVALID`
 */
export async function readFilters(
  flags: FilterFlags,
  readFile: (path: string) => Promise<string>,
): Promise<Filters> {
  const readSpecs = async (flag: string, paths: readonly string[] = []): Promise<readonly SpecInput[]> => {
    const specs: SpecInput[] = [];
    for (const path of paths) {
      for (const { text, line } of readSpecLines(await readText(flag, path, readFile))) {
        specs.push({ text, from: `\`${path}\`, line ${String(line)}` });
      }
    }
    return specs;
  };
  const include = [...(flags.include ?? []), ...(await readSpecs('--include-from', flags.includeFrom))];
  // Without a match spec all would be taken, which is not what an empty list says.
  if (include.length === 0 && flags.includeFrom !== undefined) {
    throw new FerryError('USAGE', '`--include-from` gives no match spec');
  }
  return parseFilters({
    ...flags,
    include,
    exclude: [...(flags.exclude ?? []), ...(await readSpecs('--exclude-from', flags.excludeFrom))],
    undistributable: await readSpecs('--undistributable', flags.undistributable),
    lock: flags.lock && (await readLocks(flags.lock, readFile)),
  });
}

/**
 * Reads lock files, several as one.
 * @param readFile gives a file's text
 * @throws FerryError `USAGE`, `LOCK_FILE_INVALID`
 */
export async function readLocks(
  paths: readonly string[],
  readFile: (path: string) => Promise<string>,
): Promise<LockedArchives> {
  const locks: LockedArchives[] = [];
  for (const path of paths) locks.push(await parseLockFile(path, await readText('--lock', path, readFile)));
  return uniteLocks(locks);
}

async function readText(
  flag: string,
  path: string,
  readFile: (path: string) => Promise<string>,
): Promise<string> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new FerryError('USAGE', `\`${flag}\`: \`${path}\` cannot be read`, { cause });
  }
}

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}
