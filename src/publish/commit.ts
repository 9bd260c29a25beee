/**
 * The commit of an operation: log it, merge all that the log has, write `latest`, and look whether it is in. Registries
 * have no compare-and-swap, so a writer can be overtaken; then it merges again. docs/publishing.md has the argument.
 */
import type { Ledger } from '../artifact/ledger.js';
import {
  listOperations,
  logOperation,
  newOperation,
  readOperation,
  type LoggedOperation,
  type OperationEntry,
} from '../artifact/operation-log.js';
import { FerryError, isFerryError } from '../errors.js';
import { compareText } from '../io/compare-text.js';
import { forEachConcurrently } from '../io/pool.js';
import {
  pause,
  readHead,
  readStateAt,
  writeHead,
  type Head,
  type HeadOptions,
  type WriteHeadOptions,
} from './head.js';
import { joinStates, mergeOperations, type MergedState } from './merge.js';

/** Operations read at once. */
const READ_CONCURRENCY = 8;
const DEFAULT_PATIENCE_MS = 10 * 60 * 1000;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 5_000;

/** Options of {@link commitEntries} and {@link mergeLog}. */
export interface CommitOptions extends HeadOptions {
  /** Whether a subdir that has no repodata yet gets the uncompressed form. @defaultValue true */
  readonly plainJson?: boolean | undefined;
  /** The last compaction of the log, as the ledger tells it. @defaultValue there was none */
  readonly epoch?: Ledger['epoch'];
  /** How long a writer that is overtaken tries again, in milliseconds. @defaultValue ten minutes */
  readonly patienceMs?: number | undefined;
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  /** For tests: a number from 0 to before 1. @defaultValue `Math.random` */
  readonly random?: (() => number) | undefined;
}

/** What came of a commit. */
export interface Committed {
  readonly head: Head;
  /** `undefined` where nothing was left to be wanted. */
  readonly logged: LoggedOperation | undefined;
  /** All operations that were merged on the way, one's own among them. */
  readonly merged: readonly LoggedOperation[];
}

/** Says what is wanted of a subdir, given all that is known of it right before that is logged. */
export type DraftEntries = (state: MergedState) => readonly OperationEntry[];

/**
 * Logs what is wanted of a subdir, and merges the log into `latest` until it is in. Where the store has a lock, one writer
 * at a time does so, from the draft to the end; elsewhere writers that overtake each other try again after pauses of random
 * length.
 * @param draft the entries, or what makes them out of the latest state: the shorter the time from that to the log, the less
 * can come between
 * @param known a head that was read before
 * @throws FerryError `TAG_MOVED` where others kept overtaking: the operation is logged, and gets in with the next push;
 * `OPERATION_INVALID`, `REPODATA_INVALID`, `LOCK_TIMEOUT`
 */
export async function commitEntries(
  subdir: string,
  draft: readonly OperationEntry[] | DraftEntries,
  known: Head,
  options: CommitOptions,
): Promise<Committed> {
  const { store, now = () => new Date() } = options;
  await using _ = await lockLog(subdir, options);
  const read = new Map<string, LoggedOperation>();
  let head = known;
  let entries = draft;
  if (typeof entries === 'function') {
    head = await readHead(subdir, options, head);
    entries = entries(await stateOf(subdir, head, read, options));
  }
  if (entries.length === 0) return { logged: undefined, ...(await merge(subdir, head, read, options)) };
  const logged = newOperation(subdir, entries, head.digest, now());
  await logOperation(store, logged, options);
  read.set(logged.tag, logged);
  return { logged, ...(await merge(subdir, head, read, { ...options, wanted: logged })) };
}

/** Options of {@link mergeLog}. */
export interface MergeOptions extends CommitOptions {
  /** Publish an empty list where nothing was ever published. @defaultValue false */
  readonly creates?: boolean | undefined;
}

/** Reads the head of a subdir with all that is logged, without writing anything. @throws FerryError as {@link mergeLog} */
export async function readMerged(
  subdir: string,
  options: CommitOptions,
): Promise<{ readonly head: Head; readonly state: MergedState }> {
  const head = await readHead(subdir, options);
  return { head, state: await stateOf(subdir, head, new Map(), options) };
}

/**
 * Merges the log of a subdir into `latest`, until nothing is left to merge.
 * @returns the head as it was read back
 * @throws FerryError as {@link commitEntries}
 */
export async function mergeLog(
  subdir: string,
  known: Head,
  options: MergeOptions,
): Promise<{ readonly head: Head; readonly merged: readonly LoggedOperation[] }> {
  await using _ = await lockLog(subdir, options);
  return await merge(subdir, known, new Map(), options);
}

/**
 * Writes a state that no operation led to, such as records made anew, while no other writer is at work where the store can
 * keep them out.
 * @throws FerryError `TAG_MOVED` where somebody else has written since the head was read; `LOCK_TIMEOUT`
 */
export async function writeRevised(
  subdir: string,
  state: MergedState,
  options: CommitOptions & WriteHeadOptions,
): Promise<Head> {
  await using _ = await lockLog(subdir, options);
  return await writeHead(subdir, state, options);
}

