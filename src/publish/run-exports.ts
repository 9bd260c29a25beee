import type { JsonObject } from '../conda/record-details.js';
import { isJsonObject } from '../conformance/rules/json-value.js';
import { sectionOf } from './subdir-records.js';

/** Version of the layout that is written. */
const RUN_EXPORTS_VERSION = 1;

/** What a package asks of those that are built against it, by kind: `{ weak: ['zlib >=1.2.11,<1.3.0a0'] }`. */
export type RunExports = JsonObject;

/**
 * Reads what `info/run_exports.json` says: an object by kind, or a bare list, which is of the kind `weak`. What is
 * neither says nothing.
 * @see CEP 12
 */
export function parseRunExports(value: unknown): RunExports {
  if (Array.isArray(value)) return value.length === 0 ? {} : { weak: value };
  return isJsonObject(value) ? value : {};
}

/**
 * Makes the `run_exports.json` of a subdir: all archives of its unpatched repodata, those without run exports with `{}`.
 * @param runExports by file name, patched where there are patches of them
 * @returns such as `{ info: { subdir, version: 1 }, packages: {}, 'packages.conda': { 'a-1-0.conda': { run_exports: {} } } }`
 * @see CEP 12, CEP 21
 */
export function makeRunExports(
  subdir: string,
  runExports: Iterable<readonly [filename: string, runExports: RunExports]>,
): JsonObject {
  const sections = {
    packages: [] as [string, JsonObject][],
    'packages.conda': [] as [string, JsonObject][],
  };
  for (const [filename, said] of runExports)
    sections[sectionOf(filename)].push([filename, { run_exports: said }]);
  return {
    info: { subdir, version: RUN_EXPORTS_VERSION },
    packages: Object.fromEntries(sections.packages),
    'packages.conda': Object.fromEntries(sections['packages.conda']),
  };
}
