import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openArchiveFile } from '../../conda/archive/archive-file.js';
import { checkIndexJson, parseIndexJson } from '../../conda/archive/index-json.js';
import { archiveExtensionOf, parseArchiveFilename } from '../../conda/names.js';
import { FerryError, isFerryError, isSystemError, messageOf, type FerryErrorCode } from '../../errors.js';
import { forEachConcurrently } from '../../io/pool.js';
import { openSummer } from '../../io/sums.js';
import { readIndexedInfo } from '../indexed-info.js';
import { makeRecord, type ArchiveSums } from '../make-record.js';
import { fileState, type ArchiveCache, type KnownArchive } from './archive-cache.js';

/** Archives read at once: as one waits for the disk, another one is unpacked. */
const CONCURRENCY = 4;
/** Errors that are of one file; others, such as a full disk, are of all. */
const FILE_ERRORS = ['EACCES', 'EPERM', 'EIO', 'EISDIR', 'ENOENT', 'ELOOP'] as const;

/** An archive that is left out of the repodata. */
export interface IndexFailure {
  readonly filename: string;
  readonly code: FerryErrorCode;
  readonly message: string;
}

/** What a subdir holds. */
export interface GatheredArchives {
  /** By file name, sorted. */
  readonly archives: ReadonlyMap<string, KnownArchive>;
  readonly failed: readonly IndexFailure[];
  /** How many were opened, the others being known. */
  readonly read: number;
}

/** Options of {@link gatherArchives}. */
export interface GatherOptions {
  readonly subdir: string;
  readonly cache: ArchiveCache;
  readonly now: () => Date;
  /** Told each archive that is done. */
  readonly onDone?: ((filename: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Names of the archives in a folder, sorted; none where there is no such folder. */
export async function listArchives(folder: string): Promise<readonly string[]> {
  try {
    const names = await readdir(folder);
    return names.filter((name) => !name.startsWith('.') && archiveExtensionOf(name) !== undefined).sort();
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

/**
 * Reads what the archives of a subdir say, and leaves out those that cannot be read, or that are not what their names and
 * their place say.
 */
export async function gatherArchives(folder: string, options: GatherOptions): Promise<GatheredArchives> {
  const { onDone, signal } = options;
  const filenames = await listArchives(folder);
  const found = new Map<string, KnownArchive>();
  const failed: IndexFailure[] = [];
  let read = 0;
  await forEachConcurrently(filenames, { concurrency: CONCURRENCY, signal }, async (filename) => {
    try {
      const { archive, isKnown } = await readArchive(folder, filename, options);
      found.set(filename, archive);
      if (!isKnown) read += 1;
    } catch (error) {
      signal?.throwIfAborted();
      failed.push(failureOf(filename, error));
    }
    onDone?.(filename);
  });
  const archives = new Map(
    filenames.flatMap((filename) => {
      const archive = found.get(filename);
      return archive === undefined ? [] : [[filename, archive] as const];
    }),
  );
  return { archives, failed: failed.sort((a, b) => (a.filename < b.filename ? -1 : 1)), read };
}

function failureOf(filename: string, error: unknown): IndexFailure {
  if (isFerryError(error) && error.code !== 'UNSUPPORTED' && error.code !== 'DISK_FULL')
    return { filename, code: error.code, message: messageOf(error) };
  if (!isSystemError(error, ...FILE_ERRORS)) throw error;
  const { code } = error as NodeJS.ErrnoException;
  return { filename, code: 'SOURCE_UNREADABLE', message: `the file cannot be read: ${code ?? ''}` };
}

async function readArchive(
  folder: string,
  filename: string,
  { subdir, cache, now, signal }: GatherOptions,
): Promise<{ readonly archive: KnownArchive; readonly isKnown: boolean }> {
  const name = parseArchiveFilename(filename);
  const path = join(folder, filename);
  const startedMs = now().getTime();
  const before = await fileState(path);
  if (before?.isFile !== true) throw new FerryError('SOURCE_UNREADABLE', 'it is no file');
  const known = cache.get(filename, before.state);
  if (known !== undefined) return { archive: known, isKnown: true };
  const { indexJson, innerStem, ...info } = await readIndexedInfo({ path }, name.extension, { signal });
  checkIndexJson(parseIndexJson(indexJson), { ...name, filename, subdir });
  const stem = `${name.name}-${name.version}-${name.build}`;
  if (innerStem !== undefined && innerStem !== stem)
    throw new FerryError(
      'ARCHIVE_ENTRY_UNEXPECTED',
      `\`${filename}\` holds the tarballs of \`${innerStem}\``,
    );
  const record = makeRecord(indexJson, await sumsOf(path, signal));
  // What was read and what was summed up have to be the same bytes.
  const after = await fileState(path);
  if (after?.state !== before.state)
    throw new FerryError('SOURCE_UNREADABLE', 'it changed while it was read', { hint: 'run `index` again' });
  const archive = { record, info };
  cache.set(filename, before.state, archive, startedMs - before.touchedMs);
  return { archive, isKnown: false };
}

async function sumsOf(path: string, signal: AbortSignal | undefined): Promise<ArchiveSums> {
  await using file = await openArchiveFile({ path });
  await using summer = openSummer(file.size);
  let size = 0;
  for await (const chunk of file.chunks(0, file.size, signal)) {
    size += chunk.byteLength;
    await summer.update(chunk);
  }
  return { ...(await summer.finish()), size };
}
