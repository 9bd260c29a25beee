/**
 * How many requests a run sends to the destination, said beforehand. What cannot be known is left out: what is sent again
 * after a failure, checkpoints, archives that fail, and another run that publishes meanwhile. Of companions it is taken that
 * they changed where the source does not say that they did not.
 * @see design §8: 7 per archive (4 where single POST works) and 2 per new repository
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import { channelCompanions, homeOf, type RunFacts } from './channel-files.js';
import { foreseeCompanion } from './companions/carry-companion.js';
import { channelTasks } from './companions/channel-companions.js';
import { subdirTasks } from './companions/subdir-companions.js';
import { composeListing, contentsOf } from './listing.js';
import { publishedAlready } from './publish.js';
import type { RunContext } from './run-context.js';
import { RunResult } from './run-result.js';
import { wantedSidecars } from './sidecars/wanted-sidecars.js';
import { listsReplaced, type PlannedWork, type SubdirWork } from './subdir-work.js';

const PER_MANIFEST = 1;
/** A blob that the registry takes over from another repository. */
const PER_MOUNT = 1;
/** Where the registry takes a blob in one request, and where it wants a POST first. */
const PER_BLOB_DEFAULT = 2;
/** Moving `latest`: look at it, read the manifest by its digest, write it under the tag. */
const PER_MOVE = 3;
/** A session that is opened and given up. */
const PER_PREFLIGHT = 2;

/** Requests to the destination, tokens not among them. */
export interface RequestEstimate {
  /** For the archives and their repositories. */
  readonly archives: number;
  /** For what is looked at first, for repodata and the files beside it, and for the ledger. */
  readonly metadata: number;
}

/** What is known of what a run will do. */
export interface ForeseenRun {
  /** By subdir. */
  readonly subdirs: ReadonlyMap<string, RequestEstimate>;
  /** For the channel as a whole: its own files, the look whether pushes are taken, subdirs that are not there. */
  readonly channel: RequestEstimate;
}

/**
 * Says how many requests a run of these plans sends to the destination.
 * @param channel what the plans do not tell: whether they are all the source has, and how many subdirs were looked for in vain
 */
export async function estimateRequests(
  works: readonly SubdirWork[],
  channel: { readonly isWhole: boolean; readonly vain: number },
  context: RunContext,
): Promise<ForeseenRun> {
  const costs = new Costs(works, context.store);
  const subdirs = new Map<string, RequestEstimate>();
  const none = { archives: 0, metadata: 0 };
  // A registry takes the place of nothing but a registry: other stores are asked nothing.
  if (costs.perBlob === 0) {
    for (const { subdir } of works) subdirs.set(subdir, none);
    return { subdirs, channel: none };
  }
  const runs = new Map<string, RunFacts>();
  for (const work of works) {
    if (work.status !== 'planned') {
      subdirs.set(work.subdir, { archives: 0, metadata: looksAt(work) });
      continue;
    }
    const { estimate, run } = await estimateSubdir(work, costs, context);
    runs.set(work.subdir, run);
    subdirs.set(work.subdir, estimate);
  }
  const writes = works.find((work) => work.status === 'planned' && work.plan.toAdd > 0);
  const checks =
    writes === undefined || context.store.metadataRepository(writes.subdir, 'ledger').checkPush === undefined
      ? 0
      : PER_PREFLIGHT;
  const files = await forChannelFiles(works, runs, channel.isWhole, costs, context);
  return {
    subdirs,
    channel: { archives: 0, metadata: checks + files + channel.vain * looksAt({ status: 'absent' }) },
  };
}

/** What single steps cost at a registry. */
class Costs {
  readonly perBlob: number;
  readonly maxSinglePostBytes: number;

  constructor(works: readonly SubdirWork[], { registry }: ChannelStore) {
    const remembered = works
      .map((work) => (work.status === 'absent' ? undefined : work.state.ledger?.requests_per_blob))
      .find((count) => count !== undefined);
    this.perBlob = registry.requestsPerBlob ?? remembered ?? PER_BLOB_DEFAULT;
    this.maxSinglePostBytes = registry.maxSinglePostBytes ?? Infinity;
  }

  blob(size: number | undefined): number {
    return this.perBlob === 1 && (size ?? 0) > this.maxSinglePostBytes ? 2 : this.perBlob;
  }

  /** The config that all artifacts of a repository share, the first time. */
  config(isThere: boolean): number {
    return isThere ? 0 : this.perBlob;
  }

  /** A ledger after the first, which brings its config. */
  get ledger(): number {
    return this.perBlob + PER_MANIFEST;
  }

  /** A metadata file: looked at, pushed, made current. */
  companion(layers: number, isKnown: boolean): number {
    return 1 + this.config(isKnown) + layers * this.perBlob + PER_MANIFEST + PER_MOVE;
  }
}

/** The ledger's manifest and content, and the repodata's `latest`. */
function looksAt(work: Pick<SubdirWork, 'status'> & Partial<Pick<PlannedWork, 'state'>>): number {
  const hasLedger = work.state === undefined ? work.status !== 'absent' : work.state.ledger !== undefined;
  return hasLedger ? 3 : 2;
}

