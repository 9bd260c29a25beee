/**
 * The metadata files beside a subdir's repodata. They change when it does, so they are looked at only in runs that plan
 * the subdir anew; a night without news asks nobody for them.
 */
import {
  carryCompanions,
  type CarriedCompanions,
  type CompanionContext,
  type CompanionTask,
  type RememberedCompanions,
} from './carry-companion.js';
import { fitCompanion, SUBDIR_COMPANIONS, type SubdirContents } from './fit-companion.js';

/** What {@link carrySubdirCompanions} is told of a subdir. */
export interface SubdirCompanionsInput extends SubdirContents {
  /** `companions` of the ledger, if it vouches for what is published; without it the destination is asked. */
  readonly remembered: RememberedCompanions | undefined;
}

/**
 * Carries the metadata files of a subdir: run exports, patch instructions, and the other two listings. Each says no more
 * than the mirror holds, and is pushed under the history tag alone; `moves` is for the end of the run.
 * @throws CopyError, FerryError where the destination fails, or nobody answers at the source
 * @see CEP 12, CEP 21, CEP 36
 */
export async function carrySubdirCompanions(
  input: SubdirCompanionsInput,
  context: CompanionContext,
): Promise<CarriedCompanions> {
  return carryCompanions(subdirTasks(input), context);
}

/** The metadata files that {@link carrySubdirCompanions} carries. */
export function subdirTasks(input: SubdirCompanionsInput): readonly CompanionTask[] {
  const { subdir, remembered, unchanged } = input;
  return SUBDIR_COMPANIONS.map((file) => {
    const last = remembered?.[file];
    return {
      subdir,
      file,
      remembered: last,
      // What was fitted to other contents does not fit these only because the source's file is the same.
      isConditional: unchanged && last?.spliced !== true,
      fit: (bytes: Uint8Array) => fitCompanion(file, bytes, input),
    };
  });
}
