/**
 * The mirror: snapshot, plan, run, publish. After any step, also one that was killed, everything that the published
 * repodata lists is there.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import { filtersDigest } from '../artifact/ledger.js';
import { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { CopyError, FerryError, isFerryError } from '../errors.js';
import { quietSignal } from '../io/quiet-signal.js';
import { Resources } from '../io/resources.js';
import { TempFolder } from '../io/temp-folder.js';
import { homeOf, rememberChannelFiles } from './channel-files.js';
import { runAll } from './channel-run.js';
import { checkSchemas } from './check-schemas.js';
import type { Executor } from './executor.js';
import { filtersDigestInput, hasFilters, type Filters } from './filters/filters.js';
import { namesAskedFor } from './filters/names-asked-for.js';
import { checkKeep } from './generations/keep-generations.js';
import { trimAfterRun } from './generations/trim-after-run.js';
import { lockDestination, type LockOptions } from './lock-destination.js';
import type { SubdirPlan } from './plan.js';
import { AppliedPlan, type PlanDocument } from './plan-document.js';
import { mountableSource } from './mount-archives.js';
import { prepareAll } from './prepare.js';
import { failureOf, retryQuarantine } from './quarantine.js';
import {
  changedAt,
  type MirrorPlan,
  type MirrorReport,
  type MirrorReporter,
  type PlannedSubdir,
  type SubdirReport,
} from './report.js';
import { estimateRequests, type RequestEstimate } from './request-estimate.js';
import type { RunContext } from './run-context.js';
import type { PlannedWork, PrepareOptions, SubdirWork } from './subdir-work.js';

/** Archives under way at once; enough to keep a registry on the same machine busy. */
export const DEFAULT_CONCURRENCY = 16;
/** Most archives are through in that time; a download that hangs is not waited for. */
const DEFAULT_STOP_GRACE_MS = 30_000;

