import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FerryError, isSystemError } from '../errors.js';
import type { Bytes } from './bytes.js';

/** Options of {@link writeFileAtomic}. */
export interface AtomicFileOptions {
  /** @defaultValue 0o644, narrowed by the umask */
  readonly mode?: number;
  /** Called after all bytes are on disk and before they become visible; throwing leaves the old file. */
  readonly beforeRename?: () => void | Promise<void>;
}

/**
 * Writes a file so that readers see all of it or none: temporary file in the same folder, then rename.
 * Folders are made as needed. `source` may throw to refuse the content (see `verifyBytes`).
 * @throws FerryError `DISK_FULL`
 */
export async function writeFileAtomic(
  path: string,
  source: Bytes | Uint8Array,
  options: AtomicFileOptions = {},
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.tmp-${randomUUID()}`);
  try {
    const file = await openExclusive(temporary, folder, options.mode ?? 0o644);
    try {
      if (source instanceof Uint8Array) await file.writeFile(source);
      else for await (const chunk of source) await writeFully(file, chunk);
    } finally {
      await file.close();
    }
    await options.beforeRename?.();
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw translateDiskError(error, path);
  }
}

/** Turns "no space left" into one clear error; any other is returned as it is. */
export function translateDiskError(error: unknown, path: string): unknown {
  if (!isSystemError(error, 'ENOSPC', 'EDQUOT')) return error;
  return new FerryError('DISK_FULL', `no room left on the disk of \`${dirname(path)}\``, {
    cause: error,
    hint: 'free some space, or choose another folder with --temp-dir',
  });
}

/**
 * Turns what the system says to writing into errors of ours: `DISK_FULL`, or `OUTPUT_UNWRITABLE` for anything else; any other
 * error is returned as it is.
 */
export function translateWriteError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('errno' in error)) return error;
  if (isSystemError(error, 'ENOSPC', 'EDQUOT')) {
    return new FerryError('DISK_FULL', `no room left on the disk of \`${dirname(path)}\``, {
      cause: error,
      hint: 'free some space, or choose another folder',
    });
  }
  return new FerryError('OUTPUT_UNWRITABLE', `\`${path}\` cannot be written`, { cause: error });
}

/** Writes all of `chunk`, at the file's position or at `position`. */
export async function writeFully(file: FileHandle, chunk: Uint8Array, position?: number): Promise<void> {
  let done = 0;
  while (done < chunk.byteLength) {
    const at = position === undefined ? null : position + done;
    const { bytesWritten } = await file.write(chunk, done, chunk.byteLength - done, at);
    done += bytesWritten;
  }
}

async function openExclusive(path: string, folder: string, mode: number): Promise<FileHandle> {
  try {
    return await open(path, 'wx', mode);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
    await mkdir(folder, { recursive: true });
    return open(path, 'wx', mode);
  }
}
