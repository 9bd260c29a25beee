import { ParseError } from '../../errors.js';

/** Bytes of the text that an error quotes. */
const QUOTED_BYTES = 40;

/** Where the text stands that is read just now. */
export interface TextPlace {
  readonly bytes: Uint8Array;
  /** Offset in the whole text of `bytes[0]`. */
  readonly base: number;
  /** Bytes that are there. */
  readonly end: number;
}

/**
 * Makes the error for text that is no JSON: `malformed JSON at byte 17: a value is missing`.
 * @param at index in `place.bytes`; the error's position is the offset in the whole text
 */
export function malformed(why: string, place: TextPlace, at: number): ParseError {
  const position = place.base + at;
  const quoted = place.bytes.subarray(at, Math.min(at + QUOTED_BYTES, place.end));
  return new ParseError(
    'REPODATA_INVALID',
    `malformed JSON at byte ${String(position)}: ${why}`,
    Buffer.from(quoted).toString('utf8'),
    { position },
  );
}
