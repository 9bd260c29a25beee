import { FerryError, isFerryError } from '../../errors.js';
import { untilAborted } from '../../io/single-flight.js';
import type { Staleness } from './served-channel.js';

/** Times of {@link Refreshed}, in milliseconds. */
export interface RefreshTimes {
  /** How long a value is given without asking. */
  readonly freshMs: number;
  /** How long those who ask wait for news before they get what was there last. */
  readonly patienceMs: number;
  /** How long those who ask wait where nothing was there before. */
  readonly firstMs: number;
  /** How long after a failure nobody asks again. */
  readonly retryMs: number;
  /** How long asking may take in all. */
  readonly limitMs: number;
}

/** What {@link Refreshed} works with. */
export interface RefreshOptions<T> extends RefreshTimes {
  /** Asks anew; `unchanged` where what was there last still holds. */
  readonly load: (last: T | undefined, signal: AbortSignal) => Promise<T | 'unchanged'>;
  /** Told what is replaced. */
  readonly onReplaced?: ((last: T) => void) | undefined;
  readonly now: () => number;
}

/** A value with how old it is. */
export interface Known<T> {
  readonly value: T;
  readonly staleness: Staleness | undefined;
}

/**
 * A value that others may change, asked for anew once in a while, by one at a time. Whoever asks goes away with what was there
 * last if news fail or take long; only where nothing was there does a failure reach them. Asking goes on when all who waited left.
 */
export class Refreshed<T> {
  readonly #options: RefreshOptions<T>;
  #last: { readonly value: T } | undefined;
  /** When the value was known to hold. */
  #checkedAt = Number.NEGATIVE_INFINITY;
  #failure: { readonly error: unknown; readonly at: number } | undefined;
  #asking: Promise<void> | undefined;
  #isClosed = false;
  readonly #closing = new AbortController();

  constructor(options: RefreshOptions<T>) {
    this.#options = options;
  }

  /** What is there, without asking. */
  get last(): T | undefined {
    return this.#last?.value;
  }

  /** Whether it is being asked for now. */
  get isAsking(): boolean {
    return this.#asking !== undefined;
  }

  /** Set while the last try to ask failed: since when nothing is known. */
  get failing(): Staleness | undefined {
    return this.#failure === undefined ? undefined : this.#staleness();
  }

  /** What is there now. @throws what asking failed with, where nothing was there before */
  async get(signal?: AbortSignal): Promise<Known<T>> {
    signal?.throwIfAborted();
    const { freshMs, patienceMs, firstMs, retryMs, now } = this.#options;
    const last = this.#last;
    if (last !== undefined && now() - this.#checkedAt < freshMs)
      return { value: last.value, staleness: undefined };
    const failedAt = this.#failure?.at ?? Number.NEGATIVE_INFINITY;
    if (now() - failedAt >= retryMs || this.#asking !== undefined) {
      this.#asking ??= this.#ask();
      await untilAborted(within(this.#asking, last === undefined ? firstMs : patienceMs), signal);
    }
    if (this.#last === undefined) throw this.#whyNothing();
    return { value: this.#last.value, staleness: this.#staleness() };
  }

  /** Ends what is asked, and forgets the value. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closing.abort(new Error('the gateway stops'));
    await this.#asking;
    const last = this.#last;
    this.#last = undefined;
    if (last !== undefined) this.#options.onReplaced?.(last.value);
  }

  #whyNothing(): Error {
    const error = this.#failure?.error;
    return error instanceof Error ? error : new FerryError('TIMEOUT', 'the channel does not answer in time');
  }

  #staleness(): Staleness | undefined {
    const { freshMs, now } = this.#options;
    const failure = this.#failure;
    if (now() - this.#checkedAt < freshMs) return undefined;
    // News that took longer to come than they are fresh are news all the same, for those who waited.
    if (failure === undefined && this.#asking === undefined) return undefined;
    const code = isFerryError(failure?.error) ? failure.error.code : 'TIMEOUT';
    return { since: new Date(this.#checkedAt), code };
  }

  async #ask(): Promise<void> {
    const { load, now, limitMs, onReplaced } = this.#options;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(limitMs)]);
    try {
      const last = this.#last;
      const startedAt = now();
      const value = await load(last?.value, signal);
      if (value !== 'unchanged') {
        if (this.#isClosed) {
          onReplaced?.(value);
          return;
        }
        this.#last = { value };
        if (last !== undefined) onReplaced?.(last.value);
      }
      this.#checkedAt = startedAt;
      this.#failure = undefined;
    } catch (error) {
      // What our own limit ends fails with that limit's reason.
      const isOver = signal.aborted && !isFerryError(error);
      const cause = { cause: error };
      const failure = isOver
        ? new FerryError('TIMEOUT', 'the channel does not answer in time', cause)
        : error;
      this.#failure = { error: failure, at: now() };
    } finally {
      this.#asking = undefined;
    }
  }
}

async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