async function estimateSubdir(
  work: PlannedWork,
  costs: Costs,
  context: RunContext,
): Promise<{ readonly run: RunFacts; readonly estimate: RequestEstimate }> {
  const { plan, state, published, snapshot } = work;
  const result = new RunResult(plan, {});
  result.assumeAll();
  const archives = forArchives(work, costs, context);
  const { unchanged, isListingChanged } = await foreseeListing(work, result, context);
  const publications = listsReplaced(work) ? 2 : isListingChanged ? 1 : 0;
  const run = { work, result, isUnchanged: unchanged, isListingChanged: publications > 0 };

  // The manifest of what is published, and its repodata.
  let metadata = looksAt(work) + work.asked + (published === undefined ? 0 : 2);
  // Whether a channel of the other schema stands there.
  if (state.trust === 'empty') metadata += 1;
  metadata += forShims(work, costs, context) + forSidecars(work, costs, context);
  // Once when the run begins to move archives, once before each `latest`, and once at the end.
  const ledgers = (plan.toAdd > 0 ? 1 : 0) + publications + 1;
  metadata += ledgers * costs.ledger + costs.config(state.ledger !== undefined);
  if (publications > 0) metadata += costs.config(published !== undefined);
  const forms = (context.plainJson ? costs.blob(snapshot.repodata.size) : 0) + costs.blob(snapshot.zst?.size);
  metadata += publications * (forms + PER_MANIFEST + PER_MOVE);
  const remembered = work.isTrusted ? state.ledger?.companions : undefined;
  const contents = contentsOf(work, result, { unchanged, kept: plan.kept });
  for (const task of subdirTasks({ ...contents, remembered }))
    if (await foreseeCompanion(task, context)) metadata += costs.companion(2, task.remembered !== undefined);
  return { run, estimate: { archives, metadata } };
}

/** What is new changes the listing; only where nothing is, it has to be made to be compared. */
async function foreseeListing(
  work: PlannedWork,
  result: RunResult,
  context: RunContext,
): Promise<{ readonly unchanged: boolean; readonly isListingChanged: boolean }> {
  const { plan, snapshot, foreign } = work;
  if (plan.toAdd === 0) {
    await using composition = await composeListing(work, result, context);
    const current = publishedAlready(work.published, composition, context.plainJson);
    return { unchanged: composition.unchanged, isListingChanged: current === undefined };
  }
  const added = plan.toAdd - [...plan.unlisted].filter((filename) => !plan.isThere(filename)).length;
  const isWhole = plan.there + added === plan.listed && foreign.size === 0;
  return { unchanged: isWhole && snapshot.repodata.neededChanges().length === 0, isListingChanged: true };
}

/** An archive comes with its info and index; where twins meet, they are of the `.conda`. */
function forArchives(
  { plan, subdir }: PlannedWork,
  costs: Costs,
  { store, mountSource }: RunContext,
): number {
  const isMounted = mountSource !== undefined;
  const perLayer = isMounted ? PER_MOUNT : costs.perBlob;
  // Where blobs are mounted, the source's manifest is read.
  const perArtifact = PER_MANIFEST + (isMounted ? PER_MANIFEST : 0);
  const withInfo = plan.artifacts - (isMounted ? 0 : plan.joinsConda);
  const created = [...plan.repositories].filter((repository) => !store.hasConfig(subdir, { repository }));
  const large = isMounted || costs.perBlob !== 1 ? 0 : plan.countLarger(costs.maxSinglePostBytes);
  return (
    plan.toAdd * perLayer +
    large +
    withInfo * 2 * perLayer +
    plan.artifacts * perArtifact +
    // Twins that meet are read before where one is there, and looked at again.
    plan.twins +
    2 * plan.meetings +
    created.length * perLayer
  );
}

function forShims({ state, isTrusted }: PlannedWork, costs: Costs, context: RunContext): number {
  if (!context.clientShims || context.store.schema.id !== 'v0') return 0;
  if (isTrusted && state.ledger?.shims === true) return 0;
  // A run that was killed had made them before anything else.
  return state.trust === 'interrupted' || state.ledger?.shims === true
    ? 1
    : 1 + costs.config(false) + PER_MANIFEST;
}

function forSidecars(work: PlannedWork, costs: Costs, context: RunContext): number {
  const { records, known, asksFirst } = wantedSidecars(work, context);
  const wanted = new Set<string>();
  for (const { attestationsSha256 } of records)
    if (!known.has(attestationsSha256)) wanted.add(attestationsSha256);
  if (wanted.size === 0) return 0;
  return (asksFirst ? 1 : 0) + costs.config(false) + wanted.size * (costs.perBlob + PER_MANIFEST);
}

async function forChannelFiles(
  works: readonly SubdirWork[],
  runs: ReadonlyMap<string, RunFacts>,
  isWhole: boolean,
  costs: Costs,
  context: RunContext,
): Promise<number> {
  const home = homeOf(works);
  const input = channelCompanions(works, runs, isWhole, context);
  if (home === undefined || input === undefined) return 0;
  let requests = 0;
  for (const task of channelTasks(input)) {
    if (!(await foreseeCompanion(task, context))) continue;
    requests += costs.companion(1, task.remembered !== undefined);
    if (task.file !== 'channeldata.json' || input.filtered === undefined) continue;
    // What the other subdirs list is read for it: a manifest and a blob each.
    for (const work of works)
      if ((work.status === 'current' || work.status === 'retry') && work.state.latest !== undefined)
        requests += 2;
  }
  return requests === 0 || home.status === 'planned' ? requests : requests + costs.ledger;
}
