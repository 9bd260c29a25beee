/**
 * The metadata files of the channel itself. Notices come and go without any package, so these two are asked for in each
 * run, by what was remembered of them: two requests to the source, and none to the destination where nothing changed.
 */
import type { PackageSummaries } from '../../conformance/rules/channeldata.js';
import {
  carryCompanions,
  type CarriedCompanions,
  type CompanionContext,
  type CompanionTask,
  type RememberedCompanions,
} from './carry-companion.js';
import { fitChanneldata } from './fit-channeldata.js';
import { checkJson } from './filter-json.js';

/** What {@link carryChannelCompanions} is told of the channel. */
export interface ChannelCompanionsInput {
  /** `companions` of noarch's ledger, if it vouches for what is published; without it the destination is asked. */
  readonly remembered: RememberedCompanions | undefined;
  /** Whether this run publishes other repodata in any subdir, or there are other subdirs than before. */
  readonly isListingChanged: boolean;
  /** What the mirror lists, where that is not all that the source has; `undefined` where it is. */
  readonly filtered?:
    | {
        readonly subdirs: readonly string[];
        /** All packages that are listed; asked for only where there is something to fit to it. */
        readonly packages: () => Promise<PackageSummaries>;
      }
    | undefined;
}

/**
 * Carries `channeldata.json`, fitted to what is listed, and `notices.json` as it is. Both are pushed under the history tag
 * alone; `moves` is for the end of the run.
 * @throws CopyError, FerryError where the destination fails, or nobody answers at the source
 * @see CEP 6, CEP 38
 */
export async function carryChannelCompanions(
  input: ChannelCompanionsInput,
  context: CompanionContext,
): Promise<CarriedCompanions> {
  return carryCompanions(channelTasks(input), context);
}

/** The metadata files that {@link carryChannelCompanions} carries. */
export function channelTasks(input: ChannelCompanionsInput): readonly CompanionTask[] {
  const { remembered, isListingChanged, filtered } = input;
  const last = remembered?.['channeldata.json'];
  const channeldata: CompanionTask = {
    subdir: '',
    file: 'channeldata.json',
    remembered: last,
    isConditional: !isListingChanged || (filtered === undefined && last?.spliced !== true),
    fit: async (bytes) => {
      if (filtered !== undefined) return fitChanneldata(bytes, filtered.subdirs, await filtered.packages());
      checkJson(bytes);
      return undefined;
    },
  };
  const notices: CompanionTask = {
    subdir: '',
    file: 'notices.json',
    remembered: remembered?.['notices.json'],
    isConditional: true,
    fit: (bytes) => {
      checkJson(bytes);
      return undefined;
    },
  };
  return [channeldata, notices];
}
