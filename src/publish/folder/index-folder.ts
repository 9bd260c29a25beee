/**
 * Indexing a plain channel, which is a folder: what clients read is made of the archives that lie in it. What the repodata
 * says that archives cannot say stays: since when they are indexed, their attestations, what was withdrawn.
 */
import { mkdir, readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { WorkerPool } from '../../artifact/worker-pool.js';
import { checkSubdirs, isSubdir } from '../../conda/names.js';
import type { JsonObject } from '../../conda/record-details.js';
import { FerryError, isFerryError, isSystemError } from '../../errors.js';
import { acquireDirectoryLock, type DirectoryLock } from '../../io/directory-lock.js';
import { Resources } from '../../io/resources.js';
import { makeChanneldata, type ChanneldataSubdir } from '../channeldata.js';
import type { PatchSource } from '../read-patches.js';
import { sortedJson } from '../sorted-json.js';
import { sectionOf, type SubdirRecords } from '../subdir-records.js';
import { ArchiveCache } from './archive-cache.js';
import { EXPORT_STATE, FOLDER_LOCK, INDEX_CACHE } from './channel-folder.js';
import { gatherArchives, listArchives, type GatheredArchives, type IndexFailure } from './gather-archives.js';
import { readListed, readPublished, type PublishedSubdir } from './published-records.js';
import { putFile, removeTemporaries } from './put-file.js';
import { SHARDS_FOLDER } from './shard-folder.js';
import { writeSubdir } from './write-subdir.js';

/** What is greater counts milliseconds, as old build tools count seconds. */
const MAX_SECONDS = 253_402_300_799;

/** Told what happens, as it happens. */
export interface IndexReporter {
  /** An archive was looked at. */
  archive?(subdir: string, filename: string): void;
}

/** Options of {@link indexFolder}. */
export interface IndexFolderOptions {
  /** The channel's folder, which holds `noarch` and the like. */
  readonly folder: string;
  /** @defaultValue all that have archives or repodata, and `noarch` */
  readonly subdirs?: readonly string[] | undefined;
  /** Patch instructions by subdir. @defaultValue those that are published; so too for subdirs that it has none for */
  readonly patches?: PatchSource | undefined;
  /** Index a folder that is a mirror, too: its source's patches are lost. @defaultValue false */
  readonly force?: boolean | undefined;
  /** How long to wait for another run to end, in milliseconds. @defaultValue 60,000 */
  readonly lockTimeoutMs?: number | undefined;
  readonly workers?: WorkerPool | undefined;
  readonly reporter?: IndexReporter | undefined;
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What became of a subdir. */
export interface IndexedSubdir {
  readonly subdir: string;
  /** Records that are listed. */
  readonly records: number;
  /** Listed ones that were not listed before. */
  readonly added: number;
  /** Files that were listed, and are no longer. */
  readonly gone: number;
  readonly removed: number;
  /** Archives that were opened; what is known of the others stood in the cache. */
  readonly read: number;
  /** Whether any file that clients read changed. */
  readonly changed: boolean;
  readonly failed: readonly IndexFailure[];
  readonly warnings: readonly string[];
}

/** What {@link indexFolder} did. */
export interface IndexFolderReport {
  /** The folder's full path. */
  readonly channel: string;
  readonly subdirs: readonly IndexedSubdir[];
}

interface Context {
  readonly root: string;
  readonly lock: DirectoryLock;
  readonly workers: WorkerPool;
  readonly now: () => Date;
  readonly options: IndexFolderOptions;
}

/**
 * Brings the index files of a plain channel in line with its archives: repodata, patched and unpatched, shards,
 * `current_repodata.json`, `run_exports.json`, `channeldata.json`. Archives that were seen before are not read again. A
 * second run changes no byte.
 * @returns what was done; archives that failed are in it, are not listed, and do not throw
 * @throws FerryError `CHANNEL_NOT_FOUND`, `CHANNEL_INVALID`, `REPODATA_INVALID`, `LOCK_TIMEOUT`, `LOCK_LOST`, `DISK_FULL`, `USAGE`,
 * `UNSUPPORTED` where the folder is a mirror
 * @see CEP 12, CEP 16, CEP 36, CEP 38, CEP 47
 */
export async function indexFolder(options: IndexFolderOptions): Promise<IndexFolderReport> {
  const { now = () => new Date(), signal, lockTimeoutMs } = options;
  checkSubdirs(options.subdirs);
  const root = resolve(options.folder);
  await checkRoot(root, options);
  await using resources = new Resources();
  const workers = options.workers ?? resources.use(new WorkerPool());
  await using lock = await acquireLock(root, lockTimeoutMs, signal);
  const context = { root, lock, workers, now, options };
  for (const folder of [root, join(root, INDEX_CACHE)]) await removeTemporaries(folder);
  const found = await findSubdirs(root);
  const wanted = new Set(options.subdirs ?? found);
  const reports: IndexedSubdir[] = [];
  const described: ChanneldataSubdir[] = [];
  for (const subdir of [...new Set([...found, ...wanted])].sort()) {
    signal?.throwIfAborted();
    const { report, channeldata } = wanted.has(subdir)
      ? await indexSubdir(subdir, context)
      : { channeldata: await describeSubdir(subdir, context), report: undefined };
    described.push(channeldata);
    if (report !== undefined) reports.push(report);
  }
  await lock.assertHeld();
  await putFile(join(root, 'channeldata.json'), Buffer.from(sortedJson(makeChanneldata(described))));
  return { channel: root, subdirs: reports };
}

async function checkRoot(root: string, { force = false }: IndexFolderOptions): Promise<void> {
  const found = await stat(root).catch((error: unknown) => {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  });
  if (found?.isDirectory() !== true)
    throw new FerryError('CHANNEL_NOT_FOUND', `there is no folder \`${root}\``);
  if (isSubdir(basename(root)) && (await listArchives(root)).length > 0) {
    throw new FerryError('CHANNEL_INVALID', `\`${root}\` is a subdir, and no channel`, {
      hint: 'give the folder above it',
    });
  }
  if (force) return;
  const names = await readdir(root);
  if (!names.includes(EXPORT_STATE)) return;
  throw new FerryError('UNSUPPORTED', `\`${root}\` is a mirror, whose repodata is that of its source`, {
    hint: 'pass --force to index it all the same; patches of its source are lost then',
  });
}

async function acquireLock(
  root: string,
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<DirectoryLock> {
  try {
    return await acquireDirectoryLock(join(root, FOLDER_LOCK), { timeoutMs, signal });
  } catch (error) {
    if (!isFerryError(error, 'LOCK_TIMEOUT')) throw error;
    throw new FerryError('LOCK_TIMEOUT', `another run is writing to \`${root}\``, { cause: error });
  }
}

/** Subdirs that hold archives or repodata; and `noarch`, without which no folder is a channel. */
async function findSubdirs(root: string): Promise<readonly string[]> {
  const found = new Set(['noarch']);
  for (const name of await readdir(root)) {
    if (!isSubdir(name)) continue;
    const folder = join(root, name);
    const names = await readdir(folder).catch((error: unknown): string[] => {
      if (isSystemError(error, 'ENOTDIR', 'ENOENT')) return [];
      throw error;
    });
    if (names.includes('repodata.json') || (await listArchives(folder)).length > 0) found.add(name);
  }
  return [...found].sort();
}

async function gather(subdir: string, context: Context): Promise<GatheredArchives> {
  const { root, lock, now, options } = context;
  const cache = await ArchiveCache.open(join(root, INDEX_CACHE, `${subdir}.jsonl`));
  const gathered = await gatherArchives(join(root, subdir), {
    subdir,
    cache,
    now,
    onDone: (filename) => options.reporter?.archive?.(subdir, filename),
    signal: options.signal,
  });
  await lock.assertHeld();
  // Before all else, so that a run that is killed while it writes need not read them again.
  await cache.save();
  return gathered;
}

async function indexSubdir(
  subdir: string,
  context: Context,
): Promise<{ readonly report: IndexedSubdir; readonly channeldata: ChanneldataSubdir }> {
  const { root, lock, workers, now, options } = context;
  const folder = join(root, subdir);
  await mkdir(folder, { recursive: true });
  for (const place of [folder, join(folder, SHARDS_FOLDER)]) await removeTemporaries(place);
  const published = await readPublished(folder);
  const { archives, failed, read } = await gather(subdir, context);
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const { records, changed } = await writeSubdir(
    {
      head: { subdir, relations: published.relations },
      unpatched: stamped(archives, published, now().getTime(), warn),
      patches: options.patches?.(subdir) ?? published.patches,
      withdrawn: published.withdrawn,
      runExportsOf: (filename) => archives.get(filename)?.info.runExports ?? {},
    },
    { folder, workers, now, warn, assertHeld: () => lock.assertHeld(), signal: options.signal },
  );
  const names = new Set([...records.packages.keys(), ...records['packages.conda'].keys()]);
  const report = {
    subdir,
    records: names.size,
    added: [...names].filter((name) => !published.listed.has(name)).length,
    gone: [...published.listed].filter((name) => !names.has(name)).length,
    removed: records.removed.length,
    read,
    changed,
    failed,
    warnings,
  };
  return { report, channeldata: { subdir, records, infoOf: (filename) => archives.get(filename)?.info } };
}

/** A subdir that is not indexed now has its part in the channel's data all the same. */
async function describeSubdir(subdir: string, context: Context): Promise<ChanneldataSubdir> {
  const { archives } = await gather(subdir, context);
  const records = await readListed(join(context.root, subdir));
  return { subdir, records, infoOf: (filename) => archives.get(filename)?.info };
}

/** The records of the archives, with what the server says of them: what it said before, or that they are new. */
function stamped(
  archives: GatheredArchives['archives'],
  published: PublishedSubdir,
  nowMs: number,
  warn: (message: string) => void,
): SubdirRecords {
  const sections = {
    packages: new Map<string, JsonObject>(),
    'packages.conda': new Map<string, JsonObject>(),
  };
  for (const [filename, { record }] of archives) {
    // Of what was listed without a time nobody knows when it came; clients go by its `timestamp` then, as ever.
    const said = published.serverFields(record);
    const fields = said ?? { indexed_timestamp: nowMs };
    sections[sectionOf(filename)].set(filename, { ...record, ...fields });
    if (said === undefined && isLater(record['timestamp'], nowMs))
      warn(`\`${filename}\` says that it was built in the future`);
  }
  return { ...sections, removed: [] };
}

/** @see CEP 47, "Timestamp validation" */
function isLater(timestamp: unknown, nowMs: number): boolean {
  if (typeof timestamp !== 'number') return false;
  return (timestamp > MAX_SECONDS ? timestamp : timestamp * 1000) > nowMs;
}
