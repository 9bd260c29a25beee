import { FerryError } from '../../errors.js';
import { untilAborted } from '../../io/single-flight.js';

interface Flight<T> {
  readonly promise: Promise<T>;
  readonly control: AbortController;
  waiters: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Work that many wait for and nobody owns: those who ask for the same key at the same time share one run, and each may leave
 * when it likes. What all have left goes on for a while, so that whoever asks again finds it done. To be disposed of, which
 * gives up what is under way and waits for its end.
 */
export class Flights<T> implements AsyncDisposable {
  readonly #lingerMs: number;
  readonly #underWay = new Map<string, Flight<T>>();
  /** Also those that were given up and have not ended. */
  readonly #ends = new Map<Flight<T>, Promise<void>>();

  /** @param lingerMs how long work may go on that nobody waits for, in milliseconds */
  constructor(lingerMs: number) {
    this.#lingerMs = lingerMs;
  }

  /**
   * Waits for the work for `key`, which is begun if it is not under way; `work` has to heed the signal that it is given.
   * @throws what the work throws; the reason of `signal`, which ends the waiting only
   */
  async join(key: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const flight = this.#underWay.get(key) ?? this.#begin(key, work);
    flight.waiters += 1;
    clearTimeout(flight.timer);
    try {
      return await untilAborted(flight.promise, signal);
    } finally {
      flight.waiters -= 1;
      if (flight.waiters === 0 && this.#underWay.get(key) === flight) this.#linger(key, flight);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { control } of this.#ends.keys())
      control.abort(new FerryError('TIMEOUT', 'the cache was closed'));
    await Promise.all(this.#ends.values());
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const control = new AbortController();
    const flight: Flight<T> = { promise: work(control.signal), control, waiters: 0, timer: undefined };
    this.#underWay.set(key, flight);
    const ended = (): void => {
      clearTimeout(flight.timer);
      this.#ends.delete(flight);
      if (this.#underWay.get(key) === flight) this.#underWay.delete(key);
    };
    this.#ends.set(flight, flight.promise.then(ended, ended));
    return flight;
  }

  #linger(key: string, flight: Flight<T>): void {
    flight.timer = setTimeout(() => {
      // At once, so that nobody joins what is being given up.
      this.#underWay.delete(key);
      flight.control.abort(new FerryError('TIMEOUT', `nobody waited any longer for ${key}`));
    }, this.#lingerMs);
    flight.timer.unref();
  }
}
