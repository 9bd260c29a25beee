import type { Refused } from '../mirror/wanted-records.js';
import { unknownFailures, type FailureList } from '../mirror/failure-list.js';
import type { Failure, SubdirReport } from '../mirror/report.js';
import { count, printLine, type Output, type OutputFlags } from './output.js';

/** Withheld archives that are named one by one, in each subdir. */
const WITHHELD_SHOWN = 10;

/** Prints what is withheld of a subdir; only the first without `--verbose`, since twins are many and all alike. */
export function printWithheld(
  output: Output,
  subdir: string,
  withheld: readonly Refused[],
  { verbose }: OutputFlags,
): void {
  const shown = verbose === true ? withheld : withheld.slice(0, WITHHELD_SHOWN);
  printRefused(output, 'withheld', subdir, shown);
  const more = withheld.length - shown.length;
  if (more === 0) return;
  printLine(output);
  printLine(output, `withheld: ${String(more)} more in ${subdir}; --verbose and --json name them all`);
}

type Failed = Pick<SubdirReport, 'subdir' | 'failed'>;

/** Prints what failed in a subdir. Who accepted a failure has seen it: without `--verbose` such are counted. */
export function printFailed(
  output: Output,
  { subdir, failed }: Failed,
  known: FailureList,
  { verbose }: OutputFlags,
): void {
  const isKnown = ({ filename }: Failure): boolean => known.has(`${subdir}/${filename}`);
  const accepted = failed.filter(isKnown);
  printRefused(
    output,
    'failed',
    subdir,
    failed.filter((failure) => !isKnown(failure)),
  );
  if (verbose === true) printRefused(output, 'failed, as accepted', subdir, accepted);
  else if (accepted.length > 0) {
    printLine(output);
    const what = `${count(accepted.length, 'archive')} of ${subdir}`;
    printLine(output, `failed, as accepted: ${what}; --verbose and --json name them all`);
  }
}

/** How many failed, for the end of the last line, such as `; 3 failed, 2 of them accepted`. */
export function countFailed(subdirs: readonly Failed[], known: FailureList): string {
  const all = subdirs.reduce((sum, { failed }) => sum + failed.length, 0);
  if (all === 0) return '';
  const accepted = all - unknownFailures(subdirs, known);
  const words = accepted === all ? 'as accepted' : `${String(accepted)} of them accepted`;
  return `; ${String(all)} failed${accepted === 0 ? '' : `, ${words}`}`;
}

/** Prints what was refused or failed, by name and reason; `what` is the word in front. */
export function printRefused(
  output: Output,
  what: string,
  subdir: string,
  refused: readonly (Failure & Pick<Refused, 'clause'>)[],
): void {
  for (const { filename, code, message, clause } of refused) {
    printLine(output);
    printLine(output, `${what}: ${subdir}/${filename}`);
    printLine(output, `  ${message} [${clause === undefined ? code : `${code}, ${clause}`}]`);
  }
}
