import type * as Binding from 'zstd-napi/binding.js';
import { FerryError } from '../../errors.js';
import { loadZstd, type ZstdBinding } from '../../io/zstd-binding.js';
import { limitExceeded, MAX_ZSTD_WINDOW_BYTES } from './limits.js';

/** zstd as a stream of frames, with the kind of each fault told apart; zstd-napi's own stream gives only texts. */

/** Unpacked at once; what zstd advises. */
const OUTPUT_BYTES = 128 * 1024;

/** Magic number, descriptor and window byte or content size: the most that {@link windowBytes} looks at. */
const MAX_FRAME_HEADER_BYTES = 18;

const MIN_FRAME_HEADER_BYTES = 6;

/**
 * Unpacks zstd: one frame or several in a row, skippable ones too. `what` names the bytes in errors. Chunks are the
 * caller's to keep.
 * @throws FerryError `ARCHIVE_TRUNCATED`, `ARCHIVE_CORRUPT`, `ARCHIVE_NOT_CONDA` (no zstd), `ARCHIVE_LIMIT_EXCEEDED`
 * (window), `UNSUPPORTED` (zstd-napi cannot be loaded)
 * @see RFC 8878
 */
export async function* decompressZstd(
  source: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const reader = new FrameReader(await loadZstd(), what);
  for await (const chunk of source) yield* reader.unpack(chunk, false);
  yield* reader.unpack(new Uint8Array(0), true);
}

/** A window up to this may stay with a context that waits for its next use. */
const MAX_SPARE_WINDOW_BYTES = 1024 * 1024;

/** A context that came to the end of its bytes: to make one takes longer than to unpack what most packages have. */
let spareContext: Binding.DCtx | undefined;

/** One for all readers: what is unpacked is copied out before anybody else gets a turn. */
const output = new Uint8Array(OUTPUT_BYTES);

class FrameReader {
  readonly #context: Binding.DCtx;
  readonly #what: string;
  /** The beginning of a frame, too short to be judged. */
  #held: Uint8Array = new Uint8Array(0);
  #insideFrame = false;
  #largestWindowBytes = 0;
  /** Bytes used so far. */
  #offset = 0;

  constructor(binding: ZstdBinding, what: string) {
    this.#context = spareContext ?? new binding.DCtx();
    spareContext = undefined;
    this.#context.setParameter(binding.DParameter.windowLogMax, Math.log2(MAX_ZSTD_WINDOW_BYTES));
    this.#what = what;
  }

  *unpack(chunk: Uint8Array, isLast: boolean): Generator<Uint8Array<ArrayBuffer>, void> {
    let rest: Uint8Array = this.#held.byteLength === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = new Uint8Array(0);
    let outputFull = false;
    while (rest.byteLength > 0 || outputFull) {
      if (!this.#insideFrame) {
        if (!isLast && rest.byteLength < MAX_FRAME_HEADER_BYTES) {
          // Copied, for the chunk is not ours to keep.
          this.#held = new Uint8Array(rest);
          return;
        }
        const window = checkFrameHeader(rest, this.#offset, this.#what);
        this.#largestWindowBytes = Math.max(this.#largestWindowBytes, window);
      }
      const [hint, produced, consumed] = this.#step(rest);
      rest = rest.subarray(consumed);
      this.#offset += consumed;
      this.#insideFrame = hint !== 0;
      outputFull = this.#insideFrame && produced === OUTPUT_BYTES;
      if (produced > 0) yield output.slice(0, produced);
    }
    if (!isLast) return;
    if (this.#insideFrame || this.#offset === 0) throw truncated(this.#what, this.#offset);
    if (this.#largestWindowBytes <= MAX_SPARE_WINDOW_BYTES) spareContext = this.#context;
  }

  #step(input: Uint8Array): readonly [number, number, number] {
    try {
      return this.#context.decompressStream(output, input);
    } catch (cause) {
      const message = `the zstd data of ${this.#what} is corrupt near byte ${String(this.#offset)}`;
      throw new FerryError('ARCHIVE_CORRUPT', message, { cause });
    }
  }
}

/**
 * Refuses what is no frame, and frames that need too large a window, before zstd sees them.
 * @returns the window's size, in bytes
 */
function checkFrameHeader(bytes: Uint8Array, offset: number, what: string): number {
  const kind = frameKind(bytes);
  if (kind === 'none') {
    if (offset === 0) throw new FerryError('ARCHIVE_NOT_CONDA', `${what} is not packed with zstd`);
    throw new FerryError(
      'ARCHIVE_CORRUPT',
      `${what} goes on at byte ${String(offset)} with something other than zstd`,
    );
  }
  if (kind === 'skippable') return 0;
  if (bytes.byteLength < MIN_FRAME_HEADER_BYTES) throw truncated(what, offset);
  const size = windowBytes(bytes);
  if (size > MAX_ZSTD_WINDOW_BYTES) {
    throw limitExceeded(
      `${what} needs a zstd window of ${String(size)} bytes, allowed are ${String(MAX_ZSTD_WINDOW_BYTES)}`,
    );
  }
  return size;
}

function frameKind(bytes: Uint8Array): 'data' | 'skippable' | 'none' {
  // A cut magic number counts as one, so that the frame is found cut.
  const [first, second = 0xb5, third = 0x2f, fourth = 0xfd] = bytes;
  if (first === 0x28 && second === 0xb5 && third === 0x2f && fourth === 0xfd) return 'data';
  const skippable =
    first !== undefined &&
    (first & 0xf0) === 0x50 &&
    (bytes[1] ?? 0x2a) === 0x2a &&
    (bytes[2] ?? 0x4d) === 0x4d &&
    (bytes[3] ?? 0x18) === 0x18;
  return skippable ? 'skippable' : 'none';
}

/** The window that a frame asks for. A frame of a single segment has its content size for one. @see RFC 8878, 3.1.1.1 */
function windowBytes(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (!isSingleSegment) {
    const window = view.getUint8(5);
    const base = 2 ** (10 + (window >>> 3));
    return base + (base / 8) * (window & 7);
  }
  const at = 5 + ([0, 1, 2, 4][descriptor & 3] ?? 0);
  const sizeBytes = [1, 2, 4, 8][descriptor >>> 6] ?? 1;
  if (at + sizeBytes > bytes.byteLength) return 0;
  if (sizeBytes === 1) return view.getUint8(at);
  if (sizeBytes === 2) return view.getUint16(at, true) + 256;
  return sizeBytes === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}

function truncated(what: string, offset: number): FerryError {
  return new FerryError(
    'ARCHIVE_TRUNCATED',
    `the zstd data of ${what} ends early, at byte ${String(offset)}`,
  );
}
