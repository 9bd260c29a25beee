/**
 * What has to be done in one subdir: compares the destination's state with the source's snapshot, and says whether
 * there is nothing to do, something to try again, or a plan to run.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import type { Ledger } from '../artifact/ledger.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { archiveIdentity } from '../conda/package-record.js';
import { Repodata } from '../conda/repodata.js';
import { FerryError, isFerryError } from '../errors.js';
import { askRegistry } from './ask-registry.js';
import { planSubdir, readWanted, repositoriesOf, type SubdirPlan } from './plan.js';
import { filtersDigest } from './publish.js';
import { checkNotHeld } from './run-marks.js';
import { checkNotOlder, takeSnapshot, type Snapshot, type SnapshotOrigin } from './snapshot.js';
import { readPublished, readState, type Published, type SubdirState } from './state.js';

/** More vanishing records than this part of all is worth a warning. */
const VANISHED_WARNING_SHARE = 0.01;

/** A subdir with its snapshot and plan. */
export interface PlannedWork {
  readonly status: 'planned';
  readonly subdir: string;
  readonly state: SubdirState;
  readonly snapshot: Snapshot;
  readonly repodata: Repodata;
  readonly published: Published | undefined;
  readonly plan: SubdirPlan;
  /** Records that others published and that stay listed. */
  readonly foreign: ReadonlySet<string>;
  /** Whether a ledger vouched for what is listed. */
  readonly isTrusted: boolean;
  readonly warnings: readonly string[];
}

/** What there is to do in a subdir. */
export type SubdirWork =
  | { readonly status: 'absent'; readonly subdir: string }
  | { readonly status: 'current'; readonly subdir: string; readonly state: SubdirState }
  /** Nothing changed, but archives that failed before may have come. */
  | {
      readonly status: 'retry';
      readonly subdir: string;
      readonly state: SubdirState;
      readonly ledger: Ledger;
    }
  | PlannedWork;