async function lockLog(
  subdir: string,
  { store, signal, patienceMs = DEFAULT_PATIENCE_MS }: CommitOptions,
): Promise<AsyncDisposable | undefined> {
  return store.metadataRepository(subdir, 'ledger').lock?.({ signal, timeoutMs: patienceMs });
}

/**
 * Whoever wrote `latest` last looks at the log once more: a write may have taken away what another writer had seen merged,
 * and that one looks no more. Who finds that somebody else has written since, with all that is wanted in it, may leave that
 * to them.
 */
async function merge(
  subdir: string,
  known: Head,
  read: Map<string, LoggedOperation>,
  options: MergeOptions & { readonly wanted?: LoggedOperation | undefined },
): Promise<{ readonly head: Head; readonly merged: readonly LoggedOperation[] }> {
  const { signal, wanted, random = Math.random, sleep = pause } = options;
  const patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
  const startedAt = performance.now();
  let head = known;
  for (let overtaken = 0; ;) {
    head = await readHead(subdir, options, head);
    const state = await stateOf(subdir, head, read, options);
    const isDue = state !== head || (options.creates === true && head.digest === undefined);
    const done = { head, merged: [...read.values()] };
    if (!isDue) return done;
    if (performance.now() - startedAt > patienceMs) {
      if (wanted !== undefined && isMerged(wanted, head)) return done;
      throw wasOvertaken(subdir, options);
    }
    const written = await tryWrite(subdir, state, head, options);
    if (written !== undefined) {
      head = await readHead(subdir, options, written);
      if (head === written) continue;
      const isIn = wanted === undefined ? hasAll(head, state) : isMerged(wanted, head);
      if (isIn) return { head, merged: [...read.values()] };
    }
    overtaken += 1;
    await sleep(Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** overtaken) * random(), signal);
  }
}

/** A head with all that is logged; the head itself where nothing is missing in it. */
async function stateOf(
  subdir: string,
  head: Head,
  read: Map<string, LoggedOperation>,
  options: CommitOptions,
): Promise<MergedState> {
  const base = await caughtUp(subdir, head, options);
  return mergeOperations(base, await readLog(subdir, head, read, options));
}

/**
 * The head; where a writer that slept through a compaction has written an older state over it, joined with what the log was
 * compacted into.
 * @throws FerryError `NOT_FOUND` where that is gone
 */
async function caughtUp(subdir: string, head: Head, options: CommitOptions): Promise<MergedState> {
  const { epoch, store } = options;
  if (epoch === undefined || head.mark.epoch >= epoch.number) return head;
  const base = await readStateAt(subdir, epoch.repodata, options);
  if (base !== undefined) return joinStates(head, base);
  throw new FerryError(
    'NOT_FOUND',
    `\`${subdir}\` of \`${store.location}\` was overwritten by an older state, and \`${epoch.generation}\` is gone`,
    { hint: 'conda-ferry index CHANNEL --from-artifacts lists again what is stored' },
  );
}

function hasAll({ mark }: Head, state: MergedState): boolean {
  const there = new Set(mark.operations);
  return state.mark.operations.every((tag) => there.has(tag));
}

function isMerged({ tag }: LoggedOperation, { mark }: Head): boolean {
  return mark.operations.includes(tag);
}

/** Reads those operations of the log that a head has not; each once. */
async function readLog(
  subdir: string,
  { mark }: Head,
  read: Map<string, LoggedOperation>,
  { store, signal }: CommitOptions,
): Promise<readonly LoggedOperation[]> {
  const merged = new Set(mark.operations);
  const tags = new Set([...(await listOperations(store, subdir, { signal })), ...read.keys()]);
  const open = [...tags].filter((tag) => !merged.has(tag)).sort(compareText);
  await forEachConcurrently(
    open.filter((tag) => !read.has(tag)),
    { concurrency: READ_CONCURRENCY, signal },
    async (tag) => {
      const operation = await readOperation(store, subdir, tag, { signal });
      if (operation !== undefined) read.set(tag, { tag, operation });
    },
  );
  return open.flatMap((tag) => read.get(tag) ?? []);
}

/** @returns what was written; `undefined` where somebody else has written meanwhile */
async function tryWrite(
  subdir: string,
  state: MergedState,
  head: Head,
  options: CommitOptions,
): Promise<Head | undefined> {
  const plain = head.digest === undefined ? (options.plainJson ?? true) : head.hasPlain;
  try {
    return await writeHead(subdir, state, { ...options, plain });
  } catch (error) {
    if (isFerryError(error, 'TAG_MOVED')) return undefined;
    throw error;
  }
}

function wasOvertaken(subdir: string, { store }: CommitOptions): FerryError {
  return new FerryError(
    'TAG_MOVED',
    `others kept publishing to \`${subdir}\` of \`${store.location}\`, so that this was not seen in it`,
    { hint: 'it is logged, and gets in with the next push; conda-ferry index merges it too' },
  );
}
