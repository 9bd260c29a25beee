/** The part of a push that concerns one subdir: what is listed there decides what may be stored, and what is logged. */
import { storeArchive, type StoredPackage } from '../artifact/pack.js';
import type { LoggedOperation, OperationEntry, PublishedRecord } from '../artifact/operation-log.js';
import { FerryError, isFerryError } from '../errors.js';
import { digestHex } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import { establishSubdir, openSubdir } from './channel-role.js';
import { commitEntries } from './commit.js';
import type { Head } from './head.js';
import { makeRecord } from './make-record.js';
import { revisionOf, type MergedState } from './merge.js';
import type { PreparedArchive } from './prepare-archive.js';
import type { PushOptions, PushReporter, PushStatus } from './push.js';
import { restoreArtifact } from './restore-artifact.js';
import { withdrawFromForms } from './withdraw.js';

/** What lists an archive. */
type Listed = Exclude<OperationEntry, { readonly kind: 'remove' }>;

/** What became of an archive. */
export type Outcome =
  | {
      readonly archive: PreparedArchive;
      readonly status: PushStatus;
      readonly stored: StoredPackage | undefined;
    }
  | { readonly archive: PreparedArchive; readonly error: FerryError };

/** Options of {@link publishSubdir}. */
export interface PublishSubdirOptions extends PushOptions {
  readonly concurrency: number;
  readonly dryRun: boolean;
  readonly reporter: PushReporter;
}

/**
 * Publishes archives of one subdir.
 * @throws FerryError `ROLE_MISMATCH`, `SCHEMA_CONFLICT`, `TAG_MOVED`, `OPERATION_INVALID`
 */
export async function publishSubdir(
  subdir: string,
  archives: readonly PreparedArchive[],
  options: PublishSubdirOptions,
): Promise<{ readonly head: Head; readonly outcomes: readonly Outcome[] }> {
  const { dryRun, storeOnly = false } = options;
  const { head: before, state, ledger, epoch } = await openSubdir(subdir, options);
  const outcomes: Outcome[] = [];
  const wanted: Wanted[] = [];
  for (const archive of archives) {
    const judged = judge(archive, state, options);
    if ('error' in judged) outcomes.push({ archive, error: judged.error });
    else if (judged.status === 'there') outcomes.push({ archive, status: 'there', stored: undefined });
    else wanted.push({ archive, ...judged });
  }
  for (const _ of outcomes) options.reporter.done?.();
  if (dryRun || wanted.length === 0) {
    outcomes.push(...wanted.map(({ archive, status }) => ({ archive, status, stored: undefined })));
    return { head: before, outcomes };
  }
  if (!storeOnly) await establishSubdir(subdir, before, { ...options, ledger });
  const open = storeOnly ? before : await withdrawListed(subdir, wanted, before, { ...options, epoch });
  const stored: (Wanted & { readonly stored: StoredPackage })[] = [];
  await forEachConcurrently(wanted, options, async (item) => {
    try {
      const replace = options.replace === true;
      stored.push({ ...item, stored: await storeArchive(item.archive, { ...options, replace }) });
    } catch (error) {
      if (!isFerryError(error) || error.code === 'DISK_FULL' || error.code === 'INTERNAL') throw error;
      outcomes.push({ archive: item.archive, error });
    }
    options.reporter.done?.();
  });
  if (storeOnly || stored.length === 0) {
    outcomes.push(
      ...stored.map((item) => ({ archive: item.archive, status: 'stored' as const, stored: item.stored })),
    );
    return { head: open, outcomes };
  }
  const now = (options.now ?? (() => new Date()))();
  const entries = stored.map((item) => entryOf(item, item.stored, now));
  const committed = await commitEntries(subdir, entries, open, { ...options, epoch });
  for (const [i, item] of stored.entries()) {
    const entry = entries[i];
    if (entry === undefined) continue;
    outcomes.push(await settle(item, entry, committed, options));
  }
  return { head: committed.head, outcomes };
}

interface Wanted {
  readonly archive: PreparedArchive;
  readonly status: Exclude<PushStatus, 'there' | 'stored'>;
  readonly revision: number;
  /** The sha256 of what is listed by that name. */
  readonly replaces: string | undefined;
}

