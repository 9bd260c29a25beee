/** The part of a push that concerns one subdir: what is listed there decides what may be stored, and what is logged. */
import { storeArchive, type StoredPackage } from '../artifact/pack.js';
import type { OperationEntry, PublishedRecord } from '../artifact/operation-log.js';
import { FerryError, isFerryError } from '../errors.js';
import { digestHex } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import { establishSubdir, openSubdir } from './channel-role.js';
import { commitEntries, mergeLog, type CommitOptions } from './commit.js';
import type { Head } from './head.js';
import { readLoggedRecords, rememberable, type FindLogged } from './logged-records.js';
import { makeRecord } from './make-record.js';
import { revisionOf, type MergedState } from './merge.js';
import type { PreparedArchive } from './prepare-archive.js';
import { alreadyPublished, judgeArchives, type Wanted } from './judge-archives.js';
import type { PushOptions, PushReporter, PushStatus } from './push.js';
import { settleArtifact } from './settle-artifact.js';
import { findArchive } from './restore-artifact.js';
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
  /** Asks once whether the destination takes uploads at all, before the first. */
  readonly checkWritable: () => Promise<void>;
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
  const { wanted, refused, there } = judgeArchives(archives, state, options);
  const outcomes: Outcome[] = [
    ...refused,
    ...there.map((archive) => ({ archive, status: 'there' as const, stored: undefined })),
  ];
  for (const _ of outcomes) options.reporter.done?.();
  if (dryRun || wanted.length === 0) {
    outcomes.push(
      ...wanted.map(({ archive, status }) => {
        return { archive, status: storeOnly ? ('stored' as const) : status, stored: undefined };
      }),
    );
    // What is logged and not in `latest` is what a writer who was killed has left: listed it is only now.
    const isBehind = !dryRun && !storeOnly && state !== before;
    const head = isBehind ? (await mergeLog(subdir, before, { ...options, epoch })).head : before;
    return { head, outcomes };
  }
  await options.checkWritable();
  if (!storeOnly) await establishSubdir(subdir, before, { ...options, ledger });
  const open = storeOnly
    ? before
    : await withdrawListed(subdir, wanted, state, before, { ...options, epoch });
  const stored: (Wanted & { readonly stored: StoredPackage })[] = [];
  const lost: Wanted[] = [];
  const store = async (item: Wanted): Promise<void> => {
    try {
      const replace = options.replace === true;
      stored.push({ ...item, stored: await storeArchive(item.archive, { ...options, replace }) });
    } catch (error) {
      if (!isFerryError(error) || error.code === 'DISK_FULL' || error.code === 'INTERNAL') throw error;
      outcomes.push({ archive: item.archive, error });
      if (item.withdrawn.length > 0) lost.push(item);
    }
    options.reporter.done?.();
  };
  // Twins share a tag, and whoever writes it second has to know of the first.
  await forEachConcurrently(byPlace(wanted), options, async (twins) => {
    for (const item of twins) await store(item);
  });
  if (storeOnly) {
    outcomes.push(
      ...stored.map((item) => ({ archive: item.archive, status: 'stored' as const, stored: item.stored })),
    );
    return { head: open, outcomes };
  }
  const listed = await entriesOf(subdir, stored, options);
  const entries = [...listed, ...(await returned(subdir, lost, state, options))];
  if (entries.length === 0) return { head: open, outcomes };
  const committed = await commitEntries(subdir, entries, open, { ...options, epoch });
  for (const [i, item] of stored.entries()) {
    const entry = listed[i];
    if (entry === undefined) continue;
    outcomes.push(await settle(item, entry, committed.head, options));
  }
  return { head: committed.head, outcomes };
}

function byPlace(wanted: readonly Wanted[]): readonly (readonly Wanted[])[] {
  const places = new Map<string, Wanted[]>();
  for (const item of wanted) {
    const { repository, tag } = item.archive.place;
    const key = `${repository}:${tag}`;
    places.set(key, [...(places.get(key) ?? []), item]);
  }
  return [...places.values()];
}

/** Takes what is about to get other bytes off every list, so that nobody is sent to bytes that are no longer there. */
async function withdrawListed(
  subdir: string,
  wanted: readonly Wanted[],
  state: MergedState,
  head: Head,
  options: CommitOptions,
): Promise<Head> {
  const filenames = wanted.flatMap(({ withdrawn }) => withdrawn);
  if (filenames.length === 0) return head;
  const entries = filenames.map((filename): OperationEntry => {
    const revision = revisionOf(state, filename) + 1;
    return { kind: 'remove', filename, revision, yank: false, ...rememberable(state.listing.get(filename)) };
  });
  await withdrawFromForms(subdir, filenames, options);
  return (await commitEntries(subdir, entries, head, options)).head;
}

/** Lists again what made room for archives that could not be stored, as far as that is there still. */
async function returned(
  subdir: string,
  lost: readonly Wanted[],
  state: MergedState,
  { store, signal }: PushOptions,
): Promise<readonly Listed[]> {
  const entries: Listed[] = [];
  for (const filename of lost.flatMap(({ withdrawn }) => withdrawn)) {
    const { record } = rememberable(state.listing.get(filename));
    if (record === undefined) continue;
    try {
      const manifest = await findArchive(store, subdir, filename, record.sha256, { signal });
      // One above the withdrawal, which is one above what was listed.
      const revision = revisionOf(state, filename) + 2;
      if (manifest !== undefined) entries.push({ kind: 'add', filename, revision, record, manifest });
    } catch (error) {
      // Then the next push, or `index`, lists it.
      if (!isFerryError(error)) throw error;
    }
  }
  return entries;
}

async function entriesOf(
  subdir: string,
  stored: readonly (Wanted & { readonly stored: StoredPackage })[],
  { store, signal, now = () => new Date() }: PushOptions,
): Promise<readonly Listed[]> {
  const time = now();
  const known = stored.filter(({ revision }) => revision > 0).map(({ archive }) => archive.layer.filename);
  const findLogged: FindLogged =
    known.length === 0 ? () => undefined : await readLoggedRecords(store, subdir, new Set(known), { signal });
  return stored.map((item) => entryOf(item, item.stored, findLogged, time));
}

function entryOf(
  { archive, revision, replaces }: Wanted,
  { descriptor }: StoredPackage,
  findLogged: FindLogged,
  now: Date,
): Listed {
  const { filename, md5, size, digest } = archive.layer;
  const sums = { sha256: digestHex(digest), md5, size };
  // The same bytes, listed once before, keep the time of that. @see CEP 47
  const since = findLogged(filename, sums.sha256)?.indexed_timestamp ?? now.getTime();
  const record = makeRecord(archive.info.indexJson, sums, since) as PublishedRecord;
  const shared = { filename, revision, record, manifest: descriptor.digest };
  return replaces === undefined ? { kind: 'add', ...shared } : { kind: 'replace', replaces, ...shared };
}

/** What the merge made of an archive. Of two under one name, pushed at the same moment, one is listed. */
async function settle(
  { archive, status, stored }: Wanted & { readonly stored: StoredPackage },
  entry: Listed,
  head: Head,
  options: PublishSubdirOptions,
): Promise<Outcome> {
  const { filename } = archive.layer;
  const listed = head.listing.get(filename);
  await settleArtifact(archive, entry, head, options);
  if (listed?.['sha256'] === entry.record.sha256) return { archive, status, stored };
  if (listed !== undefined) return { archive, error: alreadyPublished(filename) };
  const error = new FerryError('ARCHIVE_REMOVED', `\`${filename}\` was removed from the channel meanwhile`);
  return { archive, error };
}
