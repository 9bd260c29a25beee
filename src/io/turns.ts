import { untilAborted } from './single-flight.js';

interface Queue {
  /** Ends when all work that was asked for so far has ended. */
  end: Promise<void>;
  /** Calls that wait or work. */
  users: number;
}

/** Lets one piece of work for a key run at a time, in the order of asking; work for different keys runs side by side. */
export class Turns {
  readonly #queues = new Map<string, Queue>();

  /** Runs `work` when all earlier work for `key` has ended, however it ended. Who waits may leave early. */
  async run<T>(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const queue = this.#queues.get(key) ?? { end: Promise.resolve(), users: 0 };
    this.#queues.set(key, queue);
    queue.users += 1;
    const before = queue.end;
    let finish: (() => void) | undefined;
    const own = new Promise<void>((resolve) => {
      finish = resolve;
    });
    // Whoever leaves the queue early does not let the next one in before its turn.
    queue.end = before.then(() => own);
    try {
      await untilAborted(before, signal);
      return await work();
    } finally {
      finish?.();
      queue.users -= 1;
      if (queue.users === 0) this.#queues.delete(key);
    }
  }
}
