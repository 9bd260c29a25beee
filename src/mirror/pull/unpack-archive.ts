import { appendFile, lstat, mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { checkIndexJson, parseIndexJson } from '../../conda/archive/index-json.js';
import { archiveExtensionOf, parseArchiveFilename } from '../../conda/names.js';
import { FerryError, isSystemError } from '../../errors.js';
import { translateWriteError } from '../../io/atomic-file.js';
import { cacheRecord } from './cache-record.js';
import type { FetchedArchive } from './fetch-archive.js';
import type { WantedArchive } from './find-archives.js';
import type { WorkFiles } from './work-files.js';

/** conda takes a folder for a package cache that it may write to by this file. */
const URLS_FILE = 'urls.txt';

const MAX_RECORD_BYTES = 4 * 1024 * 1024;

/** Where packages are unpacked, and what their records name. */
export interface UnpackContext {
  readonly folder: string;
  readonly files: WorkFiles;
  readonly workers: WorkerPool;
  /** URL of the channel. */
  readonly channelUrl: string;
  /** Whether that was given on purpose. */
  readonly isGiven: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Name of the folder that an archive is unpacked to, such as `zlib-1.2.11-h7b6447c_3`. */
export function packageFolder(filename: string): string {
  const extension = archiveExtensionOf(filename) ?? '';
  return filename.slice(0, -extension.length - 1);
}

/**
 * Tells whether a package is unpacked already.
 * @throws FerryError `ARCHIVE_EXISTS` where something else has its name: nothing is taken away that somebody may need
 */
export async function isUnpacked(wanted: WantedArchive, folder: string): Promise<boolean> {
  const path = join(folder, packageFolder(wanted.filename));
  try {
    if ((await lstat(path)).isDirectory()) {
      const { sha256 } = JSON.parse(await readRecord(join(path, 'info', 'repodata_record.json'))) as {
        sha256?: unknown;
      };
      if (sha256 === wanted.sha256) return true;
    }
  } catch (error) {
    if (isSystemError(error, 'ENOENT') && !(await exists(path))) return false;
    if (
      !(error instanceof SyntaxError) &&
      !(error instanceof TypeError) &&
      !isSystemError(error, 'ENOENT', 'ENOTDIR', 'EISDIR', 'EACCES')
    )
      throw translateWriteError(error, path);
  }
  throw new FerryError('ARCHIVE_EXISTS', `\`${path}\` is there, and is not this archive unpacked`, {
    hint: 'take it away, or choose another folder',
  });
}

/**
 * Unpacks an archive as conda's package caches have it. All is done in a folder beside, and a rename makes it visible, so
 * what has the name is whole.
 * @returns path of the unpacked package
 * @throws FerryError `ARCHIVE_…`, `DISK_FULL`, `OUTPUT_UNWRITABLE`
 */
export async function unpackArchive(
  wanted: WantedArchive,
  archive: FetchedArchive,
  context: UnpackContext,
): Promise<string> {
  const { filename, subdir, sha256 } = wanted;
  const path = join(context.folder, packageFolder(filename));
  if (await isUnpacked(wanted, context.folder)) return path;
  const temporary = context.files.unpackingFolder(sha256);
  // One deeper: what has an `info/` of its own in a package cache is a package to conda.
  const inner = join(temporary, 'package');
  try {
    await mkdir(temporary, { mode: 0o700 });
    await mkdir(inner);
    const { name, version, build, extension } = parseArchiveFilename(filename);
    const input = { archive: { path: archive.path }, extension, folder: inner };
    const index = parseIndexJson(await context.workers.run('extract', input, context.signal));
    checkIndexJson(index, { filename, name, version, build, subdir });
    const { channelUrl: channel, isGiven } = context;
    const record = cacheRecord({ wanted, channel, isGiven, index, size: archive.size });
    const text = `${JSON.stringify(record, undefined, 2)}\n`;
    await writeFile(join(inner, 'info', 'repodata_record.json'), text, { flag: 'wx' });
    context.signal?.throwIfAborted();
    await moveInto(inner, path, wanted, context.folder);
    await appendFile(join(context.folder, URLS_FILE), `${String(record['url'])}\n`);
    return path;
  } catch (error) {
    throw translateWriteError(error, path);
  } finally {
    // A worker that was just stopped may still be writing.
    await rm(temporary, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Another pull may have been faster, with the same package. */
async function moveInto(from: string, to: string, wanted: WantedArchive, folder: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (
      !isSystemError(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EPERM') ||
      !(await isUnpacked(wanted, folder))
    )
      throw error;
  }
}

async function readRecord(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(Math.min(MAX_RECORD_BYTES, (await file.stat()).size)),
    );
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
