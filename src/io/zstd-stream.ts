import { FerryError, IntegrityError } from '../errors.js';
import type { Bytes } from './bytes.js';
import { loadZstd } from './zstd-binding.js';

/** 2^27 bytes: what the reference decoder takes without being told otherwise. */
const MAX_WINDOW_LOG = 27;
/** Large enough that passing pieces on costs nothing, small enough for the processor's cache. */
const OUTPUT_BYTES = 256 * 1024;
/** Repodata shrinks to a tenth; beyond a hundredth somebody wants our memory. */
const MAX_EXPANSION = 100;
const EXPANSION_FREE_BYTES = 64 * 1024 * 1024;

/** Options of {@link decompressZstdStream}. */
export interface DecompressOptions {
  /** Bytes of plain text that are taken. */
  readonly maxBytes: number;
  /** What is decompressed, for the error: `repodata.json.zst of linux-64`. */
  readonly what: string;
}

/**
 * Decompresses zstd frames as they arrive. The pieces it gives have memory of their own. Blocks the thread between them.
 * @throws FerryError `REPODATA_INVALID` where the frames are damaged, cut short or expand a hundredfold, `UNSUPPORTED`;
 * IntegrityError `SIZE_EXCEEDED`
 */
export async function* decompressZstdStream(
  source: Bytes,
  { maxBytes, what }: DecompressOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const { DCtx, DParameter } = await loadZstd();
  const context = new DCtx();
  context.setParameter(DParameter.windowLogMax, MAX_WINDOW_LOG);
  let taken = 0;
  let given = 0;
  let output = new Uint8Array(OUTPUT_BYTES);
  let used = 0;
  // 0 between frames; before the first one, something must come.
  let hint = 1;
  for await (const chunk of source) {
    taken += chunk.byteLength;
    for (let rest = chunk, isFull = false; rest.byteLength > 0 || isFull;) {
      let produced: number;
      let consumed: number;
      try {
        [hint, produced, consumed] = context.decompressStream(output.subarray(used), rest);
      } catch (cause) {
        throw damaged(what, 'a frame is damaged', cause);
      }
      rest = rest.subarray(consumed);
      used += produced;
      given += produced;
      if (given > EXPANSION_FREE_BYTES && given > taken * MAX_EXPANSION)
        throw damaged(what, `it expands to more than ${String(MAX_EXPANSION)} times its size`);
      if (given > maxBytes) throw new IntegrityError('SIZE_EXCEEDED', what, maxBytes, given);
      isFull = used === OUTPUT_BYTES;
      if (!isFull) continue;
      yield output;
      output = new Uint8Array(OUTPUT_BYTES);
      used = 0;
      // What is left within the decoder must come out before a frame can be over.
      isFull = hint !== 0;
    }
  }
  if (hint !== 0) throw damaged(what, 'it ends early');
  if (used > 0) yield output.slice(0, used);
}

/** Options of {@link compressZstdStream}. */
export interface CompressOptions {
  readonly level: number;
  /** Bytes that will come, if known: they stand in the frame then, and must be right. */
  readonly size?: number | undefined;
}

/**
 * Compresses into one frame with a checksum as the bytes arrive; the result does not depend on the pieces they come in.
 * Blocks the thread between pieces.
 * @throws FerryError `UNSUPPORTED`; `INTERNAL` where the size was wrong
 */
export async function* compressZstdStream(
  source: Bytes,
  { level, size }: CompressOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const { CCtx, CParameter, EndDirective } = await loadZstd();
  const context = new CCtx();
  context.setParameter(CParameter.compressionLevel, level);
  context.setParameter(CParameter.checksumFlag, 1);
  if (size !== undefined) context.setPledgedSrcSize(size);
  let output = new Uint8Array(OUTPUT_BYTES);
  let used = 0;
  const step = (input: Uint8Array, directive: number): readonly [remaining: number, consumed: number] => {
    try {
      const [remaining, produced, consumed] = context.compressStream2(
        output.subarray(used),
        input,
        directive,
      );
      used += produced;
      return [remaining, consumed];
    } catch (cause) {
      throw new FerryError('INTERNAL', 'zstd cannot compress the bytes', { cause });
    }
  };
  for await (const chunk of source) {
    for (let rest = chunk; rest.byteLength > 0;) {
      const [, consumed] = step(rest, EndDirective.continue);
      rest = rest.subarray(consumed);
      if (used < OUTPUT_BYTES) continue;
      yield output;
      output = new Uint8Array(OUTPUT_BYTES);
      used = 0;
    }
  }
  for (let remaining = 1; remaining > 0;) {
    [remaining] = step(new Uint8Array(), EndDirective.end);
    if (used > 0) yield output.slice(0, used);
    used = 0;
  }
}

function damaged(what: string, why: string, cause?: unknown): FerryError {
  return new FerryError('REPODATA_INVALID', `${what} is not whole zstd: ${why}`, { cause });
}
