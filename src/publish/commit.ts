/**
 * The commit of an operation: log it, merge all that the log has, write `latest`, and look whether it is in. Registries
 * have no compare-and-swap, so a writer can be overtaken; then it merges again. docs/publishing.md has the argument.
 */
import { setTimeout as delay } from 'node:timers/promises';
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
import { forEachConcurrently } from '../io/pool.js';
import { readHead, readStateAt, writeHead, type Head, type HeadOptions } from './head.js';
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
  readonly logged: LoggedOperation;
  /** All operations that were merged on the way, one's own among them. */
  readonly merged: readonly LoggedOperation[];
}

/**
 * Logs what is wanted of a subdir, and merges the log into `latest` until it is in. Where the store has a lock, one writer
 * at a time does so; elsewhere writers that overtake each other try again after pauses of random length.
 * @param head what the entries were made of
 * @throws FerryError `TAG_MOVED` where others kept overtaking: the operation is logged, and gets in with the next push;
 * `OPERATION_INVALID`, `REPODATA_INVALID`
 */
export async function commitEntries(
  subdir: string,
  entries: readonly OperationEntry[],
  head: Head,
  options: CommitOptions,
): Promise<Committed> {
  const now = options.now ?? (() => new Date());
  const logged = newOperation(subdir, entries, head.digest, now());
  await logOperation(options.store, logged, options);
  return { logged, ...(await mergeLog(subdir, head, { ...options, wanted: logged })) };
}

/** Options of {@link mergeLog}. */
export interface MergeOptions extends CommitOptions {
  /** What has to be in. @defaultValue whatever is logged */
  readonly wanted?: LoggedOperation | undefined;
  /** Publish an empty list where nothing was ever published. @defaultValue false */
  readonly creates?: boolean | undefined;
}

/** Reads the head of a subdir with all that is logged, without writing anything. @throws FerryError as {@link mergeLog} */
export async function readMerged(
  subdir: string,
  options: CommitOptions,
): Promise<{ readonly head: Head; readonly state: MergedState }> {
  const head = await readHead(subdir, options);
  const base = await caughtUp(subdir, head, options);
  return { head, state: mergeOperations(base, await readLog(subdir, head, new Map(), options)) };
}

/**
 * Merges the log of a subdir into `latest`: until `wanted` is in, or else until nothing is left to merge.
 * @returns the head as it was read back
 * @throws FerryError as {@link commitEntries}
 */
export async function mergeLog(
  subdir: string,
  known: Head,
  options: MergeOptions,
): Promise<{ readonly head: Head; readonly merged: readonly LoggedOperation[] }> {
  const { store, signal, wanted, random = Math.random } = options;
  const patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
  const startedAt = performance.now();
  const read = new Map<string, LoggedOperation>(wanted === undefined ? [] : [[wanted.tag, wanted]]);
  await using _ = await store.metadataRepository(subdir, 'ledger').lock?.({ signal, timeoutMs: patienceMs });
  let head = known;
  for (let attempt = 0; ; attempt += 1) {
    if (attempt > 0) {
      if (performance.now() - startedAt > patienceMs) throw overtaken(subdir, options);
      const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
      await delay(pauseMs * random(), undefined, signal === undefined ? {} : { signal });
    }
    head = await readHead(subdir, options, head);
    const state = mergeOperations(
      await caughtUp(subdir, head, options),
      await readLog(subdir, head, read, options),
    );
    const isDue = state !== head || (options.creates === true && head.digest === undefined);
    if (isDue) {
      const written = await tryWrite(subdir, state, head, options);
      if (written === undefined) continue;
      // It may have been overwritten already.
      head = await readHead(subdir, options, written);
    }
    const isDone = wanted === undefined ? isIn(state, head) : isMerged(wanted, head);
    if (isDone) return { head, merged: [...read.values()] };
  }
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

function isIn(state: MergedState, head: Head): boolean {
  const there = new Set(head.mark.operations);
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
  const open = [...tags].filter((tag) => !merged.has(tag)).sort();
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

function overtaken(subdir: string, { store }: CommitOptions): FerryError {
  return new FerryError(
    'TAG_MOVED',
    `others kept publishing to \`${subdir}\` of \`${store.location}\`, so that this was not seen in it`,
    { hint: 'it is logged, and gets in with the next push; conda-ferry index merges it too' },
  );
}
