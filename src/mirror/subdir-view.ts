import type { ChannelStore } from '../artifact/channel-store.js';
import type { Ledger } from '../artifact/ledger.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { FerryError } from '../errors.js';
import type { Digest } from '../io/digest.js';
import type { Resources } from '../io/resources.js';
import type { TempFolder } from '../io/temp-folder.js';
import { checkNotHeld, checkNotPublished } from '../artifact/run-marks.js';
import { namesOfArchives } from './filters/names-asked-for.js';
import { isOfShards, MAX_NAMES, takeNamedSnapshot } from './named-snapshot.js';
import {
  checkNotOlder,
  takeSnapshot,
  type Snapshot,
  type SnapshotAnswer,
  type SnapshotOrigin,
} from './snapshot.js';
import { readPublished, readState, type Published, type SubdirState } from './state.js';

/** Both ends of a subdir as they were found. */
export type SubdirView =
  | { readonly status: 'absent'; readonly subdir: string }
  /** The source has nothing new, and the ledger vouches for what is published. */
  | {
      readonly status: 'settled';
      readonly subdir: string;
      readonly state: SubdirState;
      readonly ledger: Ledger;
      readonly warnings: readonly string[];
    }
  | {
      readonly status: 'found';
      readonly subdir: string;
      readonly state: SubdirState;
      readonly snapshot: Snapshot;
      /** What is published there. */
      readonly published: Published | undefined;
      readonly warnings: readonly string[];
    };

/** What {@link viewSubdir} works with. */
export interface ViewOptions {
  readonly source: ChannelSource;
  readonly store: ChannelStore;
  /** Ask the registry about every archive instead of trusting the ledger. */
  readonly deep: boolean;
  /** Take repodata that is older than what was mirrored last. */
  readonly allowOlder: boolean;
  /** Go on where a rollback holds the channel. */
  readonly resume: boolean;
  /** Digest of what decides which records are wanted. */
  readonly filters: Digest;
  /** All packages that can be wanted, in lower case, if these are known. @defaultValue not known */
  readonly names?: ReadonlySet<string> | undefined;
  readonly now: () => Date;
  readonly temp: TempFolder;
  readonly workers: WorkerPool;
  /** Holds the snapshots until the run ends. */
  readonly resources: Resources;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Looks at a subdir: three requests to the destination, one to the source.
 * @param again take a snapshot even where nothing changed
 * @throws FerryError `ROLLED_BACK`, `SOURCE_OLDER`, `LEDGER_INVALID`, `REPODATA_INVALID`
 */
export async function viewSubdir(subdir: string, options: ViewOptions, again = false): Promise<SubdirView> {
  const { source, store, signal } = options;
  const state = await readState(store, subdir, { source: source.url, deep: options.deep, signal });
  checkNotPublished(state.ledger, store, subdir);
  if (!options.resume) checkNotHeld(state.ledger, store, subdir);
  return viewSource(subdir, state, options, again);
}

/** As {@link viewSubdir}, where the destination was looked at already. */
export async function viewSource(
  subdir: string,
  state: SubdirState,
  options: ViewOptions,
  again = false,
): Promise<SubdirView> {
  const { source, signal } = options;
  const { ledger } = state;
  const before = originOf(ledger);
  const unless = again || !isSettled(state, options) ? undefined : before;
  const look = new PublishedLook(subdir, state, options);
  const { warnings, ...answer } = await snapshotOf(subdir, state, look, { ...options, unless });
  if (answer.status === 'absent') return { status: 'absent', subdir };
  if (answer.status === 'unchanged') {
    if (ledger === undefined) throw new FerryError('INTERNAL', `\`${subdir}\` has no ledger`);
    return { status: 'settled', subdir, state, ledger, warnings: [] };
  }
  const snapshot = options.resources.use(answer.snapshot);
  if (unless !== undefined && ledger !== undefined && snapshot.digest === ledger.source?.digest)
    return { status: 'settled', subdir, state, ledger, warnings: snapshot.warnings };
  const isSameSource = ledger?.role.source === source.url;
  // Shards and repodata of one state may be written some minutes apart.
  const isSameKind = isOfShards(before) === isOfShards(snapshot.origin);
  if (!options.allowOlder && isSameSource && isSameKind) checkNotOlder(snapshot, before?.validators);
  signal?.throwIfAborted();
  return { status: 'found', subdir, state, snapshot, published: await look.read(), warnings };
}

/** The snapshot, out of shards where filters name few packages; the next best is all of the repodata. */
async function snapshotOf(
  subdir: string,
  state: SubdirState,
  look: PublishedLook,
  options: ViewOptions & { readonly unless: SnapshotOrigin | undefined },
): Promise<SnapshotAnswer & { readonly warnings: readonly string[] }> {
  const { source, temp, workers, names, unless, deep, signal } = options;
  const warnings: string[] = [];
  // What others published is compared with all that the source has; so is everything, where nothing is believed.
  if (names !== undefined && !deep && state.trust !== 'unknown') {
    const named = await takeNamedSnapshot(source, subdir, {
      asked: names,
      atHand: () => look.names(),
      unless,
      temp,
      signal,
    });
    if (named.status !== 'unfit') return { ...named, warnings };
    if (named.warning !== undefined) warnings.push(named.warning);
  }
  const ofRepodata = isOfShards(unless) ? undefined : unless;
  return { ...(await takeSnapshot(source, subdir, { unless: ofRepodata, temp, workers, signal })), warnings };
}

/** What is published in a subdir, read when it is needed and once. */
class PublishedLook {
  readonly #subdir: string;
  readonly #state: SubdirState;
  readonly #options: ViewOptions;
  #reading: Promise<Published | undefined> | undefined;

  constructor(subdir: string, state: SubdirState, options: ViewOptions) {
    this.#subdir = subdir;
    this.#state = state;
    this.#options = options;
  }

  async read(): Promise<Published | undefined> {
    this.#reading ??= this.#read();
    return this.#reading;
  }

  /** Names of all that is listed or kept; `undefined` where they are too many, or a record does not tell. */
  async names(): Promise<ReadonlySet<string> | undefined> {
    const { kept = {}, unlisted = {} } = this.#state.ledger ?? {};
    const unseen = namesOfArchives([...Object.keys(kept), ...Object.keys(unlisted)]);
    if (unseen === undefined) return undefined;
    const names = new Set(unseen);
    for (const read of (await this.read())?.repodata.records() ?? []) {
      if ('error' in read || names.size > MAX_NAMES) return undefined;
      names.add(read.record.name.toLowerCase());
    }
    return names;
  }

  async #read(): Promise<Published | undefined> {
    const { latest } = this.#state;
    if (latest === undefined) return undefined;
    const published = await readPublished(this.#options.store, this.#subdir, latest, this.#options);
    return published && this.#options.resources.use(published);
  }
}

/** Whether there can be nothing to do unless the source changed. */
function isSettled({ trust, ledger }: SubdirState, { deep, filters, now }: ViewOptions): boolean {
  if (deep || trust !== 'vouched' || ledger?.source === undefined) return false;
  const isRipe = ledger.ripens !== undefined && Date.parse(ledger.ripens) <= now().getTime();
  return ledger.filters === filters && !isRipe;
}

function originOf(ledger: Ledger | undefined): SnapshotOrigin | undefined {
  if (ledger?.source === undefined) return undefined;
  const { file, etag, last_modified: lastModified } = ledger.source;
  return { file, validators: { etag, lastModified } };
}