/** Options of {@link mirrorChannel} and {@link planMirror}. */
export interface MirrorOptions {
  readonly source: ChannelSource;
  readonly destination: ChannelStore;
  /** Subdirs to mirror. @defaultValue all that the source has */
  readonly subdirs?: readonly string[] | undefined;
  /** What of it to mirror. @defaultValue everything */
  readonly filters?: Filters | undefined;
  /** @defaultValue 16 */
  readonly concurrency?: number | undefined;
  /** Ask the registry about every archive instead of trusting the ledger. @defaultValue false */
  readonly deep?: boolean | undefined;
  /** Take repodata that is older than what was mirrored last. @defaultValue false */
  readonly allowOlder?: boolean | undefined;
  /** Keep records that others published in the destination. @defaultValue false: stop instead */
  readonly merge?: boolean | undefined;
  /** Publish the uncompressed repodata too; only schema v0 can do without. @defaultValue true */
  readonly plainJson?: boolean | undefined;
  /** Mirror archives too that the source lists only in `repodata_from_packages.json`; they stay unlisted. @defaultValue false */
  readonly includeRemoved?: boolean | undefined;
  /** Do what this plan says, and nothing else. */
  readonly apply?: PlanDocument | undefined;
  /** As {@link LockOptions.lockFolder}. @defaultValue nobody is kept out */
  readonly lockFolder?: LockOptions['lockFolder'];
  /**
   * Make repositories that today's clients of schema v0 ask for in vain, so that they go on to the repodata.
   * @defaultValue true
   */
  readonly clientShims?: boolean | undefined;
  /** Time before the first checkpoint, in milliseconds. @defaultValue ten minutes */
  readonly checkpointMs?: number | undefined;
  /** Publish the newest state of the source although a rollback holds the channel. @defaultValue false: stop instead */
  readonly resume?: boolean | undefined;
  /**
   * Delete all but so many of the newest generations of repodata and companions, once everything is published.
   * @defaultValue none is deleted
   */
  readonly keepGenerations?: number | undefined;
  /** Archives that need not be in the destination, since another store has them: subdir, then file name to identity. */
  readonly elsewhere?: PrepareOptions['elsewhere'];
  /** Where temporary files go. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
  /** Bytes of archives that may lie there at once; one that is larger goes alone. @defaultValue half of what is free */
  readonly tempLimitBytes?: number | undefined;
  /** Worker threads that several runs share. @defaultValue some of its own, which end with the run */
  readonly workers?: WorkerPool | undefined;
  readonly reporter?: MirrorReporter | undefined;
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  /** Who carries the archives, such as workers elsewhere. @defaultValue this process */
  readonly executor?: Executor | undefined;
  /** Ends the run in order: what is under way is finished and published. */
  readonly stop?: AbortSignal | undefined;
  /** How long what is under way may take after that, in milliseconds. @defaultValue 30,000 */
  readonly stopGraceMs?: number | undefined;
  /** Ends the run at once; the next one goes on from there. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Says what {@link mirrorChannel} would do, without moving anything or opening an archive.
 * @throws FerryError as {@link mirrorChannel}
 */
export async function planMirror(options: MirrorOptions): Promise<MirrorPlan> {
  await using resources = new Resources();
  const context = await openContext(options, resources);
  const { works, vain } = await prepareAll(context, options.subdirs);
  await checkSchemas(works, context.store, context);
  const isWhole = options.subdirs === undefined;
  const foreseen = await estimateRequests(works, { isWhole, vain }, context);
  const requestsOf = ({ subdir }: SubdirWork): RequestEstimate =>
    foreseen.subdirs.get(subdir) ?? { archives: 0, metadata: 0 };
  return {
    ...names(options),
    ...mountsOf(context),
    filters: context.filters,
    subdirs: works.map((work) => plannedSubdir(work, requestsOf(work))),
    requests: foreseen.channel,
  };
}

/**
 * Mirrors a channel into an OCI store.
 * @returns what was done; archives that failed are in it, and do not throw
 * @throws FerryError `CHANNEL_NOT_FOUND`, `ROLLED_BACK`, `SOURCE_OLDER`, `SOURCE_VANISHED`, `FOREIGN_RECORDS`, `LEDGER_INVALID`,
 * `SCHEMA_CONFLICT`, `NAME_UNREPRESENTABLE` (the channel's path is too long), `DISK_FULL`, `TAG_MOVED` where others keep
 * publishing; CopyError where the destination fails as a whole. The next run goes on from there.
 */
export async function mirrorChannel(options: MirrorOptions): Promise<MirrorReport> {
  await using resources = new Resources();
  const context = await openContext(options, resources);
  const startedAt = context.now();
  await using _ = await lockDestination(context.store, {
    lockFolder: options.lockFolder,
    signal: context.signal,
  });
  context.applied?.checkEnds({ ...names(options), filters: context.filters });
  // Until archives move there is nothing to finish.
  const early = context.stop === undefined ? context : { ...context, signal: eitherSignal(context) };
  const prepared = await prepareAll(early, options.subdirs);
  const works: SubdirWork[] = [];
  for (const work of prepared.works)
    works.push(work.status === 'retry' ? await retryQuarantine(work, early) : work);
  await checkSchemas(works, context.store, early);
  const plans = works.flatMap((work) => (work.status === 'planned' ? [work.plan] : []));
  announce(plans, context);
  await options.executor?.prepare?.(plans);
  await checkDestination(works, early);

  const { runs, companions } = await runAll(works, options.subdirs === undefined, context);
  const home = homeOf(works);
  const reports: SubdirReport[] = [];
  for (const work of works) {
    const run = runs.get(work.subdir);
    const isHome = work === home;
    const facts = isHome ? { discovered: prepared.discovered, companions } : {};
    if (run !== undefined) reports.push(await run.finish(facts));
    else if (work.status !== 'planned') reports.push(reportOfSettled(work));
    if (isHome && run === undefined) await rememberChannelFiles(home, companions, context);
  }
  const { keepGenerations: keep } = options;
  const isTrimmed = keep !== undefined && context.stop?.aborted !== true;
  const subdirs = isTrimmed ? await trimAfterRun(reports, { ...context, keep }) : reports;
  return {
    ...names(options),
    ...mountsOf(context),
    startedAt: startedAt.toISOString(),
    endedAt: context.now().toISOString(),
    isInterrupted: context.stop?.aborted === true && isUnfinished(works, reports),
    subdirs,
  };
}

function plannedSubdir(work: SubdirWork, requests: RequestEstimate): PlannedSubdir {
  const { subdir } = work;
  if (work.status === 'planned') {
    const { plan, state, gone, warnings, selection } = work;
    const leftOut = selection === undefined ? {} : Object.fromEntries(selection.leftOut);
    return {
      subdir,
      status: 'planned',
      plan,
      latest: state.latest?.digest,
      gone,
      leftOut,
      warnings,
      requests,
    };
  }
  if (work.status !== 'retry') return { subdir, status: work.status, requests };
  const quarantined = work.ledger.quarantine.map(({ filename }) => filename);
  return { subdir, status: 'retry', quarantined, requests };
}

/** One early error instead of one for each archive: asks once, in the deepest kind of repository there will be. */
async function checkDestination(works: readonly SubdirWork[], context: PrepareOptions): Promise<void> {
  const first = works.find((work): work is PlannedWork => work.status === 'planned' && work.plan.toAdd > 0);
  if (first === undefined) return;
  const { store, signal } = context;
  try {
    await store.metadataRepository(first.subdir, 'ledger').checkPush?.({ signal });
  } catch (error) {
    if (!isFerryError(error)) throw error;
    throw new CopyError('destination', `\`${store.location}\` takes no uploads`, error);
  }
}

function names(options: MirrorOptions): { source: string; destination: string; schema: string } {
  const { source, destination } = options;
  return { source: source.url, destination: destination.location, schema: destination.schema.id };
}

function mountsOf({ mountSource }: RunContext): Pick<MirrorPlan, 'mounts'> {
  return mountSource === undefined ? {} : { mounts: true };
}

async function openContext(options: MirrorOptions, resources: Resources): Promise<RunContext> {
  const { plainJson = true, includeRemoved = false, filters, destination } = options;
  if (options.keepGenerations !== undefined) checkKeep(options.keepGenerations);
  if (!plainJson && destination.schema.id !== 'v0') {
    throw new FerryError('USAGE', 'schema v1 asks for the uncompressed repodata', {
      hint: 'leave out --no-plain-json',
    });
  }
  const choices = {
    ...(filters === undefined || !hasFilters(filters) ? {} : { filters: filtersDigestInput(filters) }),
    ...(plainJson ? {} : { plain_json: false }),
    ...(includeRemoved ? { include_removed: true } : {}),
  };
  return {
    source: options.source,
    store: destination,
    mountSource: mountableSource(options.source, destination),
    workers: options.workers ?? resources.use(new WorkerPool()),
    temp: resources.use(await TempFolder.create(options.tempDir, { limitBytes: options.tempLimitBytes })),
    resources,
    selector: filters !== undefined && hasFilters(filters) ? filters : undefined,
    filters: filtersDigest(destination, choices),
    // Removed records stand in no shard that could be found by its name.
    names: filters === undefined || includeRemoved ? undefined : namesAskedFor(filters),
    plainJson,
    clientShims: options.clientShims ?? true,
    includeRemoved,
    applied: options.apply === undefined ? undefined : new AppliedPlan(options.apply),
    isPartial: options.apply !== undefined,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    deep: options.deep ?? false,
    allowOlder: options.allowOlder ?? false,
    merge: options.merge ?? false,
    resume: options.resume ?? false,
    checkpointMs: options.checkpointMs,
    reporter: options.reporter ?? {},
    executor: options.executor,
    now: options.now ?? (() => new Date()),
    stop: options.stop,
    stopGraceMs: options.stopGraceMs ?? DEFAULT_STOP_GRACE_MS,
    elsewhere: options.elsewhere,
    signal: options.signal === undefined ? undefined : quietSignal(options.signal),
  };
}

function eitherSignal({ stop, signal }: RunContext): AbortSignal | undefined {
  const signals = [stop, signal].filter((one) => one !== undefined);
  return signals.length === 0 ? undefined : quietSignal(AbortSignal.any(signals));
}

function isUnfinished(works: readonly SubdirWork[], reports: readonly SubdirReport[]): boolean {
  return reports.length < works.length || reports.some(({ untried }) => untried > 0);
}

function reportOfSettled(work: Exclude<SubdirWork, PlannedWork>): SubdirReport {
  const { subdir } = work;
  const ledger = work.status === 'absent' ? undefined : work.state.ledger;
  const failed = work.status === 'retry' ? work.ledger.quarantine.map(failureOf) : [];
  return {
    subdir,
    publishedAs: work.status === 'absent' ? 'nothing' : 'kept',
    listed: ledger?.counts?.listed,
    there: ledger?.counts?.there ?? 0,
    added: 0,
    addedBytes: 0,
    artifacts: 0,
    replaced: [],
    displaced: [],
    packages: [],
    failed,
    withheld: (ledger?.withheld ?? []).map((entry) => ({ ...failureOf(entry), clause: entry.clause })),
    kept: Object.keys(ledger?.kept ?? {}).length,
    gone: 0,
    untried: 0,
    leftOut: {},
    ...changedAt(ledger?.source?.last_modified),
    warnings: work.status === 'absent' ? [] : work.warnings,
  };
}

function announce(plans: readonly SubdirPlan[], { reporter, mountSource }: RunContext): void {
  reporter.planned?.({
    archives: plans.reduce((total, plan) => total + plan.toAdd, 0),
    bytes: mountSource === undefined ? plans.reduce((total, plan) => total + plan.bytes, 0) : 0,
  });
}
