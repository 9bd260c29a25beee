import { isDeepStrictEqual } from 'node:util';
import type { CheckLog } from '../check-log.js';
import { checkDocument } from '../documents.js';
import { parseBoundedJson } from '../parse-json.js';
import { asJsonObject, pointTo, quote, stringsIn } from './json-value.js';
import type { RepodataText } from './repodata-text.js';

/** Values of an `info/run_exports.json`. */
const MAX_INFO_VALUES = 100_000;

const SECTIONS = [
  ['packages', '.tar.bz2', 'cep12/packages'],
  ['packages.conda', '.conda', 'cep12/packages-conda'],
] as const;

/** What {@link checkRunExports} looks at. */
export interface RunExportsSubject {
  /** The parsed `run_exports.json`. */
  readonly value: unknown;
  /** The folder it lies in, such as `noarch`. */
  readonly subdir: string;
  /** Its place, such as `noarch/run_exports.json`. */
  readonly where: string;
  /** The repodata of the subdir: unpatched, where there is such. */
  readonly repodata?: RepodataText | undefined;
  /** File names that the repodata has in `removed`. */
  readonly removed?: ReadonlySet<string> | undefined;
}

/** Checks a subdir's `run_exports.json`, and that it lists what the repodata lists. */
export function checkRunExports(subject: RunExportsSubject, log: CheckLog): void {
  const { value, subdir, where, repodata, removed } = subject;
  checkDocument('run-exports', value, where, log);
  const document = asJsonObject(value);
  const named = asJsonObject(document['info'])['subdir'];
  if (typeof named === 'string') {
    log.expect('cep12/info-subdir', named === subdir, () => ({
      where: pointTo(where, 'info', 'subdir'),
      found: quote(named),
      expected: `\`${subdir}\`, the folder it lies in`,
    }));
  }
  const listed = new Set<string>();
  for (const [section, ending, clause] of SECTIONS) {
    for (const filename of Object.keys(asJsonObject(document[section]))) {
      listed.add(filename);
      const place = pointTo(where, section, filename);
      const fits = log.expect(clause, filename.endsWith(ending), () => ({
        where: place,
        found: quote(filename),
        expected: `a file name that ends in \`${ending}\``,
      }));
      if (!fits || repodata === undefined) continue;
      const isKnown = repodata.has(filename) || removed?.has(filename) === true;
      log.expect('cep12/known-packages', isKnown, () => ({
        where: place,
        found: 'a package that the repodata does not list',
        expected: 'packages of the unpatched repodata',
      }));
    }
  }
  for (const filename of repodata?.filenames() ?? []) {
    log.expect('cep12/all-packages', listed.has(filename), () => ({
      where,
      found: `nothing of ${quote(filename)}`,
      expected: 'every package of the repodata, those without run exports too',
    }));
  }
}

/** What {@link checkRunExportsOfArchive} looks at. */
export interface RunExportsOfArchiveSubject {
  /** The bytes of `info/run_exports.json`; `undefined` where the archive has none. */
  readonly bytes: Uint8Array | undefined;
  readonly filename: string;
  /** The place of the archive, such as `noarch/foo-1.0-0.conda`. */
  readonly where: string;
  /** The parsed `run_exports.json` of its subdir. */
  readonly runExports: unknown;
  /** The parsed `patch_instructions.json` of its subdir, if there is one. */
  readonly patches: unknown;
}

/** Checks that `run_exports.json` says of an archive what that says itself; it need not where it was patched. */
export function checkRunExportsOfArchive(subject: RunExportsOfArchiveSubject, log: CheckLog): void {
  const { bytes, filename, where, runExports, patches } = subject;
  const section = filename.endsWith('.conda') ? 'packages.conda' : 'packages';
  const item = asJsonObject(asJsonObject(runExports)[section])[filename];
  if (item === undefined) return;
  const said = asJsonObject(item)['run_exports'];
  const parsed = bytes === undefined ? undefined : parseBoundedJson(bytes, MAX_INFO_VALUES);
  // That it can be read, the rules of archives have said.
  if (parsed !== undefined && !('value' in parsed)) return;
  const own = parsed?.value ?? {};
  const isPatched =
    asJsonObject(asJsonObject(asJsonObject(patches)[section])[filename])['run_exports'] !== undefined;
  log.expect(
    isPatched ? 'cep12/not-patched' : 'cep12/equals-archive',
    isDeepStrictEqual(kindsOf(said), kindsOf(own)),
    () => ({
      where,
      found: `${quote(own)} in the archive`,
      expected: `${quote(said)}, as \`run_exports.json\` has it`,
    }),
  );
}

/** Lists that are not empty, by kind, each in order; a bare list is of the kind `weak`. */
function kindsOf(value: unknown): ReadonlyMap<string, readonly string[]> {
  const kinds = Array.isArray(value) ? { weak: value as unknown } : asJsonObject(value);
  return new Map(
    Object.entries(kinds)
      .map(([kind, specs]): [string, string[]] => [kind, stringsIn(specs).toSorted()])
      .filter(([, specs]) => specs.length > 0)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}