/** What {@link prepareSubdir} works with. */
export interface PrepareOptions {
  readonly source: ChannelSource;
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  readonly concurrency: number;
  readonly deep: boolean;
  readonly allowOlder: boolean;
  readonly merge: boolean;
  /** Go on where a rollback holds the channel. */
  readonly resume: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds out what has to be done in a subdir.
 * @throws FerryError `ROLLED_BACK`, `SOURCE_OLDER`, `FOREIGN_RECORDS`, `LEDGER_INVALID`, `REPODATA_INVALID`
 */
export async function prepareSubdir(subdir: string, options: PrepareOptions): Promise<SubdirWork> {
  const { source, store, workers, signal } = options;
  const state = await readState(store, subdir, { source: source.url, deep: options.deep, signal });
  const { ledger } = state;
  if (!options.resume) checkNotHeld(ledger, store, subdir);
  const isSettled =
    !options.deep &&
    state.trust === 'vouched' &&
    ledger?.source !== undefined &&
    ledger.filters === filtersDigest(store);
  const unless = isSettled ? originOf(ledger) : undefined;
  const answer = await takeSnapshot(source, subdir, { unless, workers, signal });
  if (answer.status === 'absent') return { status: 'absent', subdir };

  const isSame =
    answer.status === 'unchanged' || (isSettled && answer.snapshot.digest === ledger.source?.digest);
  if (isSame && ledger !== undefined) {
    if (ledger.quarantine.length > 0) return { status: 'retry', subdir, state, ledger };
    return { status: 'current', subdir, state };
  }
  if (answer.status === 'unchanged') throw new FerryError('INTERNAL', `\`${subdir}\` has no ledger`);
  return planSnapshot(answer.snapshot, state, options);
}

/** Plans a subdir anew although its source did not change. */
export async function prepareAgain(
  subdir: string,
  state: SubdirState,
  options: PrepareOptions,
): Promise<SubdirWork> {
  const { source, workers, signal } = options;
  const answer = await takeSnapshot(source, subdir, { workers, signal });
  if (answer.status !== 'found') return { status: 'absent', subdir };
  return planSnapshot(answer.snapshot, state, options);
}

async function planSnapshot(
  snapshot: Snapshot,
  state: SubdirState,
  options: PrepareOptions,
): Promise<PlannedWork> {
  const { store } = options;
  const { subdir } = snapshot;
  const isSameSource = state.ledger?.role.source === options.source.url;
  if (!options.allowOlder && isSameSource) checkNotOlder(snapshot, originOf(state.ledger)?.validators);
  const repodata = parseSnapshot(snapshot, options.source);
  const published = state.latest && (await readPublished(store, subdir, state.latest, options));
  if (!options.allowOlder) checkNotVanished(repodata, published);
  const isTrusted = state.trust === 'vouched' || state.trust === 'interrupted';
  const { foreign, vanished } = sortVanished(state, published, repodata);
  if (foreign.size > 0 && !options.merge && !isTrusted) throw foreignError(store, subdir, foreign);
  const wanted = readWanted(store, repodata, foreign);

  // Listed archives are there if the ledger vouches for the list; of all others only the registry knows.
  const believed = isTrusted
    ? [...Object.entries(state.ledger?.kept ?? {}), ...listedArchives(published)]
    : [];
  // With `deep`, all that the source lists is asked for; of the rest only the ledger knows.
  const there = new Map(believed.filter(([filename]) => !options.deep || !repodata.has(filename)));
  if (options.deep || state.trust === 'interrupted' || state.trust === 'unknown') {
    const open = wanted.records.filter(([record]) => there.get(record.filename) !== archiveIdentity(record));
    const blobs = options.deep || state.trust === 'unknown';
    const found = await askRegistry(open, { ...options, subdir, blobs });
    const asked = new Set(open.map(([record]) => record.filename));
    for (const [filename, identity] of found) {
      if (asked.has(filename) || !there.has(filename)) there.set(filename, identity);
    }
  }
  // Where all was asked for, the manifests themselves told which repositories have it.
  for (const repository of isTrusted ? repositoriesOf(store, there.keys()) : []) {
    store.rememberConfig(store.packageRepository(subdir, { repository }));
  }

  return {
    status: 'planned',
    subdir,
    state,
    snapshot,
    repodata,
    published,
    plan: planSubdir({ store, repodata, there }, wanted),
    foreign,
    isTrusted,
    warnings: [...warningsOf(repodata, published, vanished)],
  };
}

function parseSnapshot(snapshot: Snapshot, source: ChannelSource): Repodata {
  try {
    return new Repodata(snapshot.bytes, snapshot.subdir);
  } catch (error) {
    if (!isFerryError(error)) throw error;
    const file = `${source.url}/${snapshot.subdir}/${snapshot.origin.file}`;
    throw new FerryError(error.code, `\`${file}\` cannot be read`, { cause: error });
  }
}

/** An empty file is a channel without packages (CEP 26), and also what a source that broke in the middle looks like. */
function checkNotVanished(repodata: Repodata, published: Published | undefined): void {
  const before = published?.repodata.recordCount ?? 0;
  if (repodata.recordCount > 0 || before === 0) return;
  throw new FerryError(
    'SOURCE_VANISHED',
    `\`${repodata.subdir}\` of the source lists nothing, where ${String(before)} archives were listed`,
    { hint: 'pass --allow-older if that is meant' },
  );
}

/** Sorts published records that the source does not list: put there by others, or gone at the source. */
function sortVanished(
  state: SubdirState,
  published: Published | undefined,
  repodata: Repodata,
): { readonly foreign: ReadonlySet<string>; readonly vanished: number } {
  const known = new Set(state.ledger?.foreign ?? []);
  const removed = repodata.removed();
  const isTrusted = state.trust === 'vouched' || state.trust === 'interrupted';
  const foreign = new Set<string>();
  let vanished = 0;
  for (const filename of published?.repodata.filenames() ?? []) {
    if (repodata.has(filename)) continue;
    if (known.has(filename) || (!isTrusted && !removed.has(filename))) foreign.add(filename);
    else vanished += 1;
  }
  return { foreign, vanished };
}

function foreignError(store: ChannelStore, subdir: string, foreign: ReadonlySet<string>): FerryError {
  const names = [...foreign].slice(0, 3).map((name) => `\`${name}\``);
  const more = foreign.size > names.length ? ` and ${String(foreign.size - names.length)} more` : '';
  return new FerryError(
    'FOREIGN_RECORDS',
    `\`${subdir}\` of \`${store.location}\` lists ${names.join(', ')}${more}, which this mirror did not put there`,
    { hint: 'pass --merge to keep them listed beside what the source has' },
  );
}

function* warningsOf(
  repodata: Repodata,
  published: Published | undefined,
  vanished: number,
): Generator<string> {
  yield* repodata.neededChanges().map((change) => `${repodata.subdir}: ${change}`);
  const before = published?.repodata.recordCount ?? 0;
  if (before > 0 && vanished / before > VANISHED_WARNING_SHARE) {
    yield `${repodata.subdir}: ${String(vanished)} of ${String(before)} records vanished at the source`;
  }
}

function* listedArchives(published: Published | undefined): Generator<readonly [string, string]> {
  for (const read of published?.repodata.records() ?? []) {
    const identity = 'record' in read ? archiveIdentity(read.record) : undefined;
    if (identity !== undefined) yield [read.filename, identity];
  }
}

function originOf(ledger: Ledger | undefined): SnapshotOrigin | undefined {
  if (ledger?.source === undefined) return undefined;
  const { file, etag, last_modified: lastModified } = ledger.source;
  return { file, validators: { etag, lastModified } };
}
