/** Taken in at once, however large a chunk is: bit positions must fit 31 bits. */
const FILL_BYTES = 1024 * 1024;

/** Bytes from a source, looked at by bit position. Holds what was neither used nor scanned away. */
export class BitReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #bytes = new Uint8Array(64 * 1024);
  #length = 0;
  #position = 0;
  #dropped = 0;
  #ended = false;
  /** What of the last chunk was not yet taken in. */
  #rest: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The bytes at hand; only the first {@link length} count. Replaced by {@link fill}. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get length(): number {
    return this.#length;
  }

  /** Bit position in {@link bytes} of what is to be read next. Moves only by {@link advance}. */
  get position(): number {
    return this.#position;
  }

  /** Byte offset of the position in the source, for messages. */
  get offset(): number {
    return this.#dropped + (this.#position >>> 3);
  }

  /** Takes the next bytes in. Returns false at the end of the source. Bit positions stay as they are. */
  async fill(): Promise<boolean> {
    if (this.#ended) return false;
    if (this.#rest.byteLength === 0) {
      const next = await this.#source.next();
      if (next.done === true) {
        this.#ended = true;
        return false;
      }
      this.#rest = next.value;
    }
    const chunk = this.#rest.subarray(0, FILL_BYTES);
    this.#rest = this.#rest.subarray(chunk.byteLength);
    const needed = this.#length + chunk.byteLength;
    if (needed > this.#bytes.byteLength) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.byteLength));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#length);
    this.#length = needed;
    return true;
  }

  /** Takes chunks in until `bits` bits stand at the position. Returns false if the source ends before. */
  async need(bits: number): Promise<boolean> {
    while (this.#position + bits > 8 * this.#length) {
      if (!(await this.fill())) return false;
    }
    return true;
  }

  /** Moves the position. What is before it may go; bit positions from before the call are void. */
  advance(position: number): void {
    this.#position = position;
    const passed = position >>> 3;
    // Not each time, or many small blocks in one chunk would move the rest of it again and again.
    if (passed < this.#length - passed) return;
    this.#bytes.copyWithin(0, passed, this.#length);
    this.#length -= passed;
    this.#dropped += passed;
    this.#position -= 8 * passed;
  }

  /** Lets the source go, wherever it stands. */
  async close(): Promise<void> {
    if (!this.#ended) await this.#source.return?.();
  }
}
