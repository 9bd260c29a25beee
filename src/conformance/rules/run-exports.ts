import type { CheckLog } from '../check-log.js';
import { checkDocument } from '../documents.js';
import { asJsonObject, pointTo, quote } from './json-value.js';
import type { RepodataText } from './repodata-text.js';

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
