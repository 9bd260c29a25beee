import { COLON, QUOTE } from './json-bytes.js';

/** Longest key that is guessed, with its closing quote and colon. */
const WORDS = 5;
const MAX_BYTES = WORDS * 4;
/** Real channels have some thirty keys; what comes later is read byte by byte. */
const MAX_KEYS = 128;

/** No key: what stands before the first one, and what cannot be guessed. */
export const NO_KEY = 0;

/** The same bytes twice, 20 more of them than are read. */
interface KeyPlace {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/**
 * Guesses a record's next key from the one before it, as it went in earlier records, so that a key is mostly compared in a few
 * words and not searched byte by byte. A guess that fails costs nothing but the way without it.
 */
export class KeyGuess {
  readonly #words = new Int32Array(MAX_KEYS * WORDS);
  readonly #masks = new Int32Array(MAX_KEYS * WORDS);
  readonly #lengths = new Uint8Array(MAX_KEYS);
  readonly #fields = new Uint8Array(MAX_KEYS);
  // Two keys that follow each: some fields are not in all records.
  readonly #next = new Uint8Array(MAX_KEYS);
  readonly #otherNext = new Uint8Array(MAX_KEYS);
  #count = 1;

  /**
   * The key that stands behind the quote at `at`, if it is one of the two expected.
   * @param before the key before it
   * @param view has 20 bytes more than are read
   */
  guess(before: number, view: DataView, at: number): number {
    const next = this.#next[before] as number;
    if (this.#isThere(next, view, at)) return next;
    const other = this.#otherNext[before] as number;
    return this.#isThere(other, view, at) ? other : NO_KEY;
  }

  #isThere(key: number, view: DataView, at: number): boolean {
    if (key === NO_KEY) return false;
    const words = this.#words;
    const masks = this.#masks;
    const w = key * WORDS;
    const difference =
      ((view.getInt32(at + 1, true) ^ (words[w] as number)) & (masks[w] as number)) |
      ((view.getInt32(at + 5, true) ^ (words[w + 1] as number)) & (masks[w + 1] as number)) |
      ((view.getInt32(at + 9, true) ^ (words[w + 2] as number)) & (masks[w + 2] as number)) |
      ((view.getInt32(at + 13, true) ^ (words[w + 3] as number)) & (masks[w + 3] as number)) |
      ((view.getInt32(at + 17, true) ^ (words[w + 4] as number)) & (masks[w + 4] as number));
    return difference === 0;
  }

  /** Bytes of a key with its quotes and colon. */
  lengthOf(key: number): number {
    return this.#lengths[key] as number;
  }

  /** What was learnt with the key. */
  fieldOf(key: number): number {
    return this.#fields[key] as number;
  }

  /** Learns that a key, which stands between `start` and `end` with a colon behind it, follows another. */
  learn(before: number, window: KeyPlace, start: number, end: number, field: number): number {
    const { bytes, view } = window;
    const length = end + 2 - start;
    if (length > MAX_BYTES || bytes[end] !== QUOTE || bytes[end + 1] !== COLON) return NO_KEY;
    let key = 1;
    while (key < this.#count && !this.#isThere(key, view, start - 1)) key += 1;
    if (key === MAX_KEYS) return NO_KEY;
    if (key === this.#count) {
      const text = new Uint8Array(MAX_BYTES);
      text.set(bytes.subarray(start, end + 2));
      this.#words.set(littleEndian(text), key * WORDS);
      this.#masks.set(littleEndian(new Uint8Array(MAX_BYTES).fill(0xff, 0, length)), key * WORDS);
      this.#lengths[key] = length + 1;
      this.#fields[key] = field;
      this.#count += 1;
    }
    // What comes first is mostly what comes often.
    const next = this.#next[before] as number;
    if (next === NO_KEY) this.#next[before] = key;
    else if (next !== key) this.#otherNext[before] = key;
    return key;
  }
}

function littleEndian(bytes: Uint8Array): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: WORDS }, (_, i) => view.getInt32(i * 4, true));
}
