/** The compaction of the log: a generation that can be gone back to, and operations that are in it deleted. */
import { readLedger, writeLedger, type Ledger } from '../../artifact/ledger.js';
import {
  deleteOperations,
  listOperations,
  operationTime,
  readOperation,
} from '../../artifact/operation-log.js';
import { isFerryError } from '../../errors.js';
import { mergeLog, writeRevised, type CommitOptions } from '../commit.js';
import { readHead, type Head } from '../head.js';
import type { MergedState } from '../merge.js';

/**
 * Operations stay so long after they were logged: a writer that read `latest` before they were merged may write it after, and
 * then the log has to have them.
 */
export const OPERATION_GRACE_MS = 60 * 60 * 1000;

/** What {@link compactPublished} did. */
export interface Compaction {
  readonly head: Head;
  /** The history tag of the generation that is in force. */
  readonly generation: string | undefined;
  /** Whether it was made now. */
  readonly isNew: boolean;
  /** Operations that are no longer in the log. */
  readonly deleted: number;
}

/** Options of {@link compactPublished}. */
export interface CompactOptions extends CommitOptions {
  /** Do nothing unless operations have been in the log long enough. @defaultValue false: the head becomes a generation */
  readonly onlyWhenDue?: boolean | undefined;
}

/**
 * Makes the head of a published subdir a generation, if it is none, and takes out of the log what has been in it long enough.
 * What a yanked archive was listed as is told by nothing but the operation that took it off, so that one stays.
 * @throws FerryError `OPERATION_INVALID`, `LEDGER_INVALID`
 */
export async function compactPublished(
  subdir: string,
  head: Head,
  options: CompactOptions,
): Promise<Compaction> {
  for (let found = head; ;) {
    const ledger = await readLedger(options.store, subdir, { signal: options.signal });
    const done = await compactLog(subdir, found, ledger, options);
    if (done !== undefined) return done;
    found = (await mergeLog(subdir, found, { ...options, epoch: ledger?.epoch })).head;
  }
}

/** @returns `undefined` where somebody else has published meanwhile, and the log has to be merged first */
async function compactLog(
  subdir: string,
  head: Head,
  ledger: Ledger | undefined,
  options: CompactOptions,
): Promise<Compaction | undefined> {
  const { store, signal, now = () => new Date(), onlyWhenDue = false } = options;
  if (head.digest === undefined) return { head, generation: undefined, isNew: false, deleted: 0 };
  const time = now();
  const logged = await listOperations(store, subdir, { signal });
  const due = await dueOperations(subdir, head, logged, time, options);
  const { generation } = head.mark;
  const repository = store.metadataRepository(subdir, 'repodata.json');
  const isGeneration =
    generation !== undefined && (await repository.resolve(generation, { signal }))?.digest === head.digest;
  if (due.length === 0 && (isGeneration || onlyWhenDue))
    return { head, generation, isNew: false, deleted: 0 };

  if (isGeneration && ledger?.epoch?.repodata === head.digest) {
    // It was compacted into before; what could not be deleted then, or was too young, may go now.
    return {
      head,
      generation,
      isNew: false,
      deleted: await deleteOperations(store, subdir, due, { signal }),
    };
  }

  const tag = store.schema.historyTag(time);
  const epoch = head.mark.epoch + 1;
  // What stays in the log, maybe since this registry deletes nothing, must not be merged again and again.
  const operations = head.mark.operations.filter((name) => logged.includes(name));
  const state: MergedState = {
    listing: head.listing,
    mark: { ...head.mark, epoch, operations, generation: tag },
  };
  let written: Head;
  try {
    written = await writeRevised(subdir, state, { ...options, plain: head.hasPlain, historyTag: tag });
  } catch (error) {
    if (isFerryError(error, 'TAG_MOVED')) return undefined;
    throw error;
  }
  if (written.digest === undefined || ledger?.role.kind !== 'published')
    return { head: written, generation: tag, isNew: true, deleted: 0 };
  const after = { ...ledger, epoch: { number: epoch, repodata: written.digest, generation: tag } };
  await writeLedger(store, after, { signal });
  // Only what is in the state that is in force now.
  const found = await readHead(subdir, options, written);
  if (found.digest !== written.digest) return undefined;
  const deleted = await deleteOperations(store, subdir, due, { signal });
  return { head: written, generation: tag, isNew: true, deleted };
}

/** Merged operations that are old enough, and that nobody needs to undo a yank. */
async function dueOperations(
  subdir: string,
  { mark, listing }: Head,
  logged: readonly string[],
  now: Date,
  { store, signal }: CommitOptions,
): Promise<readonly string[]> {
  const merged = new Set(mark.operations);
  const due: string[] = [];
  for (const tag of logged) {
    const time = operationTime(tag)?.getTime() ?? now.getTime();
    if (!merged.has(tag) || now.getTime() - time < OPERATION_GRACE_MS) continue;
    const operation = await readOperation(store, subdir, tag, { signal });
    const isNeeded = operation?.entries.some(
      (entry) => entry.kind === 'remove' && entry.yank && listing.removed.has(entry.filename),
    );
    if (isNeeded !== true) due.push(tag);
  }
  return due;
}
