/** Index of one subdir: what is stored against what is listed, the log, and the records themselves. */
import { readLedger, type Ledger } from '../../artifact/ledger.js';
import { operationTime, type OperationEntry, type PublishedRecord } from '../../artifact/operation-log.js';
import { checkNoRun, checkNotHeld } from '../../artifact/run-marks.js';
import { isArchiveFilename } from '../../conda/names.js';
import type { JsonObject } from '../../conda/record-details.js';
import { FerryError, isFerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { forEachConcurrently } from '../../io/pool.js';
import { establishSubdir } from '../channel-role.js';
import { commitEntries, mergeLog, readMerged, writeRevised, type CommitOptions } from '../commit.js';
import type { Head } from '../head.js';
import type { Listing } from '../listing.js';
import { readLoggedRecords, rememberable } from '../logged-records.js';
import { revisionOf, type MergedState } from '../merge.js';
import { readStoredRecord } from '../stored-record.js';
import { eachRecord, sectionOf, type SubdirRecords } from '../subdir-records.js';
import { withdrawFromForms } from '../withdraw.js';
import { compactPublished, OPERATION_GRACE_MS } from './compact.js';
import { findStored, lookUp, type StoredArchiveName } from './find-stored.js';
import type { IndexFailure, IndexOptions, SubdirIndex } from './index-channel.js';
import {
  patchedRecords,
  readStoredPatches,
  readUnpatched,
  recordsOf,
  type CompanionInput,
} from './companions.js';
import { readInfos } from './read-infos.js';
import { rebuildRecords, rewriteRecords } from './rebuild.js';
import { rememberedNames } from './remembered-names.js';

const DEFAULT_CONCURRENCY = 16;

/** What is known of one subdir while it is indexed. */
export interface SubdirView {
  readonly subdir: string;
  readonly ledger: Ledger | undefined;
  readonly head: Head;
  readonly state: MergedState;
  readonly stored: ReadonlyMap<string, StoredArchiveName>;
}

/** A subdir that was indexed. */
export interface IndexedSubdir {
  readonly report: SubdirIndex;
  /** Whether it has repodata. */
  readonly isPublished: boolean;
  /** What the files beside its repodata are made of; `undefined` where it is not ours to make them. */
  readonly companions: CompanionInput | undefined;
}

/**
 * Indexes a subdir.
 * @param leaves of its repositories; `undefined` where the store does not tell
 * @throws FerryError as `indexChannel`
 */
export async function indexSubdir(
  subdir: string,
  leaves: readonly string[] | undefined,
  options: IndexOptions,
): Promise<IndexedSubdir> {
  const { store, signal, concurrency = DEFAULT_CONCURRENCY, names = [] } = options;
  const ledger = await readLedger(store, subdir, { signal });
  checkNoRun(ledger, store, subdir);
  checkNotHeld(ledger, store, subdir);
  const shared = { ...options, concurrency, epoch: ledger?.epoch };
  const { head, state } = await readMerged(subdir, shared);
  const isOurs = checkOurs(subdir, ledger, head, options);
  // What is no file name of an archive can be in no operation, and nobody can ask for it.
  const known = [...state.listing.filenames()].filter(isArchiveFilename);
  const looked = leaves === undefined ? await rememberedNames(subdir, state, ledger, shared) : known;
  const found = await findStored(subdir, { store, concurrency, known: looked, names, leaves, signal });
  const stored = new Map(found);
  const unseen = known.filter((filename) => !stored.has(filename));
  for (const [filename, archive] of await lookUp(subdir, unseen, shared)) stored.set(filename, archive);
  const view: SubdirView = { subdir, ledger, head, state, stored };
  if (options.subdirs !== undefined && head.digest === undefined && stored.size === 0 && state === head)
    throw new FerryError('CHANNEL_NOT_FOUND', `there is no \`${subdir}\` at \`${store.location}\``);

  const dropped = known.filter((filename) => !isStored(view, filename)).sort(compareText);
  const { entries, failed } = isOurs ? await newEntries(view, options) : { entries: [], failed: [] };
  if (dropped.length > 0) await withdrawFromForms(subdir, dropped, options);
  let after = isOurs
    ? await commitChanges(view, dropped, entries, shared)
    : await dropRecords(view, dropped, shared);
  const rebuilt =
    options.fromArtifacts === true
      ? await rebuildRecords(subdir, after, shared)
      : { records: undefined, failed: [] };
  const revised: Revised = isOurs
    ? await reviseRecords(view, after, rebuilt.records, shared)
    : await rewriteRecords(subdir, after, rebuilt.records ?? new Map<string, JsonObject>(), shared);
  after = revised.head;
  const compaction = isOurs
    ? await compactPublished(subdir, after, shared)
    : { head: after, generation: undefined, deleted: 0 };
  const report: SubdirIndex = {
    subdir,
    role: isOurs ? 'published' : ledger?.role.kind,
    records: compaction.head.listing.recordCount,
    added: [...entries.map(({ filename }) => filename), ...(revised.returned ?? [])].sort(compareText),
    dropped,
    removed: [...(revised.removed ?? [])].sort(compareText),
    rewritten: revised.filenames,
    failed: [...failed, ...rebuilt.failed],
    generation: compaction.generation,
    compacted: compaction.deleted,
    isChanged: compaction.head.digest !== head.digest,
  };
  const { base } = revised;
  // Of what was never published there is nothing to tell.
  const isPublished = compaction.head.digest !== undefined;
  if (base === undefined || !isPublished || options.companions === false)
    return { report, isPublished, companions: undefined };
  const listings = [compaction.head.listing, ...base.listings];
  const warn = (message: string): void => options.reporter?.warning?.(message);
  const infos = await readInfos(subdir, listings, { ...shared, warn });
  const { unpatched, patches } = base;
  return { report, isPublished, companions: { subdir, head: compaction.head, unpatched, patches, infos } };
}

/** Whether a subdir is one that is published to. @throws FerryError `ROLE_MISMATCH` */
function checkOurs(
  subdir: string,
  ledger: Ledger | undefined,
  head: Head,
  { store, fromArtifacts = false, force = false, reporter }: IndexOptions,
): boolean {
  if (ledger?.role.kind === 'published') return true;
  if (ledger === undefined && (head.digest === undefined || force)) return true;
  // What another tool has published may be a mirror, of which nothing says what was taken off the list on purpose.
  const whose =
    ledger === undefined ? 'was published by another tool' : `is made out of \`${ledger.role.source}\``;
  if (fromArtifacts && !force) {
    throw new FerryError('ROLE_MISMATCH', `\`${subdir}\` of \`${store.location}\` ${whose}`, {
      hint: 'what its source patched would be lost; --force makes its records anew all the same',
    });
  }
  if (ledger === undefined)
    reporter?.warning?.(
      `${subdir} ${whose}: what is stored and not listed stays so, unless --force makes it ours`,
    );
  return false;
}

async function commitChanges(
  { subdir, head, state, ledger }: SubdirView,
  dropped: readonly string[],
  entries: readonly OperationEntry[],
  options: CommitOptions,
): Promise<Head> {
  const removals = dropped.map((filename): OperationEntry => {
    const revision = revisionOf(state, filename) + 1;
    return { kind: 'remove', filename, revision, yank: false, ...rememberable(state.listing.get(filename)) };
  });
  const changes = [...removals, ...entries];
  if (changes.length === 0 && head.digest === undefined && state === head) return head;
  await establishSubdir(subdir, head, { ...options, ledger });
  const committed =
    changes.length > 0 ? commitEntries(subdir, changes, head, options) : mergeLog(subdir, head, options);
  return (await committed).head;
}

/** Records as they are to be. */
interface Revised {
  readonly head: Head;
  /** Those that say something else than before. */
  readonly filenames: readonly string[];
  /** Archives that patch instructions took off the list, and those that they no longer do. */
  readonly removed?: readonly string[];
  readonly returned?: readonly string[];
  /** What they were before patches, and the listing that has all of these. */
  readonly base?: Pick<CompanionInput, 'unpatched' | 'patches'> & { readonly listings: readonly Listing[] };
}

/**
 * Brings the records in line with what archives and patch instructions say. What the instructions remove is yanked; what only
 * they removed, and no longer do, is listed again.
 * @param rebuilt records that were made anew, if they were
 */
async function reviseRecords(
  view: SubdirView,
  head: Head,
  rebuilt: ReadonlyMap<string, JsonObject> | undefined,
  options: IndexOptions,
): Promise<Revised> {
  const { subdir } = view;
  const patches = options.patches?.(subdir) ?? (await readStoredPatches(subdir, options));
  const before = patches === undefined ? recordsOf(head.listing) : await readUnpatched(subdir, head, options);
  const unpatched = withRecords(before, rebuilt);
  const wanted =
    patches === undefined ? { records: unpatched, gone: [] } : patchedRecords(unpatched, patches);
  const gone = wanted.gone.filter((filename) => head.listing.has(filename));
  const entries = gone.map((filename): OperationEntry => {
    const revision = revisionOf(head, filename) + 1;
    return { kind: 'remove', filename, revision, yank: true, ...rememberable(head.listing.get(filename)) };
  });
  for (const [filename, said] of eachRecord(wanted.records)) {
    const { record } = rememberable(said);
    // It stands among the records of before the patches, so nobody but they took it off the list.
    if (record === undefined || !head.listing.removed.has(filename)) continue;
    if (view.stored.get(filename)?.sha256 !== record.sha256) continue;
    entries.push({ kind: 'add', filename, revision: revisionOf(head, filename) + 1, record });
  }
  let after = head;
  if (entries.length > 0) after = (await commitEntries(subdir, entries, head, options)).head;
  // What archives say without patches stays written down, and tells patches from people who yank.
  if (gone.length > 0) await withdrawFromForms(subdir, gone, options, ['current_repodata.json']);
  const records = new Map(
    [...eachRecord(wanted.records)].filter(([filename]) => after.listing.has(filename)),
  );
  const rewritten = await rewriteRecords(subdir, after, records, options);
  const base = { unpatched: withRemoved(unpatched, after.listing), patches };
  const returned = entries.filter(({ kind }) => kind === 'add').map(({ filename }) => filename);
  return {
    ...rewritten,
    removed: gone,
    returned,
    base: { ...base, listings: [head.listing, after.listing] },
  };
}

/** Without patches what they remove is not removed. */
function withRemoved(records: SubdirRecords, { removed }: Listing): SubdirRecords {
  const names = [...removed].filter((filename) => !records[sectionOf(filename)].has(filename));
  return { ...records, removed: names.sort(compareText) };
}

function withRecords(
  records: SubdirRecords,
  others: ReadonlyMap<string, JsonObject> | undefined,
): SubdirRecords {
  if (others === undefined) return records;
  const sections = {
    packages: new Map(records.packages),
    'packages.conda': new Map(records['packages.conda']),
  };
  for (const [filename, record] of others) sections[sectionOf(filename)].set(filename, record);
  return { ...sections, removed: records.removed };
}

/** Takes records off the list of a mirror. Its next run sees that the ledger does not speak of this, and looks at everything. */
async function dropRecords(
  { subdir, head }: SubdirView,
  filenames: readonly string[],
  options: CommitOptions,
): Promise<Head> {
  if (filenames.length === 0) return head;
  const listing = head.listing.edit();
  for (const filename of filenames) listing.delete(filename);
  return writeRevised(subdir, { listing, mark: head.mark }, { ...options, plain: head.hasPlain });
}

/** Whether the bytes that a record names are stored. */
function isStored({ state, stored }: SubdirView, filename: string): boolean {
  const found = stored.get(filename);
  const sha256 = state.listing.get(filename)?.['sha256'];
  // Old records have no sha256; their artifact is there.
  return found !== undefined && (typeof sha256 !== 'string' || sha256.toLowerCase() === found.sha256);
}

/** Entries for archives that are stored and of which nothing says that they are not to be listed. */
async function newEntries(
  view: SubdirView,
  options: IndexOptions,
): Promise<{ readonly entries: readonly OperationEntry[]; readonly failed: readonly IndexFailure[] }> {
  const { subdir, state, stored } = view;
  const { store, signal, concurrency = DEFAULT_CONCURRENCY, now = () => new Date() } = options;
  const time = now();
  const entries: OperationEntry[] = [];
  const failed: IndexFailure[] = [];
  const missing = [...stored].filter(
    ([filename]) => !isListed(view, filename) && !state.listing.removed.has(filename),
  );
  const known = missing.map(([filename]) => filename).filter((filename) => revisionOf(state, filename) > 0);
  const findLogged =
    known.length === 0 ? () => undefined : await readLoggedRecords(store, subdir, new Set(known), { signal });
  await forEachConcurrently(missing, { concurrency, signal }, async ([filename, { name }]) => {
    const revision = revisionOf(state, filename);
    if (revision > 0 && !state.listing.has(filename) && isUnderWay(state, time)) {
      options.reporter?.warning?.(
        `${subdir}: ${filename} was taken off the list within the hour, maybe to be replaced; the next index lists it`,
      );
      return;
    }
    try {
      const found = await readStoredRecord(store, subdir, name, time.getTime(), { signal });
      if (found === undefined) return;
      // What was listed before keeps the time of that. @see CEP 47
      const since = findLogged(filename, found.record['sha256'])?.indexed_timestamp;
      const stamp = since === undefined ? {} : { indexed_timestamp: since };
      const record = { ...found.record, ...stamp } as PublishedRecord;
      const next = state.listing.has(filename) ? revision + 2 : revision > 0 ? revision + 1 : 0;
      entries.push({ kind: 'add', filename, revision: next, record, manifest: found.manifest });
    } catch (error) {
      if (!isFerryError(error) || error.code === 'INTERNAL') throw error;
      failed.push({ filename, error });
    }
  });
  return { entries, failed };
}

function isListed(view: SubdirView, filename: string): boolean {
  return view.state.listing.has(filename) && isStored(view, filename);
}

/** Whether somebody may be at work: an operation of the last hour is merged or logged. */
function isUnderWay({ mark }: MergedState, now: Date): boolean {
  return mark.operations.some((tag) => {
    const time = operationTime(tag);
    return time !== undefined && now.getTime() - time.getTime() < OPERATION_GRACE_MS;
  });
}