/** Whether an archive may be published, and as what. */
function judge(
  { layer }: PreparedArchive,
  state: MergedState,
  { replace = false, storeOnly = false }: PushOptions,
): Omit<Wanted, 'archive'> | { readonly status: 'there' } | { readonly error: FerryError } {
  const { filename } = layer;
  const listed = state.listing.get(filename);
  const revision = revisionOf(state, filename);
  if (listed !== undefined) {
    const { sha256 } = listed;
    if (sha256 === digestHex(layer.digest)) return { status: 'there' };
    // Where the list stays as it is, what it names has to stay too.
    if (replace && !storeOnly && typeof sha256 === 'string')
      return { status: 'replaced', revision, replaces: sha256 };
    return { error: exists(filename) };
  }
  if (state.listing.removed.has(filename) && !replace) {
    return {
      error: new FerryError('ARCHIVE_REMOVED', `\`${filename}\` was removed from the channel`, {
        hint: 'give the new build another build number; --replace publishes under that name again',
      }),
    };
  }
  // Nothing was ever said of most; of what was taken off the list this has to be said after that.
  const isNew = revision === 0 && !state.listing.removed.has(filename);
  return { status: 'added', revision: isNew ? 0 : revision + 1, replaces: undefined };
}

function exists(filename: string): FerryError {
  return new FerryError('ARCHIVE_EXISTS', `\`${filename}\` is published already, with other bytes`, {
    hint: 'give the new build another build number; --replace puts this in its place',
  });
}

/** Takes what is about to get other bytes off every list, so that nobody is sent to bytes that are no longer there. */
async function withdrawListed(
  subdir: string,
  wanted: readonly Wanted[],
  head: Head,
  options: PublishSubdirOptions,
): Promise<Head> {
  const replaced = wanted.filter(({ status }) => status === 'replaced');
  if (replaced.length === 0) return head;
  const filenames = replaced.map(({ archive }) => archive.layer.filename);
  const entries = replaced.map(({ archive, revision }): OperationEntry => {
    return { kind: 'remove', filename: archive.layer.filename, revision: revision + 1, yank: false };
  });
  await withdrawFromForms(subdir, filenames, options);
  return (await commitEntries(subdir, entries, head, options)).head;
}

function entryOf({ archive, revision, replaces }: Wanted, { descriptor }: StoredPackage, now: Date): Listed {
  const { filename, md5, size, digest } = archive.layer;
  const sums = { sha256: digestHex(digest), md5, size };
  const record = makeRecord(archive.info.indexJson, sums, now.getTime()) as PublishedRecord;
  const shared = { filename, record, manifest: descriptor.digest };
  if (replaces === undefined) return { kind: 'add', revision, ...shared };
  // One above the withdrawal, which is one above what was listed.
  return { kind: 'replace', revision: revision + 2, replaces, ...shared };
}

/** What the merge made of an archive. Of two under one name, pushed at the same moment, one is listed. */
async function settle(
  { archive, status, stored }: Wanted & { readonly stored: StoredPackage },
  entry: Listed,
  { head, merged }: { readonly head: Head; readonly merged: readonly LoggedOperation[] },
  options: PublishSubdirOptions,
): Promise<Outcome> {
  const { filename } = archive.layer;
  const listed = head.listing.get(filename);
  const rivals = merged
    .flatMap(({ operation }) => operation.entries)
    .filter((other): other is Listed => other.kind !== 'remove' && other.filename === filename)
    .filter(({ record }) => record.sha256 !== entry.record.sha256);
  const winner = [entry, ...rivals].find(({ record }) => record.sha256 === listed?.['sha256']);
  if (rivals.length > 0 && winner !== undefined)
    await restoreArtifact(options.store, archive.subdir, winner, options);
  if (listed?.['sha256'] === entry.record.sha256) return { archive, status, stored };
  if (listed !== undefined) return { archive, error: exists(filename) };
  const error = new FerryError('ARCHIVE_REMOVED', `\`${filename}\` was removed from the channel meanwhile`);
  return { archive, error };
}
