/** The files of the channel itself, beside those of its subdirs. */
import { isSameLedger, writeLedger } from '../artifact/ledger.js';
import { PackageSummaries } from '../conformance/rules/channeldata.js';
import type { CarriedCompanions, RememberedCompanions } from './companions/carry-companion.js';
import { carryChannelCompanions, type ChannelCompanionsInput } from './companions/channel-companions.js';
import { summarizeRepodata } from './companions/fit-channeldata.js';
import type { RunContext } from './run-context.js';
import { readPublished } from './state.js';
import type { SubdirRun } from './subdir-run.js';
import type { SubdirWork } from './subdir-work.js';

type PresentWork = Exclude<SubdirWork, { readonly status: 'absent' }>;

/** What of the run of a subdir decides about the files of the channel. */
export type RunFacts = Pick<SubdirRun, 'work' | 'result' | 'isUnchanged' | 'isListingChanged'>;

/** The subdir whose ledger remembers what is of the channel: noarch, or the first where there is none. */
export function homeOf(works: readonly SubdirWork[]): PresentWork | undefined {
  const present = works.filter((work) => work.status !== 'absent');
  return present.find(({ subdir }) => subdir === 'noarch') ?? present[0];
}

/**
 * Pushes channel data and notices, made to fit what is listed; their `latest` is left for the end of the run.
 * @param isWhole whether all subdirs of the source are mirrored
 */
export async function carryChannelFiles(
  works: readonly SubdirWork[],
  runs: ReadonlyMap<string, SubdirRun>,
  isWhole: boolean,
  context: RunContext,
): Promise<CarriedCompanions> {
  const input = channelCompanions(works, runs, isWhole, context);
  if (input === undefined) return { reports: [], moves: [], companions: {} };
  const historyTag = context.store.schema.historyTag(context.now());
  const carried = await carryChannelCompanions(input, { ...context, historyTag });
  for (const { warning } of carried.reports) if (warning !== undefined) context.reporter.warning?.(warning);
  return carried;
}

/** What there is to know of the channel for its files to be carried; `undefined` where it has no subdir. */
export function channelCompanions(
  works: readonly SubdirWork[],
  runs: ReadonlyMap<string, RunFacts>,
  isWhole: boolean,
  context: RunContext,
): ChannelCompanionsInput | undefined {
  const home = homeOf(works);
  if (home === undefined) return undefined;
  const present = works.filter((work) => work.status !== 'absent');
  const isTrusted = home.status !== 'planned' || home.isTrusted;
  const isFiltered =
    !isWhole ||
    present.some((work) => (runs.get(work.subdir)?.isUnchanged ?? work.state.ledger?.unchanged) !== true);
  return {
    remembered: isTrusted ? home.state.ledger?.companions : undefined,
    isListingChanged: [...runs.values()].some((run) => run.isListingChanged),
    filtered: isFiltered
      ? {
          subdirs: present.map(({ subdir }) => subdir),
          packages: () => summarize(present, runs, context),
        }
      : undefined,
  };
}

/** Has the ledger of a subdir in which nothing was done remember what is of the channel. */
export async function rememberChannelFiles(
  home: PresentWork,
  companions: RememberedCompanions,
  context: RunContext,
): Promise<void> {
  const { ledger } = home.state;
  if (ledger === undefined || Object.keys(companions).length === 0) return;
  const updated = { ...ledger, companions: { ...ledger.companions, ...companions } };
  if (!isSameLedger(updated, ledger)) await writeLedger(context.store, updated, context);
}

/** Reads what all subdirs list: from the run, or from what is published where nothing was done. */
async function summarize(
  works: readonly PresentWork[],
  runs: ReadonlyMap<string, RunFacts>,
  context: RunContext,
): Promise<PackageSummaries> {
  const summaries = new PackageSummaries();
  for (const { subdir, state } of works) {
    const run = runs.get(subdir);
    if (run !== undefined) {
      const { snapshot } = run.work;
      await summarizeRepodata(snapshot.repodata, summaries, (filename) => run.result.isThere(filename));
    } else if (state.latest !== undefined) {
      await using published = await readPublished(context.store, subdir, state.latest, context);
      if (published !== undefined) await summarizeRepodata(published.repodata, summaries);
    }
  }
  return summaries;
}
