/** How much is read and sent at once: less costs more calls, more does not help. */
export const LARGE_BYTES = 1024 * 1024;

/** For clients that are slow, and for all beyond {@link MAX_LARGE}. */
export const SMALL_BYTES = 32 * 1024;

/** So that 50, or 10,000, clients that take their time hold 32 MiB of large buffers and no more. */
export const MAX_LARGE = 32;

/** Small buffers that are kept for the next one: 8 MiB. */
const MAX_FREE_SMALL = 256;

/**
 * Buffers that are used again. Of the large ones only so many exist; whoever finds none left gets a small one.
 * A buffer goes back when nothing can write or read it any more, or else is {@link forget forgotten}.
 */
export class BufferPool {
  readonly #free: Buffer[] = [];
  readonly #freeSmall: Buffer[] = [];
  #lent = 0;

  /** How many large buffers are lent just now. */
  get lent(): number {
    return this.#lent;
  }

  /** Lends a buffer of {@link LARGE_BYTES} or, also where that is asked for, of {@link SMALL_BYTES}. */
  lend(isSmall: boolean): Buffer {
    if (isSmall || this.#lent >= MAX_LARGE)
      return this.#freeSmall.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES);
    this.#lent += 1;
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES);
  }

  giveBack(buffer: Buffer): void {
    if (buffer.byteLength !== LARGE_BYTES) {
      if (this.#freeSmall.length < MAX_FREE_SMALL) this.#freeSmall.push(buffer);
      return;
    }
    this.#lent -= 1;
    this.#free.push(buffer);
  }

  /** Counts a buffer as gone that something may still be working on. */
  forget(buffer: Buffer): void {
    if (buffer.byteLength === LARGE_BYTES) this.#lent -= 1;
  }
}
