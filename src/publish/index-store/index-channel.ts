/**
 * Index: brings the repodata of a channel in a store in line with what is stored. Records that are there stay as they are;
 * what is listed and not stored goes, what is stored and not listed comes, unless it was taken off the list on purpose.
 */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { readLedger, type Ledger } from '../../artifact/ledger.js';
import type { OperationEntry, PublishedRecord } from '../../artifact/operation-log.js';
import { operationTime } from '../../artifact/operation-log.js';
import { checkNoRun, checkNotHeld } from '../../artifact/run-marks.js';
import { OciChannel } from '../../artifact/oci-channel.js';
import { checkSubdirs, isSubdir } from '../../conda/names.js';
import { FerryError, isFerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { forEachConcurrently } from '../../io/pool.js';
import { establishSubdir } from '../channel-role.js';
import { commitEntries, mergeLog, readMerged, type CommitOptions } from '../commit.js';
import { writeHead, type Head } from '../head.js';
import { revisionOf, type MergedState } from '../merge.js';
import { readStoredRecord } from '../stored-record.js';
import { withdrawFromForms } from '../withdraw.js';
import { compactLog, OPERATION_GRACE_MS } from './compact.js';
import { findStored, type StoredArchiveName } from './find-stored.js';
import { rebuildRecords } from './rebuild.js';

const DEFAULT_CONCURRENCY = 16;

/** Options of {@link indexChannel}. */
export interface IndexOptions extends CommitOptions {
  readonly store: ChannelStore;
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  /** Make every record anew out of its artifact. @defaultValue false */
  readonly fromArtifacts?: boolean | undefined;
  /** Do that in a mirror too, whose upstream's patches and times of indexing go. @defaultValue false */
  readonly force?: boolean | undefined;
  /** Packages to look for where the store does not tell its repositories. @defaultValue those that are listed */
  readonly names?: readonly string[] | undefined;
  /** @defaultValue 16 */
  readonly concurrency?: number | undefined;
  readonly reporter?: { readonly warning?: (message: string) => void } | undefined;
}

/** An archive that could not be indexed; the others are. */
export interface IndexFailure {
  readonly filename: string;
  readonly error: FerryError;
}

/** What was done in one subdir. */
export interface SubdirIndex {
  readonly subdir: string;
  readonly role: Ledger['role']['kind'] | undefined;
  /** Archives that are listed now. */
  readonly records: number;
  /** Archives that were stored and are listed from now on. */
  readonly added: readonly string[];
  /** Archives that were listed and are not stored. */
  readonly dropped: readonly string[];
  /** Records that were made anew, and say something else than before. */
  readonly rebuilt: readonly string[];
  readonly failed: readonly IndexFailure[];
  /** The history tag of the state that is in force, where it has one. */
  readonly generation: string | undefined;
  /** Operations that were merged into it and are no longer in the log. */
  readonly compacted: number;
  /** Whether anything was written. */
  readonly isChanged: boolean;
}

/** What an index did. */
export interface IndexReport {
  readonly channel: string;
  readonly schema: string;
  readonly subdirs: readonly SubdirIndex[];
}

/** What is known of one subdir while it is indexed. */
export interface SubdirView {
  readonly subdir: string;
  readonly ledger: Ledger | undefined;
  readonly head: Head;
  readonly state: MergedState;
  readonly stored: ReadonlyMap<string, StoredArchiveName>;
}

/**
 * Indexes a channel. Costs a request for each artifact. A mirror lists what its source does, so there only what is not stored
 * goes off the list.
 * @throws FerryError `CHANNEL_NOT_FOUND`, `ROLE_MISMATCH` (records of a mirror made anew, without `force`), `RUN_UNFINISHED`,
 * `ROLLED_BACK`, `LEDGER_INVALID`, `OPERATION_INVALID`, `TAG_MOVED`, `USAGE`
 */
export async function indexChannel(options: IndexOptions): Promise<IndexReport> {
  const { store, signal } = options;
  checkSubdirs(options.subdirs);
  const repositories = await store.registry.repositories({ signal });
  const leaves = leavesBySubdir(store, repositories);
  const subdirs = options.subdirs ?? [
    ...new Set([...(await new OciChannel(store).subdirs({ signal })), ...(leaves?.keys() ?? [])]),
  ];
  if (subdirs.length === 0)
    throw new FerryError('CHANNEL_NOT_FOUND', `there is no channel at \`${store.location}\``);
  if (leaves === undefined && (options.names ?? []).length === 0) {
    options.reporter?.warning?.(
      'the registry does not tell its repositories: those of listed packages are looked through; --names adds others',
    );
  }
  const reports: SubdirIndex[] = [];
  for (const subdir of [...subdirs].sort(compareText))
    reports.push(await indexSubdir(subdir, leaves === undefined ? undefined : (leaves.get(subdir) ?? []), options));
  return { channel: store.location, schema: store.schema.id, subdirs: reports };
}

function leavesBySubdir(
  store: ChannelStore,
  repositories: readonly string[] | undefined,
): ReadonlyMap<string, readonly string[]> | undefined {
  if (repositories === undefined) return undefined;
  const leaves = new Map<string, string[]>();
  const prefix = store.path === '' ? '' : `${store.path}/`;
  for (const name of repositories) {
    const [subdir = '', leaf, ...below] = name.startsWith(prefix) ? name.slice(prefix.length).split('/') : [];
    if (leaf === undefined || below.length > 0 || !isSubdir(subdir)) continue;
    if (store.schema.readLeaf(leaf).kind === 'other') continue;
    leaves.set(subdir, [...(leaves.get(subdir) ?? []), leaf]);
  }
  return leaves;
}

async function indexSubdir(
  subdir: string,
  leaves: readonly string[] | undefined,
  options: IndexOptions,
): Promise<SubdirIndex> {
  const { store, signal, concurrency = DEFAULT_CONCURRENCY, names = [] } = options;
  const ledger = await readLedger(store, subdir, { signal });
  checkNoRun(ledger, store, subdir);
  checkNotHeld(ledger, store, subdir);
  const isMirror = ledger !== undefined && ledger.role.kind !== 'published';
  if (isMirror && options.fromArtifacts === true && options.force !== true) {
    const { source = 'its source' } = ledger.role;
    throw new FerryError('ROLE_MISMATCH', `\`${subdir}\` of \`${store.location}\` is made out of \`${source}\``, {
      hint: 'what its source patched would be lost; --force makes its records anew all the same',
    });
  }
  const shared = { ...options, epoch: ledger?.epoch };
  const { head, state } = await readMerged(subdir, shared);
  // What another tool has published may be a mirror, of which nothing says what was taken off the list on purpose.
  const isForeign = ledger === undefined && head.digest !== undefined && options.force !== true;
  if (isForeign) {
    options.reporter?.warning?.(
      `${subdir}: another tool has published it; what is stored and not listed stays so, unless --force makes it ours`,
    );
  }
  const isOurs = !isMirror && !isForeign;
  const known = [...state.listing.filenames()];
  const stored = await findStored(subdir, { store, concurrency, known, names, leaves, signal });
  const view: SubdirView = { subdir, ledger, head, state, stored };

  const dropped = known.filter((filename) => !isStored(view, filename)).sort(compareText);
  const { entries, failed } = isOurs ? await newEntries(view, options) : { entries: [], failed: [] };
  const removals = dropped.map((filename): OperationEntry => {
    return { kind: 'remove', filename, revision: revisionOf(state, filename) + 1, yank: false };
  });
  const changes = [...removals, ...entries];
  if (dropped.length > 0) await withdrawFromForms(subdir, dropped, options);
  let after = head;
  if (!isOurs) {
    after = await dropRecords(view, dropped, shared);
  } else if (changes.length > 0 || state !== head || head.digest !== undefined) {
    await establishSubdir(subdir, head, { ...shared, ledger });
    const committed = changes.length > 0 ? commitEntries(subdir, changes, head, shared) : mergeLog(subdir, head, shared);
    after = (await committed).head;
  }
  const rebuilt =
    options.fromArtifacts === true
      ? await rebuildRecords(subdir, after, { ...shared, concurrency })
      : { head: after, filenames: [], failed: [] };
  const compaction = isOurs
    ? await compactUntilDone(subdir, rebuilt.head, shared)
    : { head: rebuilt.head, generation: undefined, deleted: 0 };
  return {
    subdir,
    role: ledger?.role.kind,
    records: compaction.head.listing.recordCount,
    added: entries.map(({ filename }) => filename).sort(compareText),
    dropped,
    rebuilt: rebuilt.filenames,
    failed: [...failed, ...rebuilt.failed],
    generation: compaction.generation,
    compacted: compaction.deleted,
    isChanged: compaction.head.digest !== head.digest,
  };
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
  return writeHead(subdir, { listing, mark: head.mark }, { ...options, plain: head.hasPlain });
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
      const record = found.record as PublishedRecord;
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

async function compactUntilDone(
  subdir: string,
  head: Head,
  options: CommitOptions,
): Promise<NonNullable<Awaited<ReturnType<typeof compactLog>>>> {
  for (let found = head; ; ) {
    const ledger = await readLedger(options.store, subdir, { signal: options.signal });
    const done = await compactLog(subdir, found, ledger, options);
    if (done !== undefined) return done;
    found = (await mergeLog(subdir, found, { ...options, epoch: ledger?.epoch })).head;
  }
}
