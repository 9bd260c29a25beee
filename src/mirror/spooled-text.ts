import type { WorkerPool } from '../artifact/worker-pool.js';
import { skipBytes, type Bytes, type OpenBytes } from '../io/bytes.js';
import { IntegrityError } from '../errors.js';
import { createDigestHash, sha256Digest, type Digest } from '../io/digest.js';
import { Spool } from '../io/spool.js';
import type { TempFolder } from '../io/temp-folder.js';
import { decompressZstdStream } from '../io/zstd-stream.js';

/** What is smaller is compressed and decompressed on the spot: a thread costs more to reach than that takes. */
export const SMALL_BYTES = 256 * 1024;

/** Bytes that lie in a temporary file, or in memory where they are few. */
export interface SpooledBytes extends AsyncDisposable {
  readonly open: OpenBytes;
  readonly size: number;
}

/** Spooled bytes with their digest. */
export interface SpooledBlob extends SpooledBytes {
  readonly digest: Digest;
}

/** A document that may be read several times, with the compressed form it came in. */
export interface SpooledText extends AsyncDisposable {
  /** Reads the text, decompressed. */
  readonly open: OpenBytes;
  readonly zst: SpooledBytes | undefined;
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
  const taken = limited(body, maxBytes, what);
  if (!isCompressed) {
    const plain = await spoolBlob(taken, temp);
    const dispose = (): PromiseLike<void> => plain[Symbol.asyncDispose]();
    return { open: plain.open, zst: undefined, digest: () => plain.digest, [Symbol.asyncDispose]: dispose };
  }
  // Its digest is asked for only where it is published as it is, and large ones take time.
  const blob = await spoolBytes(taken, temp);
  const dispose = (): PromiseLike<void> => blob[Symbol.asyncDispose]();
  if (blob.size <= SMALL_BYTES) {
    // An offset is one in the text.
    const open: OpenBytes = ({ signal, offset = 0 } = {}) =>
      skipBytes(decompressZstdStream(blob.open({ signal }), { maxBytes, what }), offset);
    return { open, zst: blob, digest: undefined, [Symbol.asyncDispose]: dispose };
  }
  let digest: Digest | undefined;
  const open = workers.decompressing(blob.open, { maxBytes, what, onDigest: (told) => (digest = told) });
  return { open, zst: blob, digest: () => digest, [Symbol.asyncDispose]: dispose };
}

/** Puts bytes aside. @throws FerryError `DISK_FULL` */
async function spoolBytes(body: Bytes, temp: TempFolder): Promise<SpooledBytes> {
  const spool = new Spool({ temp });
  try {
    await spool.fill(body);
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
  return { open: spool.open, size: spool.size, [Symbol.asyncDispose]: () => spool[Symbol.asyncDispose]() };
}

/** Puts bytes aside, with their digest. @throws FerryError `DISK_FULL` */
export async function spoolBlob(body: Bytes, temp: TempFolder): Promise<SpooledBlob> {
  const hash = createDigestHash();
  async function* hashed(): Bytes {
    for await (const chunk of body) {
      hash.update(chunk);
      yield chunk;
    }
  }
  return { ...(await spoolBytes(hashed(), temp)), digest: sha256Digest(hash.digest('hex')) };
}

/** The digest of bytes that were put aside without. */
export async function digestOfSpooled({ open }: SpooledBytes, signal?: AbortSignal): Promise<Digest> {
  const hash = createDigestHash();
  for await (const chunk of open({ signal })) hash.update(chunk);
  return sha256Digest(hash.digest('hex'));
}

async function* limited(body: Bytes, maxBytes: number, what: string): Bytes {
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > maxBytes) throw new IntegrityError('SIZE_EXCEEDED', what, maxBytes, size);
    yield chunk;
  }
}
