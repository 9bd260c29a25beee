import { FerryError } from '../errors.js';
import { isSubdir } from '../conda/names.js';
import type { MirrorReport, SubdirReport } from './report.js';

/** Archives that are known to fail, as `subdir/filename`. */
export type FailureList = ReadonlySet<string>;

/**
 * Writes the archives that a run could not mirror as a file that {@link parseFailureList} reads: a line each, such as
 * `win-64/vc-14.1-h0510ff6_4.tar.bz2  # ARCHIVE_ABSENT the source does not have it (404)`.
 */
export function formatFailureList({ subdirs }: Pick<MirrorReport, 'subdirs'>): string {
  const lines = subdirs.flatMap(({ subdir, failed }) =>
    failed.map(({ filename, code, message }) => `${subdir}/${filename}  # ${code} ${oneLine(message)}\n`),
  );
  return lines.join('');
}

/**
 * Reads a list of archives that are known to fail; what follows a `#` is a comment.
 * @throws FerryError `USAGE` with the line's number
 */
export function parseFailureList(text: string, name: string): FailureList {
  const known = new Set<string>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const entry = line.replace(/(?:^|\s)#.*$/, '').trim();
    if (entry === '') continue;
    const [subdir = '', filename = '', ...rest] = entry.split('/');
    if (!isSubdir(subdir) || filename === '' || rest.length > 0) {
      throw new FerryError('USAGE', `line ${String(i + 1)} of \`${name}\` names no archive`, {
        hint: 'write subdir/filename, such as noarch/example-1.0-0.conda',
      });
    }
    known.add(entry);
  }
  return known;
}

/** Failures of a run that no list knows. */
export function unknownFailures(
  subdirs: readonly Pick<SubdirReport, 'subdir' | 'failed'>[],
  known: FailureList,
): number {
  return subdirs.reduce(
    (sum, { subdir, failed }) =>
      sum + failed.filter(({ filename }) => !known.has(`${subdir}/${filename}`)).length,
    0,
  );
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}
