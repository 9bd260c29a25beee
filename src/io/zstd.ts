import { FerryError, IntegrityError } from '../errors.js';
import { concatBytes } from './bytes.js';
import { loadZstd } from './zstd-binding.js';

/** 2^27 bytes: what the reference decoder takes without being told otherwise. */
const MAX_WINDOW_LOG = 27;
const MAX_OUTPUT_BYTES = 1024 * 1024;
/** Most of what is small fits into one piece of so many times its size. */
const USUAL_EXPANSION = 8;
/** Repodata shrinks to a tenth; beyond a hundredth somebody wants our memory. */
const MAX_EXPANSION = 100;
const EXPANSION_FREE_BYTES = 64 * 1024 * 1024;

/**
 * Decompresses zstd frames that are all at hand. Blocks the thread it runs on.
 * @throws FerryError `REPODATA_INVALID` where the frames are damaged or cut short, `UNSUPPORTED`; IntegrityError
 * `SIZE_EXCEEDED`
 */
export async function decompressZstd(bytes: Uint8Array, maxBytes: number, what: string): Promise<Uint8Array> {
  const { DCtx, DParameter } = await loadZstd();
  const context = new DCtx();
  context.setParameter(DParameter.windowLogMax, MAX_WINDOW_LOG);
  const parts: Uint8Array[] = [];
  const outputBytes = Math.min(MAX_OUTPUT_BYTES, USUAL_EXPANSION * Math.max(1024, bytes.byteLength));
  let size = 0;
  let rest = bytes;
  for (let hint = 1, isFull = false; rest.byteLength > 0 || isFull || hint !== 0;) {
    if (rest.byteLength === 0 && !isFull) throw damaged(what, 'it ends early');
    const output = new Uint8Array(outputBytes);
    let produced: number;
    let consumed: number;
    try {
      [hint, produced, consumed] = context.decompressStream(output, rest);
    } catch (cause) {
      throw damaged(what, 'a frame is damaged', cause);
    }
    rest = rest.subarray(consumed);
    size += produced;
    if (size > EXPANSION_FREE_BYTES && size > bytes.byteLength * MAX_EXPANSION) {
      throw damaged(what, `it expands to more than ${String(MAX_EXPANSION)} times its size`);
    }
    if (size > maxBytes) throw new IntegrityError('SIZE_EXCEEDED', what, maxBytes, size);
    isFull = hint !== 0 && produced === outputBytes;
    parts.push(produced === outputBytes ? output : output.slice(0, produced));
  }
  return concatBytes(parts);
}

/** Compresses in one frame with its size and a checksum. Blocks the thread it runs on. @throws FerryError `UNSUPPORTED` */
export async function compressZstd(bytes: Uint8Array, level: number): Promise<Uint8Array> {
  await loadZstd();
  const { compress } = await import('zstd-napi');
  return compress(bytes, { compressionLevel: level, checksumFlag: true });
}

function damaged(what: string, why: string, cause?: unknown): FerryError {
  return new FerryError('REPODATA_INVALID', `${what} is not whole zstd: ${why}`, { cause });
}
