/** How stored archives get into the list: what is in their way goes first, and what is logged is made of the latest state. */
import type { ListingEntry, OperationEntry, PublishedRecord } from '../artifact/operation-log.js';
import { isFerryError, type FerryError } from '../errors.js';
import { digestHex } from '../io/digest.js';
import { commitEntries } from './commit.js';
import type { Head } from './head.js';
import { alreadyPublished, judgeArchives, removedBefore, type Wanted } from './judge-archives.js';
import { readLoggedRecords, rememberable, type FindLogged } from './logged-records.js';
import { makeRecord } from './make-record.js';
import { revisionOf, type MergedState } from './merge.js';
import type { PreparedArchive } from './prepare-archive.js';
import type { Outcome, PublishSubdirOptions, Reached, StoredWanted } from './publish-subdir.js';
import type { PushOptions } from './push.js';
import { findArchive } from './restore-artifact.js';
import { twinOf } from './restore-listed.js';
import { withdrawFromForms } from './withdraw.js';

/**
 * Takes what is about to get other bytes off every list, so that nobody is sent to bytes that are no longer there.
 * @throws FerryError `TAG_MOVED`, `OPERATION_INVALID`
 */
export async function withdrawListed(
  subdir: string,
  wanted: readonly Wanted[],
  head: Head,
  options: PublishSubdirOptions,
): Promise<Reached> {
  const inTheWay = ({ archive: { layer } }: Wanted, { listing }: MergedState): string[] => {
    if (options.replace !== true) return [];
    const sha256 = listing.get(layer.filename)?.['sha256'];
    const isOther = sha256 !== undefined && sha256 !== digestHex(layer.digest);
    const twin = twinOf(layer.filename);
    return [
      ...(isOther ? [layer.filename] : []),
      // Where the schema holds one archive of a build, the `.conda` takes the place of the other.
      ...(displacesTwin(layer, options) && listing.has(twin) ? [twin] : []),
    ];
  };
  const filenames = wanted.flatMap((item) => inTheWay(item, head));
  const isDue = filenames.length > 0 || wanted.some(({ status }) => status === 'replaced');
  if (!isDue) return { head, merged: [] };
  await withdrawFromForms(subdir, filenames, options);
  const draft = (state: MergedState): OperationEntry[] =>
    wanted.flatMap((item) => inTheWay(item, state)).map((filename) => withdrawal(filename, state));
  return commitEntries(subdir, draft, head, options);
}

/** What {@link listStored} is to list. */
export interface StoredParts {
  readonly stored: readonly StoredWanted[];
  /** Archives that something made room for, and that could not be stored. */
  readonly lost: readonly Wanted[];
  /** What was listed before anything made room. */
  readonly before: MergedState;
}

/**
 * Lists what is stored, unless it turns out right before that it may not be listed any more.
 * @returns what is in `latest` then; what became of the archives is added to `outcomes`
 * @throws FerryError `TAG_MOVED`, `OPERATION_INVALID`
 */
export async function listStored(
  subdir: string,
  { stored, lost, before }: StoredParts,
  open: Reached,
  outcomes: Outcome[],
  options: PublishSubdirOptions,
): Promise<Reached> {
  const returned = await findReturned(subdir, lost, before, options);
  if (stored.length === 0 && returned.size === 0) return open;
  const { now = () => new Date() } = options;
  const time = now();
  const findLogged = await findLoggedOf(subdir, stored, options);
  const refused = new Map<PreparedArchive, FerryError>();
  const draft = (state: MergedState): OperationEntry[] => [
    ...stored.flatMap((item) => {
      const drafted = draftEntries(item, state, findLogged, time, options);
      if ('error' in drafted) refused.set(item.archive, drafted.error);
      return 'error' in drafted ? [] : drafted.entries;
    }),
    ...[...returned].flatMap(([filename, entry]) =>
      state.listing.has(filename) ? [] : [{ ...entry, revision: revisionOf(state, filename) + 1 }],
    ),
  ];
  const listed = await commitEntries(subdir, draft, open.head, options);
  const committed = await dropSeconds(subdir, stored, listed, options);
  for (const { archive, status, stored: artifact } of stored) {
    const { filename, digest } = archive.layer;
    const sha256 = committed.head.listing.get(filename)?.['sha256'];
    if (sha256 === digestHex(digest)) outcomes.push({ archive, status, stored: artifact });
    else {
      const [now] = judgeArchives([archive], committed.head, options).refused;
      const otherwise = sha256 === undefined ? removedBefore(filename) : alreadyPublished(filename);
      outcomes.push({ archive, error: refused.get(archive) ?? now?.error ?? otherwise });
    }
  }
  return committed;
}

