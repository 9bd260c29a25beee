import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChannelSource } from '../../conda/channel-source.js';
import { IntegrityError, isFerryError, isSystemError } from '../../errors.js';
import { translateWriteError, writeFully } from '../../io/atomic-file.js';
import type { Bytes } from '../../io/bytes.js';
import type { WantedArchive } from './find-archives.js';
import type { PartialFile, WorkFiles } from './work-files.js';

const READ_BYTES = 256 * 1024;

/** Not on Windows. */
const NO_FOLLOW = (constants as { readonly O_NOFOLLOW?: number }).O_NOFOLLOW ?? 0;

/** Of what the channel does not list, so that a server without end does not fill the disk. The largest packages have some GiB. */
const MAX_UNLISTED_BYTES = 32 * 1024 ** 3;

/** How an archive came to be in the folder: it was `there`, was gone on with, or was fetched from its beginning. */
export type PullStatus = 'there' | 'resumed' | 'fetched';

/** Where archives come from and go to. */
export interface FetchContext {
  readonly channel: ChannelSource;
  readonly folder: string;
  readonly files: WorkFiles;
  readonly signal?: AbortSignal | undefined;
}

/** An archive that is in the folder, whole and checked. */
export interface FetchedArchive {
  readonly status: PullStatus;
  readonly path: string;
  /** In bytes. */
  readonly size: number;
}

/**
 * Brings an archive into the folder, unless it is there. What is left of a broken-off download is gone on with, and all of it
 * is checked before it gets the archive's name; so what has the name is whole.
 * @throws IntegrityError; FerryError `DISK_FULL`, `OUTPUT_UNWRITABLE`; whatever the source fails with
 */
export async function fetchArchive(wanted: WantedArchive, context: FetchContext): Promise<FetchedArchive> {
  const path = join(context.folder, wanted.filename);
  const there = await checkFile(path, wanted, context.signal);
  if (there !== undefined) return { status: 'there', path, size: there };
  const partial = await writing(path, () => context.files.claim(wanted.sha256));
  try {
    const flags = partial.size === 0 ? 'wx+' : constants.O_RDWR | NO_FOLLOW;
    const file = await writing(path, () => open(partial.path, flags));
    let size: number;
    let status: PullStatus = partial.size > 0 ? 'resumed' : 'fetched';
    try {
      try {
        size = await receive(file, partial.size, wanted, context);
      } catch (error) {
        // What was left need not be a part of it: the source may know no offsets, or a disk was not synced.
        if (partial.size === 0 || !(error instanceof IntegrityError)) throw error;
        status = 'fetched';
        await writing(path, () => file.truncate(0));
        size = await receive(file, 0, wanted, context);
      }
    } finally {
      await file.close();
    }
    await writing(path, () => rename(partial.path, path));
    return { status, path, size };
  } catch (error) {
    await leave(partial, wanted, context, error);
    throw error;
  }
}

/** Gets the rest of an archive into its file. @returns the size of the whole */
async function receive(
  file: FileHandle,
  offset: number,
  wanted: WantedArchive,
  { channel, folder, signal }: FetchContext,
): Promise<number> {
  const check = new ArchiveCheck(wanted);
  for await (const chunk of readFile(file, offset, signal)) check.update(chunk);
  // A run may have ended between the last byte and the renaming.
  if (offset > 0 && check.size === wanted.size) return check.finish();
  let position = offset;
  const { subdir, filename, sha256, size, record } = wanted;
  const place = { subdir, filename, sha256, size, url: record?.url };
  const body = channel.openArchive(place, offset === 0 ? { signal } : { signal, offset });
  for await (const chunk of body) {
    check.update(chunk);
    const at = position;
    await writing(join(folder, filename), () => writeFully(file, chunk, at));
    position += chunk.byteLength;
  }
  return check.finish();
}

/** Keeps what was received where it can be gone on with. */
async function leave(
  partial: PartialFile,
  { sha256 }: WantedArchive,
  { files }: FetchContext,
  error: unknown,
): Promise<void> {
  const isWrong = error instanceof IntegrityError;
  try {
    if (isWrong || (await stat(partial.path)).size === 0) await rm(partial.path, { force: true });
    else await files.release(partial, sha256);
  } catch (failure) {
    // The error that led here is the one to be told.
    if (!(failure instanceof Error && 'errno' in failure)) throw failure;
  }
}

/** Sums an archive up as it comes, against what is known of it. */
class ArchiveCheck {
  readonly #wanted: WantedArchive;
  readonly #sha256 = createHash('sha256');
  readonly #md5: Hash | undefined;
  size = 0;

  constructor(wanted: WantedArchive) {
    this.#wanted = wanted;
    this.#md5 = wanted.md5 === undefined ? undefined : createHash('md5');
  }

  /** @throws IntegrityError `SIZE_EXCEEDED` at the first byte too many */
  update(chunk: Uint8Array): void {
    this.size += chunk.byteLength;
    const { size = MAX_UNLISTED_BYTES, filename } = this.#wanted;
    if (this.size > size) throw new IntegrityError('SIZE_EXCEEDED', `\`${filename}\``, size, this.size);
    this.#sha256.update(chunk);
    this.#md5?.update(chunk);
  }

  /** @returns the size @throws IntegrityError `SIZE_MISMATCH`, `DIGEST_MISMATCH` */
  finish(): number {
    const { size = this.size, filename, sha256, md5 } = this.#wanted;
    const what = `\`${filename}\``;
    if (this.size !== size) throw new IntegrityError('SIZE_MISMATCH', what, size, this.size);
    compare('sha256', this.#sha256, sha256, what);
    if (this.#md5 !== undefined && md5 !== undefined) compare('md5', this.#md5, md5, what);
    return size;
  }
}

function compare(algorithm: string, hash: Hash, expected: string, what: string): void {
  const actual = hash.digest('hex');
  if (actual === expected) return;
  throw new IntegrityError('DIGEST_MISMATCH', what, `${algorithm}:${expected}`, `${algorithm}:${actual}`);
}

/** Size of the file that has the archive's name, if it is the archive. */
async function checkFile(
  path: string,
  wanted: WantedArchive,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  try {
    const { size } = await stat(path);
    if (wanted.size !== undefined && size !== wanted.size) return undefined;
    const file = await open(path, 'r');
    try {
      const check = new ArchiveCheck(wanted);
      for await (const chunk of readFile(file, size, signal)) check.update(chunk);
      return check.finish();
    } finally {
      await file.close();
    }
  } catch (error) {
    // Something else has that name; it is replaced, or in the way then.
    if (isFerryError(error) || isSystemError(error, 'ENOENT', 'EACCES', 'EISDIR', 'EPERM', 'ELOOP', 'EIO'))
      return undefined;
    throw translateWriteError(error, path);
  }
}

async function* readFile(file: FileHandle, end: number, signal: AbortSignal | undefined): Bytes {
  const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(READ_BYTES, end)));
  for (let at = 0; at < end;) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.byteLength, end - at), at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Does something on the disk, whose errors are ours to tell. */
async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw translateWriteError(error, path);
  }
}
