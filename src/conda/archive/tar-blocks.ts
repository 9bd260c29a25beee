import { FerryError } from '../../errors.js';
import { limitExceeded } from './limits.js';

/** Blocks that a tar consists of, and the headers that only prepare the next one: what tar-stream is not to be trusted with. */

/** Headers and padded contents are multiples of this. @see POSIX.1-2024, pax */
export const BLOCK_BYTES = 512;

/** Headers in front of one member. Long names and pax records need some kilobytes. */
export const MAX_EXTENSION_BYTES = 8 * 1024 * 1024;

/** Types of headers that belong to the next member: pax, pax for all, GNU long name, GNU long link target. */
const EXTENSION_TYPES = 'xgLK';

/** What a global pax header must not say, for then readers see different members. */
const GLOBAL_RECORD_PATTERN = /(?:^|\n)\d+ (?:path|linkpath|size)=/;

/** Size of content together with the padding behind it. */
export function paddedSize(size: number): number {
  return Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
}

/** Tells whether a block is the end of a tar. */
export function isZeroBlock(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

/**
 * Checks that `bytes`, which stand between a member and the header of the next one, from `offset` to `end`, are nothing
 * but whole extension headers. Where a reader lost its way, they are not.
 * @throws FerryError `ARCHIVE_CORRUPT`, `ARCHIVE_LIMIT_EXCEEDED`
 */
export function checkExtensions(bytes: Uint8Array, offset: number, end: number): void {
  if (bytes.byteLength > MAX_EXTENSION_BYTES) {
    const limit = String(MAX_EXTENSION_BYTES);
    throw limitExceeded(`the tar has more than ${limit} bytes of headers at byte ${String(offset)}`);
  }
  if (bytes.byteLength !== end - offset) throw wrongHeader(offset);
  for (let at = 0; at < bytes.byteLength;) {
    const header = Buffer.from(bytes.buffer, bytes.byteOffset + at, BLOCK_BYTES);
    const type = header.toString('latin1', 156, 157);
    const size = Number.parseInt(header.toString('latin1', 124, 136), 8);
    const body = at + BLOCK_BYTES;
    const next = body + paddedSize(size);
    if (!EXTENSION_TYPES.includes(type) || !(size > 0) || next > bytes.byteLength)
      throw wrongHeader(offset + at);
    if (
      type === 'g' &&
      GLOBAL_RECORD_PATTERN.test(Buffer.from(bytes.subarray(body, body + size)).toString('latin1'))
    ) {
      throw new FerryError(
        'ARCHIVE_CORRUPT',
        `the pax header at byte ${String(offset + at)} names all members alike`,
      );
    }
    at = next;
  }
}

function wrongHeader(offset: number): FerryError {
  return new FerryError('ARCHIVE_CORRUPT', `the header at byte ${String(offset)} of the tar is wrong`);
}

/** Cuts chunks so that no block lies in two of them. */
export async function* inBlocks(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  const partial = new Uint8Array(BLOCK_BYTES);
  let held = 0;
  for await (const chunk of source) {
    let rest = chunk;
    if (held > 0) {
      const taken = rest.subarray(0, BLOCK_BYTES - held);
      partial.set(taken, held);
      held += taken.byteLength;
      rest = rest.subarray(taken.byteLength);
      if (held < BLOCK_BYTES) continue;
      // Copied: tar-stream keeps it while a long name is incomplete.
      yield partial.slice();
      held = 0;
    }
    const whole = rest.byteLength - (rest.byteLength % BLOCK_BYTES);
    if (whole > 0) yield rest.subarray(0, whole);
    partial.set(rest.subarray(whole));
    held = rest.byteLength - whole;
  }
  if (held > 0) yield partial.subarray(0, held);
}
