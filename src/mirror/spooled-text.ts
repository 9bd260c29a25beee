import { createHash } from 'node:crypto';
import type { WorkerPool } from '../artifact/worker-pool.js';
import type { Bytes, OpenBytes } from '../io/bytes.js';
import { IntegrityError } from '../errors.js';
import { sha256Digest, type Digest } from '../io/digest.js';
import { Spool } from '../io/spool.js';
import type { TempFolder } from '../io/temp-folder.js';
import { decompressZstdStream } from '../io/zstd-stream.js';

/** What is smaller is compressed and decompressed on the spot: a thread costs more to reach than that takes. */
export const SMALL_BYTES = 256 * 1024;

/** Bytes that lie in a temporary file, or in memory where they are few. */
export interface SpooledBlob extends AsyncDisposable {
  readonly open: OpenBytes;
  readonly digest: Digest;
  readonly size: number;
}

/** A document that may be read several times, with the compressed form it came in. */
export interface SpooledText extends AsyncDisposable {
  /** Reads the text, decompressed. */
  readonly open: OpenBytes;
  readonly zst: SpooledBlob | undefined;
  /** Of the text, once it was read to its end; `undefined` where whoever reads it must find out. */
  readonly digest: (() => Digest | undefined) | undefined;
}

/** What {@link readText} is told. */
export interface ReadTextOptions {
  readonly isCompressed: boolean;
  /** Of the text, and of what comes. */
  readonly maxBytes: number;
  /** Names it in errors. */
  readonly what: string;
  readonly temp: TempFolder;
  readonly workers: WorkerPool;
}

/** Takes in a document, compressed or not. @throws IntegrityError `SIZE_EXCEEDED`; FerryError `DISK_FULL` */
export async function readText(body: Bytes, options: ReadTextOptions): Promise<SpooledText> {
  const { isCompressed, maxBytes, what, temp, workers } = options;
  const blob = await spoolBlob(limited(body, maxBytes, what), temp);
  const dispose = (): PromiseLike<void> => blob[Symbol.asyncDispose]();
  if (!isCompressed)
    return { open: blob.open, zst: undefined, digest: () => blob.digest, [Symbol.asyncDispose]: dispose };
  if (blob.size <= SMALL_BYTES) {
    const open: OpenBytes = (how) => decompressZstdStream(blob.open(how), { maxBytes, what });
    return { open, zst: blob, digest: undefined, [Symbol.asyncDispose]: dispose };
  }
  let digest: Digest | undefined;
  const open = workers.decompressing(blob.open, { maxBytes, what, onDigest: (told) => (digest = told) });
  return { open, zst: blob, digest: () => digest, [Symbol.asyncDispose]: dispose };
}

/** Puts bytes aside, with their digest. @throws FerryError `DISK_FULL` */
export async function spoolBlob(body: Bytes, temp: TempFolder): Promise<SpooledBlob> {
  const spool = new Spool({ temp });
  const hash = createHash('sha256');
  async function* hashed(): Bytes {
    for await (const chunk of body) {
      hash.update(chunk);
      yield chunk;
    }
  }
  try {
    await spool.fill(hashed());
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
  return {
    open: spool.open,
    digest: sha256Digest(hash.digest('hex')),
    size: spool.size,
    [Symbol.asyncDispose]: () => spool[Symbol.asyncDispose](),
  };
}

async function* limited(body: Bytes, maxBytes: number, what: string): Bytes {
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > maxBytes) throw new IntegrityError('SIZE_EXCEEDED', what, maxBytes, size);
    yield chunk;
  }
}
