/** The part of a push that concerns one subdir: what is listed there decides what may be stored, and what is logged. */
import { storeArchive, type StoredPackage } from '../artifact/pack.js';
import type { LoggedOperation, OperationEntry, PublishedRecord } from '../artifact/operation-log.js';
import { FerryError, isFerryError } from '../errors.js';
import { digestHex } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import { checkRole, establishSubdir } from './channel-role.js';
import { commitEntries, mergeLog, readMerged } from './commit.js';
import type { Head } from './head.js';
import { makeRecord } from './make-record.js';
import { revisionOf, type MergedState } from './merge.js';
import type { PreparedArchive } from './prepare-archive.js';
import type { PushOptions, PushReporter, PushStatus } from './push.js';
import { restoreListed, twinOf } from './restore-listed.js';
import { withdrawFromForms } from './withdraw.js';

/** What became of an archive. */
export type Outcome =
  | {
      readonly archive: PreparedArchive;
      readonly status: PushStatus;
      readonly stored: StoredPackage | undefined;
    }
  | Failure;

interface Failure {
  readonly archive: PreparedArchive;
  readonly error: FerryError;
}

/** Options of {@link publishSubdir}. */
export interface PublishSubdirOptions extends PushOptions {
  readonly concurrency: number;
  readonly dryRun: boolean;
  readonly reporter: PushReporter;
}

/** A head, with what was merged on the way to it. */
interface Reached {
  readonly head: Head;
  readonly merged: readonly LoggedOperation[];
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
  const { head: before, state } = await readMerged(subdir, options);
  const isKnown = await checkRole(options.store, subdir, before, options);
  const outcomes: Outcome[] = [];
  const wanted: Wanted[] = [];
  for (const archive of archives) {
    const judged = judge(archive, state, options);
    if ('error' in judged) outcomes.push({ archive, error: judged.error });
    else if (judged.status === 'there') outcomes.push({ archive, status: 'there', stored: undefined });
    else wanted.push({ archive, ...judged });
  }
  for (const _ of outcomes) options.reporter.done?.();
  if (dryRun) {
    outcomes.push(...wanted.map(({ archive, status }) => ({ archive, status, stored: undefined })));
    return { head: before, outcomes };
  }
  if (storeOnly) {
    const { stored, failed } = await storeAll(wanted, options);
    outcomes.push(...failed, ...stored.map((item) => ({ ...item, status: 'stored' as const })));
    return { head: before, outcomes };
  }
  let reached: Reached = { head: before, merged: [] };
  if (wanted.length > 0) {
    await establishSubdir(subdir, before, { ...options, isKnown });
    reached = await publishWanted(subdir, wanted, before, outcomes, options);
  } else if (state !== before) {
    // What is judged as listed may stand in the log only: whoever put it there was killed.
    reached = await mergeLog(subdir, before, options);
  }
  for (const filename of disputed(outcomes, reached)) await restoreListed(subdir, filename, reached, options);
  return { head: reached.head, outcomes };
}

/** An archive that may be published, and as what. */
interface Wanted {
  readonly archive: PreparedArchive;
  readonly status: Exclude<PushStatus, 'there' | 'stored'>;
  /** That its claim gets. */
  readonly revision: number;
  /** The sha256 of what is listed by that name. */
  readonly replaces: string | undefined;
}

type Stored = Wanted & { readonly stored: StoredPackage };

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
      return { status: 'replaced', revision: revision + 1, replaces: sha256 };
    return { error: exists(filename) };
  }
  if (state.listing.removed.has(filename) && !replace) return { error: removed(filename) };
  // Nothing was ever said of most; of what was taken off the list this has to be said after that.
  const isNew = revision === 0 && !state.listing.removed.has(filename);
  return { status: 'added', revision: isNew ? 0 : revision + 1, replaces: undefined };
}

function exists(filename: string): FerryError {
  return new FerryError('ARCHIVE_EXISTS', `\`${filename}\` is published already, with other bytes`, {
    hint: 'give the new build another build number; --replace puts this in its place',
  });
}

function removed(filename: string): FerryError {
  return new FerryError('ARCHIVE_REMOVED', `\`${filename}\` was removed from the channel`, {
    hint: 'give the new build another build number; --replace publishes under that name again',
  });
}

/** @returns what is in `latest` then; what became of the archives is added to `outcomes` */
async function publishWanted(
  subdir: string,
  wanted: readonly Wanted[],
  before: Head,
  outcomes: Outcome[],
  options: PublishSubdirOptions,
): Promise<Reached> {
  const open = await withdrawListed(subdir, wanted, before, options);
  const isTaken = ({ archive: { layer } }: Wanted): boolean => {
    const sha256 = open.head.listing.get(layer.filename)?.['sha256'];
    return sha256 !== undefined && sha256 !== digestHex(layer.digest);
  };
  // Somebody else has put other bytes in that place meanwhile: those are listed, and must stay.
  for (const { archive } of wanted.filter(isTaken)) {
    outcomes.push({ archive, error: exists(archive.layer.filename) });
    options.reporter.done?.();
  }
  const free = wanted.filter((item) => !isTaken(item));
  const { stored, failed } = await storeAll(free, options);
  outcomes.push(...failed);
  return stored.length === 0 ? open : listStored(subdir, stored, open.head, outcomes, options);
}

