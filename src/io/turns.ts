import { untilAborted } from './single-flight.js';

/** Lets one piece of work for a key run at a time, in the order of asking; work for different keys runs side by side. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  /** Runs `work` when all earlier work for `key` has ended, however it ended. Who waits may leave early. */
  async run<T>(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const before = this.#last.get(key) ?? Promise.resolve();
    let end: (() => void) | undefined;
    const own = new Promise<void>((resolve) => {
      end = resolve;
    });
    // Whoever leaves the queue early does not let the next one in before its turn.
    const last = before.then(() => own);
    this.#last.set(key, last);
    try {
      await untilAborted(before, signal);
      return await work();
    } finally {
      end?.();
      if (this.#last.get(key) === last) void last.then(() => this.#forget(key, last));
    }
  }

  #forget(key: string, last: Promise<void>): void {
    if (this.#last.get(key) === last) this.#last.delete(key);
  }
}
