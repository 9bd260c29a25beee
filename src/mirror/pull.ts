/**
 * Pulling: archives out of a channel into a folder, by match spec, file name, digest or lock file, and on request unpacked
 * as clients of conda keep them. What has an archive's name in the folder is whole and checked, whatever is killed.
 */
import { mkdir, rm } from 'node:fs/promises';
import { FerryError, isFerryError } from '../errors.js';
import { translateWriteError } from '../io/atomic-file.js';
import { sha256Digest } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import { quietSignal } from '../io/quiet-signal.js';
import { fetchArchive, type FetchedArchive } from './pull/fetch-archive.js';
import { findArchives, notListed, type WantedArchive } from './pull/find-archives.js';
import type { PulledArchive, PullFailure, PullOptions } from './pull/options.js';
import { isUnpacked, packageFolder, unpackArchive, type UnpackContext } from './pull/unpack-archive.js';
import { WorkFiles } from './pull/work-files.js';

export type { PulledArchive, PullFailure, PullOptions } from './pull/options.js';

/** Half of what a mirror has: pulls go to one disk, and often to a laptop. */
export const DEFAULT_PULL_CONCURRENCY = 8;

/**
 * Pulls the archives that specs and lock name, several at once; each is checked before it gets its name in `folder`. One that
 * is there already is not fetched again, and a broken-off download is gone on with.
 * @returns one by one in the order of the repodata, those that failed too: `RECORD_INVALID` where a record has no sha256 or
 * size, IntegrityError, `ARCHIVE_…`, and at the end `NOT_FOUND` for what is locked and not to be had
 * @throws FerryError `NOT_FOUND` if a spec names nothing, `USAGE` if two archives have one name, `MATCH_SPEC_INVALID`,
 * `OUTPUT_UNWRITABLE` if there can be no such folder, `DISK_FULL`
 */
export async function* pullArchives(options: PullOptions): AsyncGenerator<PulledArchive | PullFailure> {
  const found = await findArchives(options);
  const wanted = options.extract === true ? withoutTwins(found.wanted) : found.wanted;
  checkNames(wanted, options.extract === true);
  const bytes = wanted.reduce((sum, { size = 0 }) => sum + size, 0);
  options.reporter?.planned?.({ archives: wanted.length, bytes });
  if (wanted.length > 0) yield* pullAll(wanted, options);
  for (const failure of found.failed) {
    report(failure, options);
    yield failure;
  }
}

/** Pulls several at once, and gives them in their order. */
async function* pullAll(
  wanted: readonly WantedArchive[],
  options: PullOptions,
): AsyncGenerator<PulledArchive | PullFailure> {
  await makeFolder(options.folder);
  const files = await WorkFiles.open(options.folder);
  const stop = new AbortController();
  const signal = quietSignal(AbortSignal.any([stop.signal, ...(options.signal ? [options.signal] : [])]));
  const { folder, workers, channel, channelUrl = channel.url } = options;
  const isGiven = options.channelUrl !== undefined;
  const context = { channel, folder, files, workers, channelUrl, isGiven, signal };
  const slots = wanted.map((archive) => ({
    archive,
    ...promiseOf<PulledArchive | PullFailure | undefined>(),
  }));
  let failure: { readonly error: unknown } | undefined;
  const { concurrency = DEFAULT_PULL_CONCURRENCY } = options;
  const running = forEachConcurrently(slots, { concurrency, signal }, async ({ archive, resolve }) => {
    const result = await pullOne(archive, context, options);
    report(result, options);
    resolve(result);
  })
    .catch((error: unknown) => {
      failure = { error };
    })
    .finally(() => {
      for (const { resolve } of slots) resolve(undefined);
    });
  let isLeft = true;
  try {
    for (const { promise } of slots) {
      const result = await promise;
      if (result !== undefined) yield result;
    }
    isLeft = false;
  } finally {
    // Whoever wants no more of them gets no more.
    if (isLeft) stop.abort();
    await running;
  }
  if (failure !== undefined) throw failure.error;
}

/** @throws what concerns all archives: a full disk, an abort, a fault of ours */
async function pullOne(
  wanted: WantedArchive,
  context: UnpackContext & Pick<PullOptions, 'channel'>,
  { extract = false }: PullOptions,
): Promise<PulledArchive | PullFailure> {
  const { subdir, filename, sha256, locked, record } = wanted;
  try {
    // Before anything is fetched in vain.
    if (extract) await isUnpacked(wanted, context.folder);
    const archive = await fetchArchive(wanted, context);
    const unpacked = extract ? await unpackOne(wanted, archive, context) : undefined;
    return { subdir, filename, digest: sha256Digest(sha256), ...archive, unpacked };
  } catch (error) {
    if (!isFerryError(error) || error.code === 'DISK_FULL') throw error;
    const isAbsent = isFerryError(error, 'ARCHIVE_ABSENT') || isFerryError(error, 'NOT_FOUND');
    const isUnlisted = record === undefined && locked !== undefined;
    return { subdir, filename, error: isAbsent && isUnlisted ? notListed(locked, error) : error };
  }
}

async function unpackOne(
  wanted: WantedArchive,
  archive: FetchedArchive,
  context: UnpackContext,
): Promise<string> {
  try {
    return await unpackArchive(wanted, archive, context);
  } catch (error) {
    // A client that finds a bad archive in its cache would unpack it by itself.
    const isBad = isFerryError(error) && error.code.startsWith('ARCHIVE_') && error.code !== 'ARCHIVE_EXISTS';
    if (isBad && archive.status !== 'there') await rm(archive.path, { force: true });
    throw error;
  }
}

function report(result: PulledArchive | PullFailure, { reporter }: PullOptions): void {
  const { subdir, filename } = result;
  if ('error' in result) {
    const { code, message } = result.error;
    reporter?.archive?.({ subdir, filename, bytes: 0, failure: { filename, code, message } });
  } else reporter?.archive?.({ subdir, filename, bytes: result.size });
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw translateWriteError(error, folder);
  }
}

/** An archive in both formats unpacks to one folder; clients take the `.conda` then. */
function withoutTwins(wanted: readonly WantedArchive[]): readonly WantedArchive[] {
  const keyOf = ({ subdir, filename }: WantedArchive): string => `${subdir}/${packageFolder(filename)}`;
  const better = new Set(wanted.filter(({ filename }) => filename.endsWith('.conda')).map(keyOf));
  return wanted.filter((archive) => archive.filename.endsWith('.conda') || !better.has(keyOf(archive)));
}

/** Archives of two subdirs may have one name, and the folder has room for one; of two locked ones of one name, too. */
function checkNames(wanted: readonly WantedArchive[], extract: boolean): void {
  const subdirs = new Map<string, string>();
  for (const { filename, subdir } of wanted) {
    const name = extract ? packageFolder(filename) : filename;
    const other = subdirs.get(name);
    subdirs.set(name, subdir);
    if (other === undefined) continue;
    if (other === subdir) throw new FerryError('USAGE', `\`${filename}\` is locked with two digests`);
    throw new FerryError('USAGE', `\`${filename}\` stands in \`${other}\` and in \`${subdir}\``, {
      hint: `pass --subdir ${other} or --subdir ${subdir}`,
    });
  }
}

function promiseOf<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
