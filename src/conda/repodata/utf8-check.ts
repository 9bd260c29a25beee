import { isUtf8 } from 'node:buffer';
import { concatBytes } from '../../io/bytes.js';

/**
 * Checks that bytes which arrive in pieces are UTF-8; a character may stand on a border. JSON has bytes beyond ASCII only in
 * strings, so the text as a whole is UTF-8 if and only if its strings are, and this runs at the speed of memory.
 */
export class Utf8Check {
  /** The begun character at the end of what was checked. */
  #begun: Uint8Array = new Uint8Array();

  /**
   * @returns index in `bytes` of the first character that is none, negative where it began in an earlier piece;
   * `undefined` if all is well
   */
  push(bytes: Uint8Array): number | undefined {
    const all = this.#begun.length === 0 ? bytes : concatBytes([this.#begun, bytes]);
    const shift = this.#begun.length;
    const whole = all.subarray(0, all.length - begunLength(all));
    if (!isUtf8(whole)) return firstFault(whole) - shift;
    this.#begun = new Uint8Array(all.subarray(whole.length));
    return undefined;
  }

  /** Bytes of a character that has begun and not ended. */
  get pending(): number {
    return this.#begun.length;
  }
}

/** Bytes at the end that may begin a character which goes on in the next piece. */
function begunLength(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < sequenceLength(byte) ? back : 0;
  }
  return 0;
}

function sequenceLength(lead: number): number {
  if (lead >= 0xf0) return 4;
  return lead >= 0xe0 ? 3 : 2;
}

/** Where UTF-8 ends to be so: halves what is known to hold the fault, cutting only between characters. */
function firstFault(bytes: Uint8Array): number {
  let start = 0;
  let end = bytes.length;
  while (end - start > 8) {
    const middle = characterStart(bytes, start, start + Math.floor((end - start) / 2));
    if (middle <= start) break;
    if (isUtf8(bytes.subarray(start, middle))) start = middle;
    else end = middle;
  }
  for (;;) {
    const lead = bytes[start] as number;
    const length = lead < 0x80 ? 1 : sequenceLength(lead);
    if (start + length > bytes.length || !isUtf8(bytes.subarray(start, start + length))) return start;
    start += length;
  }
}

/** The start of the character that holds `at`, or `at` where it cannot be told. */
function characterStart(bytes: Uint8Array, start: number, at: number): number {
  for (let back = 0; back < 4 && at - back > start; back += 1) {
    if (((bytes[at - back] as number) & 0xc0) !== 0x80) return at - back;
  }
  return at;
}
