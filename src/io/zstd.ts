import { Readable } from 'node:stream';
import { compress, DecompressStream } from 'zstd-napi';
import { FerryError } from '../errors.js';
import { collect } from './bytes.js';

/** 2^27 bytes: what the reference decoder takes without being told otherwise. */
const MAX_WINDOW_LOG = 27;
const INPUT_CHUNK_BYTES = 256 * 1024;

/**
 * Decompresses zstd frames that are all at hand. Blocks the thread it runs on.
 * @throws FerryError `REPODATA_INVALID` where the frames are damaged or cut short; IntegrityError `SIZE_EXCEEDED`
 */
export async function decompressZstd(bytes: Uint8Array, maxBytes: number, what: string): Promise<Uint8Array> {
  const stream = Readable.from(pieces(bytes)).pipe(new DecompressStream({ windowLogMax: MAX_WINDOW_LOG }));
  try {
    return await collect(stream, maxBytes, what);
  } catch (cause) {
    if (cause instanceof FerryError) throw cause;
    throw new FerryError('REPODATA_INVALID', `${what} is not whole zstd`, { cause });
  }
}

/** Compresses in one frame with its size and a checksum. Blocks the thread it runs on. */
export function compressZstd(bytes: Uint8Array, level: number): Uint8Array {
  return compress(bytes, { compressionLevel: level, checksumFlag: true });
}

function* pieces(bytes: Uint8Array): Generator<Buffer> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 0; start < buffer.byteLength; start += INPUT_CHUNK_BYTES) {
    yield buffer.subarray(start, start + INPUT_CHUNK_BYTES);
  }
}
