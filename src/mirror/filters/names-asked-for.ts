import { isArchiveFilename, parseArchiveFilename } from '../../conda/names.js';
import type { Filters } from './filters.js';
import { nameAskedFor } from './spec-list.js';

/**
 * The names of all packages that filters can let pass, in lower case, such as `numpy` and `scipy` for
 * `--include 'numpy >=2' --include scipy`; `undefined` where only the records can tell: without a list, for patterns, where
 * an exclude makes exceptions of the includes, and where dependencies are taken too.
 */
export function namesAskedFor(filters: Filters): ReadonlySet<string> | undefined {
  const { exclude, include, lock, withDependencies } = filters;
  if (withDependencies) return undefined;
  // Whatever stands beside a lock file narrows it.
  if (lock !== undefined) return namesOfArchives(lock.archives.map(({ filename }) => filename));
  if (exclude.length > 0 || include.length === 0) return undefined;
  const names = new Set<string>();
  for (const { text } of include) {
    const name = nameAskedFor(text);
    if (name === undefined) return undefined;
    names.add(name);
  }
  return names;
}

/** The names of archives by their file names, in lower case; `undefined` where one cannot be read. */
export function namesOfArchives(filenames: Iterable<string>): ReadonlySet<string> | undefined {
  const names = new Set<string>();
  for (const filename of filenames) {
    if (!isArchiveFilename(filename)) return undefined;
    names.add(parseArchiveFilename(filename).name.toLowerCase());
  }
  return names;
}
