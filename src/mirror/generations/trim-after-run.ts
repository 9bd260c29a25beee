import { isFerryError, messageOf } from '../../errors.js';
import type { CallOptions } from '../../oci/storage.js';
import type { ChannelStore } from '../../artifact/channel-store.js';
import type { MirrorReporter, SubdirReport } from '../report.js';
import { GENERATION_FILES, keepGenerations } from './keep-generations.js';

/** What {@link trimAfterRun} works with. */
export interface TrimOptions extends CallOptions {
  readonly store: ChannelStore;
  readonly reporter: MirrorReporter;
  /** How many of the newest generations stay of each metadata file, at least 1. */
  readonly keep: number;
}

/**
 * Deletes old generations of all subdirs that a run has published or found as they should be. What the run was for is done
 * by then, so that a registry which deletes nothing is worth a warning and no more.
 * @returns the reports, with the warnings
 */
export async function trimAfterRun(
  reports: readonly SubdirReport[],
  { store, reporter, keep, signal }: TrimOptions,
): Promise<readonly SubdirReport[]> {
  const trimmed: SubdirReport[] = [];
  for (const report of reports) {
    const warning =
      report.publishedAs === 'nothing' ? undefined : await trim(report.subdir, { store, keep, signal });
    if (warning !== undefined) reporter.warning?.(warning);
    trimmed.push(warning === undefined ? report : { ...report, warnings: [...report.warnings, warning] });
  }
  return trimmed;
}

async function trim(
  subdir: string,
  { store, keep, signal }: Omit<TrimOptions, 'reporter'>,
): Promise<string | undefined> {
  try {
    await keepGenerations(store, subdir, GENERATION_FILES, { keep, signal });
    return undefined;
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return `${subdir}: old generations are still there: ${messageOf(error)}`;
  }
}
