import type { Refused } from '../mirror/wanted-records.js';
import type { Failure } from '../mirror/report.js';
import { printLine, type Output, type OutputFlags } from './output.js';

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