/** What is to be logged of a stored archive, given all that is known. */
function draftEntries(
  item: StoredWanted,
  state: MergedState,
  findLogged: FindLogged,
  now: Date,
  options: PublishSubdirOptions,
): { readonly entries: readonly OperationEntry[] } | { readonly error: FerryError } {
  const { archive, stored } = item;
  const { filename, md5, size, digest } = archive.layer;
  const twin = twinOf(filename);
  // Listed since by somebody else: its bytes had to make room already.
  const isSecond = displacesTwin(archive.layer, options) && state.listing.has(twin);
  const { wanted, refused } = judgeArchives([archive], state, { ...options, displaces: isSecond });
  const [refusal] = refused;
  if (refusal !== undefined) return { error: refusal.error };
  const [verdict] = wanted;
  if (verdict === undefined) return { entries: [] };
  const sums = { sha256: digestHex(digest), md5, size };
  // The same bytes, listed once before, keep the time of that. @see CEP 47
  const since = findLogged(filename, sums.sha256)?.indexed_timestamp ?? now.getTime();
  const record = makeRecord(archive.info.indexJson, sums, since) as PublishedRecord;
  const shared = { filename, revision: verdict.revision, record, manifest: stored.descriptor.digest };
  const replaces = item.replaces ?? verdict.replaces;
  const entry: ListingEntry =
    replaces === undefined ? { kind: 'add', ...shared } : { kind: 'replace', replaces, ...shared };
  return { entries: isSecond ? [withdrawal(twin, state), entry] : [entry] };
}

/** What made room for archives that could not be stored, as far as that is there still: it is listed again. */
async function findReturned(
  subdir: string,
  lost: readonly Wanted[],
  { listing }: MergedState,
  { store, signal }: PushOptions,
): Promise<ReadonlyMap<string, ListingEntry>> {
  const entries = new Map<string, ListingEntry>();
  for (const filename of lost.flatMap(({ withdrawn }) => withdrawn)) {
    const { record } = rememberable(listing.get(filename));
    if (record === undefined) continue;
    try {
      const manifest = await findArchive(store, subdir, filename, record.sha256, { signal });
      if (manifest !== undefined)
        entries.set(filename, { kind: 'add', filename, revision: 0, record, manifest });
    } catch (error) {
      // Then the next push, or `index`, lists it.
      if (!isFerryError(error)) throw error;
    }
  }
  return entries;
}

async function findLoggedOf(
  subdir: string,
  stored: readonly StoredWanted[],
  { store, signal }: PushOptions,
): Promise<FindLogged> {
  const known = stored.filter(({ revision }) => revision > 0).map(({ archive }) => archive.layer.filename);
  if (known.length === 0) return () => undefined;
  return readLoggedRecords(store, subdir, new Set(known), { signal });
}

/** Where the schema holds one archive of a build and another writer has listed the other, the `.conda` stays. */
async function dropSeconds(
  subdir: string,
  stored: readonly StoredWanted[],
  reached: Reached,
  options: PublishSubdirOptions,
): Promise<Reached> {
  if (options.store.schema.holdsTwins) return reached;
  const seconds = ({ listing }: MergedState): string[] =>
    stored
      .map(({ archive: { layer } }) => [layer.filename, twinOf(layer.filename)])
      .filter((twins) => twins.every((filename) => listing.has(filename)))
      .map((twins) => twins.find((filename) => !filename.endsWith('.conda')) ?? '');
  if (seconds(reached.head).length === 0) return reached;
  const draft = (state: MergedState): OperationEntry[] =>
    seconds(state).map((filename) => withdrawal(filename, state));
  return commitEntries(subdir, draft, reached.head, options);
}

/** What is taken off the list with its record, so that it can be listed again as it was. */
function withdrawal(filename: string, state: MergedState): OperationEntry {
  const revision = revisionOf(state, filename) + 1;
  return { kind: 'remove', filename, revision, yank: false, ...rememberable(state.listing.get(filename)) };
}

function displacesTwin(
  { extension }: PreparedArchive['layer'],
  { store }: Pick<PublishSubdirOptions, 'store'>,
): boolean {
  return !store.schema.holdsTwins && extension === 'conda';
}
