import { randomBytes } from 'node:crypto';
import { FerryError } from '../../errors.js';
import { NumberColumn } from './columns.js';

const CHUNK_BITS = 22;
const CHUNK_BYTES = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_BYTES - 1;
/** As many as a 32-bit place can name. */
const MAX_CHUNKS = 2 ** (32 - CHUNK_BITS);
/** A power of two; grows fourfold, so that few texts are placed again. */
const FIRST_SLOTS = 4096;

/**
 * Texts numbered in the order they first came, each kept once as UTF-8: an open-addressing hash table over bytes in
 * chunks, which a million file names of 40 bytes fill with 60 MB and not one object.
 */
export class TextIndex {
  readonly #chunks: Buffer[] = [];
  #used = CHUNK_BYTES;
  // Ids plus one, so that 0 is an empty slot.
  #slots = new Uint32Array(FIRST_SLOTS);
  readonly #places = new NumberColumn((length) => new Uint32Array(length));
  readonly #lengths = new NumberColumn((length) => new Uint32Array(length));
  readonly #hashes = new NumberColumn((length) => new Uint32Array(length));
  #count = 0;
  // Nobody can prepare texts that all fall into one slot.
  readonly #seed = randomBytes(4).readInt32LE();

  /** How many different texts there are; their ids are the numbers below it. */
  get count(): number {
    return this.#count;
  }

  /** The id of a text, which is the old count where the text is new. */
  intern(bytes: Uint8Array, start: number, end: number): number {
    const hash = hashOf(bytes, start, end, this.#seed);
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (;;) {
      const id = (this.#slots[slot] as number) - 1;
      if (id < 0) break;
      if (this.#hashes.get(id) === hash >>> 0 && this.#isAt(id, bytes, start, end)) return id;
      slot = (slot + 1) & mask;
    }
    const id = this.#count;
    this.#count += 1;
    this.#slots[slot] = id + 1;
    this.#hashes.set(id, hash);
    this.#keep(id, bytes, start, end);
    if (this.#count * 2 > this.#slots.length) this.#grow();
    return id;
  }

  /** The id of a text, if it is there. */
  find(text: string): number | undefined {
    const bytes = Buffer.from(text, 'utf8');
    return this.findBytes(bytes, 0, bytes.length);
  }

  /** As {@link find}, by the bytes of the text. */
  findBytes(bytes: Uint8Array, start: number, end: number): number | undefined {
    const hash = hashOf(bytes, start, end, this.#seed);
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const id = (this.#slots[slot] as number) - 1;
      if (id < 0) return undefined;
      if (this.#hashes.get(id) === hash >>> 0 && this.#isAt(id, bytes, start, end)) return id;
    }
  }

  /** The id that another index has for the text of an id of this one. */
  findIn(other: TextIndex, id: number): number | undefined {
    const { chunk, start, end } = this.placeOf(id);
    return other.findBytes(chunk, start, end);
  }

  /** The text of an id. */
  text(id: number): string {
    const { chunk, start, end } = this.placeOf(id);
    return chunk.toString('utf8', start, end);
  }

  /** Where the bytes of an id's text are; not to be changed. */
  placeOf(id: number): { readonly chunk: Buffer; readonly start: number; readonly end: number } {
    const place = this.#places.get(id);
    const start = place & CHUNK_MASK;
    return { chunk: this.#chunks[place >>> CHUNK_BITS] as Buffer, start, end: start + this.#lengths.get(id) };
  }

  /** How many bytes the text of an id has. */
  lengthOf(id: number): number {
    return this.#lengths.get(id);
  }

  /** Whether an id's text is these bytes. */
  #isAt(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#lengths.get(id) !== end - start) return false;
    const place = this.#places.get(id);
    const chunk = this.#chunks[place >>> CHUNK_BITS] as Buffer;
    const shift = (place & CHUNK_MASK) - start;
    for (let at = start; at < end; at += 1) if (chunk[at + shift] !== bytes[at]) return false;
    return true;
  }

  #keep(id: number, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (this.#used + length > CHUNK_BYTES) {
      if (this.#chunks.length === MAX_CHUNKS) {
        throw new FerryError('REPODATA_INVALID', 'the names in the repodata have more than 4 GiB');
      }
      this.#chunks.push(Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, length)));
      this.#used = 0;
    }
    const last = this.#chunks.length - 1;
    const chunk = this.#chunks[last] as Buffer;
    const shift = this.#used - start;
    for (let at = start; at < end; at += 1) chunk[at + shift] = bytes[at] as number;
    this.#places.set(id, last * CHUNK_BYTES + this.#used);
    this.#lengths.set(id, length);
    this.#used += length;
  }

  #grow(): void {
    const slots = new Uint32Array(this.#slots.length * 4);
    const mask = slots.length - 1;
    for (let id = 0; id < this.#count; id += 1) {
      let slot = this.#hashes.get(id) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = id + 1;
    }
    this.#slots = slots;
  }
}

/** murmur3 with a seed. */
function hashOf(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = seed ^ (end - start);
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    hash = mixWord(hash, word);
  }
  let rest = 0;
  for (; at < end; at += 1) rest = (rest << 8) | (bytes[at] as number);
  hash = mixWord(hash, rest);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function mixWord(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const mixed = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}
