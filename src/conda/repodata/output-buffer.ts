/** Size of the pieces that are written. */
const OUTPUT_BYTES = 256 * 1024;

/** Joins many small pieces into few large ones. */
export class OutputBuffer {
  #bytes = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  #used = 0;
  #full: Uint8Array[] = [];

  /** Whether there is something worth taking. */
  get isFull(): boolean {
    return this.#full.length > 0;
  }

  /** Adds bytes, which are copied. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength;) {
      const piece =
        at === 0 && bytes.byteLength <= OUTPUT_BYTES - this.#used
          ? bytes
          : bytes.subarray(at, at + OUTPUT_BYTES - this.#used);
      this.#bytes.set(piece, this.#used);
      this.#used += piece.byteLength;
      at += piece.byteLength;
      if (this.#used < OUTPUT_BYTES) continue;
      this.#full.push(this.#bytes);
      this.#bytes = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
      this.#used = 0;
    }
  }

  /** Gives the large pieces that are full. */
  *take(): Generator<Uint8Array, void> {
    const full = this.#full;
    this.#full = [];
    yield* full;
  }

  /** Gives what is left. */
  *finish(): Generator<Uint8Array, void> {
    yield* this.take();
    if (this.#used > 0) yield this.#bytes.subarray(0, this.#used);
    this.#used = 0;
  }
}