/** Takes what is about to get other bytes off every list, so that nobody is sent to bytes that are no longer there. */
async function withdrawListed(
  subdir: string,
  wanted: readonly Wanted[],
  head: Head,
  options: PublishSubdirOptions,
): Promise<Reached> {
  const inTheWay = ({ archive: { layer } }: Wanted, { listing }: MergedState): string[] => {
    const sha256 = listing.get(layer.filename)?.['sha256'];
    const isOther = sha256 !== undefined && sha256 !== digestHex(layer.digest);
    return [
      ...(isOther && options.replace === true ? [layer.filename] : []),
      // Where the schema holds one archive of a build, the `.conda` takes the place of the other.
      ...(displacesTwin(layer, options) && listing.has(twinOf(layer.filename))
        ? [twinOf(layer.filename)]
        : []),
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

function withdrawal(filename: string, state: MergedState): OperationEntry {
  return { kind: 'remove', filename, revision: revisionOf(state, filename) + 1, yank: false };
}

function displacesTwin(
  { extension }: PreparedArchive['layer'],
  { store }: Pick<PublishSubdirOptions, 'store'>,
): boolean {
  return !store.schema.holdsTwins && extension === 'conda';
}

/** Twins one after the other: they share a tag. */
async function storeAll(
  wanted: readonly Wanted[],
  options: PublishSubdirOptions,
): Promise<{ readonly stored: readonly Stored[]; readonly failed: readonly Failure[] }> {
  const byTag = new Map<string, Wanted[]>();
  for (const item of wanted) {
    const { repository, tag } = item.archive.place;
    byTag.set(`${repository}:${tag}`, [...(byTag.get(`${repository}:${tag}`) ?? []), item]);
  }
  const stored: Stored[] = [];
  const failed: Failure[] = [];
  await forEachConcurrently(byTag.values(), options, async (items) => {
    for (const item of items) {
      try {
        stored.push({ ...item, stored: await storeArchive(item.archive, options) });
      } catch (error) {
        if (!isFerryError(error) || error.code === 'DISK_FULL' || error.code === 'INTERNAL') throw error;
        failed.push({ archive: item.archive, error });
      }
      options.reporter.done?.();
    }
  });
  return { stored, failed };
}

/** Lists what is stored, unless it turns out right before that it may not be listed any more. */
async function listStored(
  subdir: string,
  stored: readonly Stored[],
  head: Head,
  outcomes: Outcome[],
  options: PublishSubdirOptions,
): Promise<Reached> {
  const refused = new Map<PreparedArchive, FerryError>();
  const now = (options.now ?? (() => new Date()))();
  const draft = (state: MergedState): OperationEntry[] =>
    stored.flatMap((item): OperationEntry[] => {
      const { archive } = item;
      const judged = judge(archive, state, options);
      if ('error' in judged) refused.set(archive, judged.error);
      if ('error' in judged || judged.status === 'there') return [];
      const { filename } = archive.layer;
      const replaces = item.replaces ?? judged.replaces;
      const twin = twinOf(filename);
      const isSecond = displacesTwin(archive.layer, options) && state.listing.has(twin);
      return [
        ...(isSecond ? [withdrawal(twin, state)] : []),
        entryOf({ ...item, revision: judged.revision, replaces }, now),
      ];
    });
  const listed = await commitEntries(subdir, draft, head, options);
  const committed = await dropSeconds(subdir, stored, listed, options);
  for (const { archive, status, stored: artifact } of stored) {
    const { filename, digest } = archive.layer;
    const error = refused.get(archive);
    const sha256 = committed.head.listing.get(filename)?.['sha256'];
    if (sha256 === digestHex(digest)) outcomes.push({ archive, status, stored: artifact });
    else if (sha256 !== undefined) outcomes.push({ archive, error: error ?? exists(filename) });
    else outcomes.push({ archive, error: error ?? removed(filename) });
  }
  return committed;
}

/** Where the schema holds one archive of a build and another writer has listed the other, the `.conda` stays. */
async function dropSeconds(
  subdir: string,
  stored: readonly Stored[],
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

function entryOf({ archive, stored, revision, replaces }: Stored, now: Date): OperationEntry {
  const { filename, md5, size, digest } = archive.layer;
  const sums = { sha256: digestHex(digest), md5, size };
  const record = makeRecord(archive.info.indexJson, sums, now.getTime()) as PublishedRecord;
  const shared = { filename, revision, record, manifest: stored.descriptor.digest };
  return replaces === undefined ? { kind: 'add', ...shared } : { kind: 'replace', replaces, ...shared };
}

/** File names whose tag another writer may have written too. Of two under one name, pushed at once, one is listed. */
function disputed(outcomes: readonly Outcome[], { head, merged }: Reached): readonly string[] {
  const entries = merged.flatMap(({ operation }) => operation.entries);
  return outcomes.flatMap((outcome) => {
    const { filename, digest } = outcome.archive.layer;
    const twin = twinOf(filename);
    const hasRival = entries.some(
      (entry) =>
        entry.kind !== 'remove' && entry.filename === filename && entry.record.sha256 !== digestHex(digest),
    );
    const isOpen =
      'error' in outcome ? outcome.error.code === 'ARCHIVE_EXISTS' : outcome.status === 'replaced';
    const isThere = 'status' in outcome && outcome.status === 'there';
    const hasTwin = !isThere && (head.listing.has(twin) || revisionOf(head, twin) > 0);
    return hasRival || isOpen || hasTwin ? [filename] : [];
  });
}
