import { SingleFlight, untilAborted } from '../../io/single-flight.js';

/** How old what is told of a store may be, and how long the store may take to tell it. */
export interface Freshness {
  /** In milliseconds. */
  readonly maxAgeMs: number;
  /** In milliseconds. */
  readonly timeLimitMs: number;
  /** In milliseconds, from any start. */
  readonly now: () => number;
}

/** How {@link HeldAnswers} holds them. */
export interface HeldAnswersOptions<T> extends Omit<Freshness, 'maxAgeMs'> {
  /** How long an answer may be given again, in milliseconds. */
  readonly maxAgeMs: (answer: T) => number;
  /** About what an answer takes, in bytes. */
  readonly bytesOf: (answer: T) => number;
  /** The least used ones make room. */
  readonly maxBytes: number;
}

interface Held<T> {
  readonly answer: T;
  readonly until: number;
  readonly bytes: number;
}

/** What an entry takes beside its answer. */
const ENTRY_BYTES = 512;

/**
 * Answers of a store, held for a while within bounds, so that a registry behind us is asked once by many who come at once or
 * again and again. Failures are not held.
 */
export class HeldAnswers<T> {
  readonly #options: HeldAnswersOptions<T>;
  readonly #held = new Map<string, Held<T>>();
  readonly #flights = new SingleFlight<T>();
  #bytes = 0;

  constructor(options: HeldAnswersOptions<T>) {
    this.#options = options;
  }

  /**
   * Gives the answer that is held, or loads it. Whoever asked first may leave: the others still get it.
   * @throws whatever `load` does; a DOMException `TimeoutError` where it takes too long, even if it does not heed its signal
   */
  async get(key: string, load: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const held = this.#held.get(key);
    if (held !== undefined && held.until > this.#options.now()) {
      // To the end of the map: the first ones go first.
      this.#held.delete(key);
      this.#held.set(key, held);
      return held.answer;
    }
    return this.#flights.do(key, async () => {
      const signal = AbortSignal.timeout(this.#options.timeLimitMs);
      const answer = await untilAborted(load(signal), signal);
      this.put(key, answer);
      return answer;
    });
  }

  /** Holds an answer that came another way. */
  put(key: string, answer: T): void {
    this.#drop(key);
    const { now, maxAgeMs, bytesOf, maxBytes } = this.#options;
    const bytes = ENTRY_BYTES + key.length + bytesOf(answer);
    if (bytes > maxBytes) return;
    this.#held.set(key, { answer, until: now() + maxAgeMs(answer), bytes });
    this.#bytes += bytes;
    for (const oldest of this.#held.keys()) {
      if (this.#bytes <= maxBytes) break;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    this.#bytes -= this.#held.get(key)?.bytes ?? 0;
    this.#held.delete(key);
  }
}
