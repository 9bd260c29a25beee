/**
 * The mirror: snapshot, plan, run, publish. After any step, also one that was killed, everything that the published
 * repodata lists is there.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { isSubdir, KNOWN_SUBDIRS } from '../conda/names.js';
import { checkSchemas } from './check-schema.js';
import { CopyError, FerryError, isFerryError } from '../errors.js';
import { quietSignal } from '../io/quiet-signal.js';
import { TempFolder } from '../io/temp-folder.js';
import { failureOf, retryQuarantine } from './quarantine.js';
import type { MirrorPlan, MirrorReport, MirrorReporter, PlannedSubdir, SubdirReport } from './report.js';
import type { RunContext } from './run-context.js';
import { runPlan } from './run-plan.js';
import { prepareSubdir, type PrepareOptions, type PlannedWork, type SubdirWork } from './subdir-work.js';

/** Archives under way at once; enough to keep a registry on the same machine busy. */
export const DEFAULT_CONCURRENCY = 16;

/** Options of {@link mirrorChannel} and {@link planMirror}. */
export interface MirrorOptions {
  readonly source: ChannelSource;
  readonly destination: ChannelStore;
  /** Subdirs to mirror. @defaultValue all that the source has */
  readonly subdirs?: readonly string[] | undefined;
  /** @defaultValue 16 */
  readonly concurrency?: number | undefined;
  /** Ask the registry about every archive instead of trusting the ledger. @defaultValue false */
  readonly deep?: boolean | undefined;
  /** Take repodata that is older than what was mirrored last. @defaultValue false */
  readonly allowOlder?: boolean | undefined;
  /** Keep records that others published in the destination. @defaultValue false: stop instead */
  readonly merge?: boolean | undefined;
  /** Publish the newest state of the source although a rollback holds the channel. @defaultValue false: stop instead */
  readonly resume?: boolean | undefined;
  /** Where temporary files go. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
  /** Worker threads that several runs share. @defaultValue some of its own, which end with the run */
  readonly workers?: WorkerPool | undefined;
  readonly reporter?: MirrorReporter | undefined;
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Says what {@link mirrorChannel} would do, without moving anything or opening an archive.
 * @throws FerryError as {@link mirrorChannel}
 */
export async function planMirror(options: MirrorOptions): Promise<MirrorPlan> {
  // Its threads start with their first task.
  await using own = new WorkerPool();
  const prepare = prepareOptions(options, options.workers ?? own);
  const { works } = await prepareAll(prepare, options.subdirs);
  await checkSchemas(works, prepare.store, prepare);
  const subdirs = works.map((work): PlannedSubdir => {
    const { subdir } = work;
    if (work.status === 'planned') return { subdir, status: 'planned', plan: work.plan };
    if (work.status !== 'retry') return { subdir, status: work.status };
    return { subdir, status: 'retry', quarantined: work.ledger.quarantine.map(({ filename }) => filename) };
  });
  return { ...names(options), subdirs };
}

/**
 * Mirrors a channel into an OCI store.
 * @returns what was done; archives that failed are in it, and do not throw
 * @throws FerryError `CHANNEL_NOT_FOUND`, `ROLLED_BACK`, `SOURCE_OLDER`, `FOREIGN_RECORDS`, `LEDGER_INVALID`, `SCHEMA_CONFLICT`,
 * `NAME_UNREPRESENTABLE` (the channel's path is too long), `DISK_FULL`;
 * CopyError where the destination fails as a whole. The next run goes on from there.
 */
export async function mirrorChannel(options: MirrorOptions): Promise<MirrorReport> {
  // Its threads start with their first task.
  await using own = new WorkerPool();
  await using temp = await TempFolder.create(options.tempDir);
  const prepare = prepareOptions(options, options.workers ?? own);
  const context: RunContext = {
    ...prepare,
    temp,
    reporter: options.reporter ?? {},
    now: options.now ?? (() => new Date()),
  };
  const prepared = await prepareAll(prepare, options.subdirs);
  const works: SubdirWork[] = [];
  for (const work of prepared.works)
    works.push(work.status === 'retry' ? await retryQuarantine(work, context) : work);
  await checkSchemas(works, context.store, context);
  announce(works, context.reporter);
  await checkDestination(works, context);

  const reports: SubdirReport[] = [];
  for (const work of works) {
    context.signal?.throwIfAborted();
    reports.push(await runSubdir(work, prepared.discovered, context));
  }
  return { ...names(options), subdirs: reports };
}

/** One early error instead of one for each archive: asks once, in the deepest kind of repository there will be. */
async function checkDestination(works: readonly SubdirWork[], context: RunContext): Promise<void> {
  const first = works.find(
    (work): work is PlannedWork => work.status === 'planned' && work.plan.items.length > 0,
  );
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

function prepareOptions(options: MirrorOptions, workers: WorkerPool): PrepareOptions {
  return {
    source: options.source,
    store: options.destination,
    workers,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    deep: options.deep ?? false,
    allowOlder: options.allowOlder ?? false,
    merge: options.merge ?? false,
    resume: options.resume ?? false,
    signal: options.signal === undefined ? undefined : quietSignal(options.signal),
  };
}

interface PreparedSubdirs {
  readonly works: readonly SubdirWork[];
  /** Subdirs found at a source that cannot list them; noarch's ledger remembers them. */
  readonly discovered: readonly string[] | undefined;
}

/**
 * Prepares the subdirs wanted. A web server cannot list its folders: there the platforms that conda knows are tried,
 * and not again until noarch changes.
 */
async function prepareAll(
  options: PrepareOptions,
  wanted: readonly string[] | undefined,
): Promise<PreparedSubdirs> {
  for (const subdir of wanted ?? []) {
    if (!isSubdir(subdir))
      throw new FerryError('USAGE', `\`${subdir}\` is no subdir such as \`noarch\` or \`linux-64\``);
  }
  const listed = wanted === undefined ? await options.source.subdirs(options) : [...new Set(wanted)];
  if (listed !== undefined) {
    const works: SubdirWork[] = [];
    for (const subdir of listed) works.push(await prepareSubdir(subdir, options));
    checkFound(works, options.source);
    return { works, discovered: undefined };
  }
  const noarch = await prepareSubdir('noarch', options);
  const remembered =
    noarch.status === 'current' || noarch.status === 'retry' ? noarch.state.ledger?.subdirs : undefined;
  const others = (remembered ?? KNOWN_SUBDIRS).filter((subdir) => subdir !== 'noarch');
  const works: SubdirWork[] = [noarch];
  for (const subdir of others) works.push(await prepareSubdir(subdir, options));
  checkFound(works, options.source);
  const found = works.filter(({ status }) => status !== 'absent');
  return { works: found, discovered: found.map(({ subdir }) => subdir) };
}

function checkFound(works: readonly SubdirWork[], source: ChannelSource): void {
  if (works.some(({ status }) => status !== 'absent')) return;
  throw new FerryError('CHANNEL_NOT_FOUND', `there is no repodata at \`${source.url}\``, {
    hint: 'give the folder above `noarch` and `linux-64`; for other subdirs over HTTP pass --subdir',
  });
}

async function runSubdir(
  work: SubdirWork,
  discovered: readonly string[] | undefined,
  context: RunContext,
): Promise<SubdirReport> {
  if (work.status === 'planned') return runPlan(work, discovered, context);
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
    failed,
    withheld: (ledger?.withheld ?? []).map((entry) => ({ ...failureOf(entry), clause: entry.clause })),
    kept: Object.keys(ledger?.kept ?? {}).length,
    warnings: [],
  };
}

function announce(works: readonly SubdirWork[], reporter: MirrorReporter): void {
  const plans = works.flatMap((work) => (work.status === 'planned' ? [work.plan] : []));
  const items = plans.flatMap((plan) => plan.items);
  reporter.planned?.({
    archives: items.reduce((total, item) => total + item.add.length, 0),
    bytes: plans.reduce((total, plan) => total + plan.bytes, 0),
  });
}
