import { untilAborted } from './single-flight.js';

/** Somebody who waits for room. */
interface Waiting {
  readonly bytes: number;
  readonly go: () => void;
}

/** Options of {@link ByteBudget.take}. */
export interface TakeOptions {
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Room for so many bytes, shared by all who ask for some of it first. Whoever comes first is served first, so that
 * something large is not overtaken for ever by what is small. Whoever needs several things at once has to ask for them
 * in one call: two that each hold a part and wait for the rest would wait for ever.
 */
export class ByteBudget {
  /** In bytes. */
  readonly totalBytes: number;
  #free: number;
  readonly #queue: Waiting[] = [];

  /** @param totalBytes `Infinity` for no limit; without any room at all one goes after the other */
  constructor(totalBytes: number) {
    this.totalBytes = Math.max(1, totalBytes);
    this.#free = this.totalBytes;
  }

  /** Bytes that nobody has taken. */
  get freeBytes(): number {
    return this.#free;
  }

  /**
   * Waits for room: `using room = await budget.take(5_000_000)`. What is larger than the whole waits until it is alone.
   * @returns disposing gives the room back, once
   * @throws what the signal aborts with
   */
  async take(bytes: number, { signal }: TakeOptions = {}): Promise<Disposable> {
    signal?.throwIfAborted();
    const taken = Math.min(bytes, this.totalBytes);
    // Without a limit there is nothing to count: infinity less infinity is no number.
    if (this.totalBytes === Infinity || taken === 0) return { [Symbol.dispose]: () => undefined };
    if (this.#queue.length > 0 || taken > this.#free) await this.#wait(taken, signal);
    else this.#free -= taken;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#free += taken;
        this.#serve();
      },
    };
  }

  async #wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    let waiting: Waiting | undefined;
    const turn = new Promise<void>((go) => {
      waiting = { bytes, go };
      this.#queue.push(waiting);
    });
    try {
      await untilAborted(turn, signal);
    } catch (error) {
      const place = waiting === undefined ? -1 : this.#queue.indexOf(waiting);
      if (place >= 0) this.#queue.splice(place, 1);
      // Its turn came at the very moment it gave up.
      else this.#free += bytes;
      // Those behind it may need less.
      this.#serve();
      throw error;
    }
  }

  #serve(): void {
    for (let next = this.#queue[0]; next !== undefined && next.bytes <= this.#free; next = this.#queue[0]) {
      this.#queue.shift();
      this.#free -= next.bytes;
      next.go();
    }
  }
}
