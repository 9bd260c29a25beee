import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { isFerryError, isSystemError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { digestOf, type Digest } from '../../io/digest.js';

/** Level of compression for what is compressed once and read very often; what conda-oci-mirror uses. */
export const ZSTD_LEVEL = 15;

/** Writes a file unless it has these bytes already, so that its time tells when it changed. @returns its digest */
export async function putFile(path: string, bytes: Uint8Array): Promise<Digest> {
  const digest = digestOf(bytes);
  if ((await digestOfFile(path)) !== digest) await writeFileAtomic(path, bytes);
  return digest;
}

/** Digest of a file of metadata; `undefined` where there is none. */
export async function digestOfFile(path: string): Promise<Digest | undefined> {
  const bytes = await readOrUndefined(path);
  return bytes === undefined ? undefined : digestOf(bytes);
}

/** Reads a file whole; `undefined` where there is none. */
export async function readOrUndefined(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Options of {@link putBoth}. */
export interface PutOptions {
  readonly workers: WorkerPool;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes a file compressed, as `<path>.zst`, and then plain. One that is compressed from the same bytes stays, since
 * compressing takes far longer than to see that.
 * @returns whether any of them changed
 */
export async function putBoth(path: string, bytes: Uint8Array, options: PutOptions): Promise<boolean> {
  const { workers, signal } = options;
  const isKnown = await holdsCompressed(`${path}.zst`, bytes, options);
  if (!isKnown) {
    const compressed = await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal);
    await writeFileAtomic(`${path}.zst`, compressed);
  }
  if ((await digestOfFile(path)) === digestOf(bytes)) return !isKnown;
  await writeFileAtomic(path, bytes);
  return true;
}

async function holdsCompressed(
  path: string,
  bytes: Uint8Array,
  { workers, signal }: PutOptions,
): Promise<boolean> {
  const compressed = await readOrUndefined(path);
  if (compressed === undefined) return false;
  try {
    const input = { bytes: compressed, maxBytes: bytes.byteLength, what: `\`${path}\`` };
    return Buffer.compare(await workers.run('decompress', input, signal), bytes) === 0;
  } catch (error) {
    if (isFerryError(error, 'REPODATA_INVALID') || isFerryError(error, 'SIZE_EXCEEDED')) return false;
    throw error;
  }
}

/** Removes what killed runs left in a folder: the lock says that nobody else is at it. */
export async function removeTemporaries(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown): string[] => {
    if (isSystemError(error, 'ENOENT')) return [];
    throw error;
  });
  for (const name of names) {
    if (/^\.tmp-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(name))
      await rm(join(folder, name), { force: true });
  }
}
