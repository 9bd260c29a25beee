import type { ChannelStore } from '../artifact/channel-store.js';
import type { Ledger } from '../artifact/ledger.js';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { FerryError } from '../errors.js';
import type { Digest } from '../io/digest.js';
import type { Resources } from '../io/resources.js';
import type { TempFolder } from '../io/temp-folder.js';
import { checkNotHeld } from './run-marks.js';
import { checkNotOlder, takeSnapshot, type Snapshot, type SnapshotOrigin } from './snapshot.js';
import { readState, type SubdirState } from './state.js';

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
  const { source, temp, workers, signal } = options;
  const { ledger } = state;
  const unless = again || !isSettled(state, options) ? undefined : originOf(ledger);
  const answer = await takeSnapshot(source, subdir, { unless, temp, workers, signal });
  if (answer.status === 'absent') return { status: 'absent', subdir };
  if (answer.status === 'unchanged') {
    if (ledger === undefined) throw new FerryError('INTERNAL', `\`${subdir}\` has no ledger`);
    return { status: 'settled', subdir, state, ledger, warnings: [] };
  }
  const snapshot = options.resources.use(answer.snapshot);
  if (unless !== undefined && ledger !== undefined && snapshot.digest === ledger.source?.digest)
    return { status: 'settled', subdir, state, ledger, warnings: snapshot.warnings };
  const isSameSource = ledger?.role.source === source.url;
  if (!options.allowOlder && isSameSource) checkNotOlder(snapshot, originOf(ledger)?.validators);
  return { status: 'found', subdir, state, snapshot };
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
