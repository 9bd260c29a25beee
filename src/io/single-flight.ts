interface Flight<T> {
  readonly promise: Promise<T>;
  readonly signal: AbortSignal | undefined;
}

/**
 * Joins calls for one key that run at the same time into one; its result or failure goes to all of them. Only an
 * abort is each caller's own: whoever waits for another call may leave early, and goes on if that one is given up.
 */
export class SingleFlight<T> {
  readonly #underWay = new Map<string, Flight<T>>();

  /** Runs `work` unless a call for `key` is under way, then waits for that one. */
  async do(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (;;) {
      signal?.throwIfAborted();
      const running = this.#underWay.get(key);
      if (running === undefined) break;
      try {
        return await untilAborted(running.promise, signal);
      } catch (error) {
        if (signal?.aborted === true || running.signal?.aborted !== true) throw error;
      }
    }
    const promise = work().finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, { promise, signal });
    return promise;
  }
}

/** Waits for a promise as long as the signal does not abort; then rejects with its reason. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let leave: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    leave = () => {
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', leave, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (leave !== undefined) signal.removeEventListener('abort', leave);
  }
}
