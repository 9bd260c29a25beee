import { ResponseError } from '../errors.js';
import type { SharedState } from '../io/shared-state.js';
import { clockOf, type Clock, type ClockOptions } from './clock.js';
import type { Lane, RateLimit } from './send.js';

/** Requests of one lane under way at once, at most and to begin with. */
const MAX_CONCURRENCY = 32;
/**
 * Writes under way at once to begin with, one more for each round of answers: a server's limit is known by its first
 * refusal, and all that is under way then is refused too. Reads may last, and their limits are higher.
 */
const FIRST_WRITES = 4;
/** Of what a server says it allows, this much is used: its window and ours never start together. */
const SHARE_OF_LIMIT = 0.95;
/** Requests that may go at once after a rest, as time at the full rate. */
const BURST_MS = 250;
/** What the rate falls to when a server says "not so fast" without saying how fast. */
const SLOWER = 0.8;
/** Growth of such a rate per successful request, in requests per minute: 30 % in a minute, so about one refusal. */
const RATE_GROWTH = 0.3;
/**
 * No less than this of the best pace so far: where the refusals have other reasons than the pace, going slower would
 * change nothing about them but make a night's work one of weeks.
 */
const LEAST_OF_PACE = 0.1;
/** What a stated limit is left by when it does not hold, since others use it too; and how fast it is come back to. */
const SLOWER_THAN_STATED = 0.9;
const STATED_GROWTH = 1;
/** No less than this of it, whatever is refused: some servers say "not so fast" for reasons of their own. */
const LEAST_OF_STATED = 0.25;
const MIN_REQUESTS_PER_MINUTE = 30;
/** Of fewer requests the pace is chance: a first one turned away would mean one a second for an hour. */
const MIN_PACE_REQUESTS = 30;
/** After this long without a request the pace is measured anew. */
const REST_MS = 10_000;
const BASE_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
/** A server that asks for a longer pause gets its answer passed on instead. */
const MAX_RETRY_AFTER_MS = 300_000;
/** Retries a host gets before it has answered anything, and what each success adds. */
const FIRST_RETRIES = 100;
const RETRIES_PER_SUCCESS = 0.5;
const MAX_RETRIES = 1000;
/** A pause of this length is worth a word to whoever is watching. */
const NOTABLE_PAUSE_MS = 2000;

/** Whether a pause that a server asks for is short enough to wait for. */
export function isWorthWaiting(floorMs: number | undefined, maxWaitMs = MAX_RETRY_AFTER_MS): boolean {
  return floorMs === undefined || floorMs <= maxWaitMs;
}

/** A pause that a server asked for. */
export interface HostPause {
  /** Such as `https://ghcr.io`. */
  readonly origin: string;
  readonly ms: number;
}

/** Options of {@link HostLimiter} and {@link HostLimits}. */
export interface HostLimitOptions extends ClockOptions {
  /** Requests per minute that a host is known to allow, such as 2000 for `https://ghcr.io`. */
  readonly statedLimit?: ((origin: string) => number | undefined) | undefined;
  /** @defaultValue 32 */
  readonly maxConcurrency?: number | undefined;
  /**
   * The longest pause that a request waits for; where a server asks for more, requests fail with `RATE_LIMITED` until it is
   * over. For those who have somebody waiting for them. @defaultValue five minutes, and requests wait for each other
   */
  readonly maxWaitMs?: number | undefined;
  /** State that several processes share. */
  readonly shared?: ((origin: string, identity: string | undefined) => SharedState | undefined) | undefined;
  /** Told of every pause of more than two seconds. */
  readonly onPause?: ((pause: HostPause) => void) | undefined;
}

/** Who has waited longest for others goes first. */
const LANES: readonly Lane[] = ['token', 'write', 'read'];

/** The right to have one request under way. */
export interface Slot {
  readonly startedAt: number;
  /** Gives the right back; a second time does nothing. */
  release(): void;
}

interface Waiter {
  readonly grant: (slot: Slot) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * One server's patience with one credential: how many requests at once (additive increase, multiplicative decrease), how
 * many a minute (token bucket), not before when (one back-off clock for all), and how many retries are left.
 */
export class HostLimiter {
  readonly #origin: string;
  readonly #clock: Clock;
  readonly #options: HostLimitOptions;
  readonly #maxConcurrency: number;
  readonly #lanes: Readonly<Record<Lane, { active: number; readonly waiting: Waiter[] }>> = {
    read: { active: 0, waiting: [] },
    write: { active: 0, waiting: [] },
    token: { active: 0, waiting: [] },
  };
  /** Since when requests go without a rest, how many they were, and when the last of them went. */
  readonly #run = { startedAt: -Infinity, granted: 0, lastAt: -Infinity };
  #concurrency: number;
  #writes = FIRST_WRITES;
  #requestsPerMinute: number | undefined;
  #bestPace = 0;
  #statedLimit: number | undefined;
  #statedAt = 0;
  /** When the bucket would be full again, in the form of the generic cell rate algorithm. */
  #arrival = 0;
  #pausedUntil = 0;
  #pauses = 0;
  #lastDecrease = -Infinity;
  #retries = FIRST_RETRIES;
  #timer: AbortController | undefined;
  #hasAnswered = false;

  constructor(origin: string, options: HostLimitOptions = {}) {
    this.#origin = origin;
    this.#options = options;
    this.#clock = clockOf(options);
    this.#maxConcurrency = options.maxConcurrency ?? MAX_CONCURRENCY;
    this.#concurrency = this.#maxConcurrency;
    this.#state(options.statedLimit?.(origin));
  }

  /** Whether the host has answered at all. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** What the limiter has come to: for reports. */
  get state(): { readonly concurrency: number; readonly requestsPerMinute: number | undefined } {
    return { concurrency: Math.floor(this.#concurrency), requestsPerMinute: this.#requestsPerMinute };
  }

  /**
   * Waits for the right to send a request, in the order of asking.
   * @throws ResponseError `RATE_LIMITED` where the server's pause is longer than anybody wants to wait
   */
  async acquire(lane: Lane, signal?: AbortSignal): Promise<Slot> {
    signal?.throwIfAborted();
    this.#checkPatience();
    const { waiting } = this.#lanes[lane];
    if (waiting.length === 0 && this.#hasRoom(lane) && this.#waitMs() <= 0) return this.#grant(lane);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        const place = waiting.indexOf(waiter);
        if (place !== -1) waiting.splice(place, 1);
        this.#stopTimerIfIdle();
        reject(signal?.reason as Error);
      };
      const waiter: Waiter = {
        signal,
        grant: (slot) => {
          signal?.removeEventListener('abort', leave);
          resolve(slot);
        },
      };
      waiting.push(waiter);
      signal?.addEventListener('abort', leave, { once: true });
      this.#pump();
    });
  }

  /** Notes an answer that was no refusal. */
  succeeded(): void {
    this.#hasAnswered = true;
    this.#pauses = 0;
    this.#concurrency = Math.min(this.#maxConcurrency, this.#concurrency + 1 / this.#concurrency);
    this.#writes = Math.min(this.#maxConcurrency, this.#writes + 1 / this.#writes);
    this.#retries = Math.min(MAX_RETRIES, this.#retries + RETRIES_PER_SUCCESS);
    if (this.#requestsPerMinute === undefined) return;
    this.#requestsPerMinute =
      this.#statedLimit === undefined
        ? this.#requestsPerMinute + RATE_GROWTH
        : Math.min(this.#statedLimit * SHARE_OF_LIMIT, this.#requestsPerMinute + STATED_GROWTH);
  }

  /** Notes that a server had no strength left: fewer requests at once from now on. */
  overloaded(slot: Slot): void {
    this.#decrease(slot);
  }

  /** Notes that a server said "not so fast" to a request, and holds all others of the host back too. */
  throttled(slot: Slot, limit: RateLimit): void {
    this.#hasAnswered = true;
    this.#state(limit.requestsPerMinute);
    // What is too long to wait for ends the request; nobody else shall wait for it either.
    const floorMs = isWorthWaiting(limit.retryAfterMs) ? (limit.retryAfterMs ?? 0) : 0;
    let backOffMs = 0;
    if (this.#decrease(slot, 'rate')) {
      // Who names a time is believed, but not for ever: with `Retry-After: 0` all attempts would be over in a moment.
      if (limit.retryAfterMs === undefined || this.#pauses > 0) {
        backOffMs = this.#clock.random() * Math.min(MAX_PAUSE_MS, BASE_PAUSE_MS * 2 ** this.#pauses);
      }
      this.#pauses += 1;
    }
    this.#pause(floorMs + backOffMs);
    this.#spendBurst();
  }

  /** Holds all requests back for a while: a server has said that its limit is used up. */
  exhausted(ms: number): void {
    if (ms <= MAX_RETRY_AFTER_MS) this.#pause(ms);
  }

  /** Takes one retry out of the host's budget; `false` where none is left. */
  takeRetry(): boolean {
    if (this.#retries < 1) return false;
    this.#retries -= 1;
    return true;
  }

  #state(limit: number | undefined): void {
    if (limit === undefined || limit === this.#statedLimit) return;
    this.#statedLimit = limit;
    this.#statedAt = this.#clock.now();
    this.#requestsPerMinute = limit * SHARE_OF_LIMIT;
  }

  /** Once for all requests that were under way together: they all met the same crowd. */
  #decrease(slot: Slot, what?: 'rate'): boolean {
    if (slot.startedAt < this.#lastDecrease) return false;
    const now = this.#clock.now();
    this.#lastDecrease = now;
    this.#concurrency = Math.max(1, this.#concurrency / 2);
    if (what !== 'rate') return true;
    if (this.#statedLimit === undefined) {
      const pace = this.#pace(now);
      this.#bestPace = Math.max(this.#bestPace, pace ?? 0);
      const current = this.#requestsPerMinute ?? pace;
      if (current !== undefined) {
        const least = Math.max(MIN_REQUESTS_PER_MINUTE, this.#bestPace * LEAST_OF_PACE);
        this.#requestsPerMinute = Math.max(least, current * SLOWER);
      }
    } else if (slot.startedAt > this.#statedAt && this.#requestsPerMinute !== undefined) {
      const least = this.#statedLimit * LEAST_OF_STATED;
      this.#requestsPerMinute = Math.max(least, this.#requestsPerMinute * SLOWER_THAN_STATED);
    }
    return true;
  }

  /** Requests per minute since the last rest, once they are enough to tell. */
  #pace(now: number): number | undefined {
    if (this.#run.granted < MIN_PACE_REQUESTS) return undefined;
    return (this.#run.granted * 60_000) / Math.max(now - this.#run.startedAt, 1000);
  }

  /** The server's bucket is full to the brim: what comes after the pause comes one by one. */
  #spendBurst(): void {
    this.#arrival = Math.max(this.#arrival, this.#pausedUntil + BURST_MS);
  }

  #pause(ms: number): void {
    const until = this.#clock.now() + ms;
    if (until <= this.#pausedUntil) return;
    const isNews = until - this.#pausedUntil >= NOTABLE_PAUSE_MS;
    this.#pausedUntil = until;
    if (isNews && ms >= NOTABLE_PAUSE_MS) this.#options.onPause?.({ origin: this.#origin, ms });
  }

  #hasRoom(lane: Lane): boolean {
    const limit = lane === 'write' ? Math.min(this.#concurrency, this.#writes) : this.#concurrency;
    return this.#lanes[lane].active < Math.max(1, Math.floor(limit));
  }

  /** Until the clock and the bucket allow the next request. */
  #waitMs(): number {
    const now = this.#clock.now();
    const paused = this.#pausedUntil - now;
    if (this.#requestsPerMinute === undefined) return paused;
    return Math.max(paused, this.#arrival - now - BURST_MS);
  }

  #grant(lane: Lane): Slot {
    const startedAt = this.#clock.now();
    const line = this.#lanes[lane];
    line.active += 1;
    this.#count(startedAt);
    if (this.#requestsPerMinute !== undefined) {
      this.#arrival = Math.max(this.#arrival, startedAt) + 60_000 / this.#requestsPerMinute;
    }
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      line.active -= 1;
      if (line.waiting.length > 0) this.#pump();
    };
    return { startedAt, release };
  }

  #count(now: number): void {
    const run = this.#run;
    // What a server objects to is the pace of now, not the average over hours of rest.
    if (now - run.lastAt > REST_MS) Object.assign(run, { startedAt: now, granted: 0 });
    run.granted += 1;
    run.lastAt = now;
  }

  #checkPatience(): void {
    const { maxWaitMs } = this.#options;
    const retryAfterMs = this.#pausedUntil - this.#clock.now();
    if (maxWaitMs === undefined || retryAfterMs <= maxWaitMs) return;
    const message = `${this.#origin} asks for a pause of ${String(Math.ceil(retryAfterMs / 1000))} s`;
    const answer = { method: 'GET', url: this.#origin, status: 429, retryAfterMs };
    throw new ResponseError('RATE_LIMITED', message, answer);
  }

  #pump(): void {
    for (const lane of LANES) {
      const { waiting } = this.#lanes[lane];
      while (waiting.length > 0 && this.#hasRoom(lane)) {
        const waitMs = this.#waitMs();
        if (waitMs > 0) {
          this.#pumpAfter(waitMs);
          return;
        }
        const waiter = waiting.shift();
        waiter?.grant(this.#grant(lane));
      }
    }
  }

  #pumpAfter(ms: number): void {
    if (this.#timer !== undefined) return;
    const timer = new AbortController();
    this.#timer = timer;
    const go = (): void => {
      if (this.#timer !== timer) return;
      this.#timer = undefined;
      this.#pump();
    };
    // Timers count whole milliseconds; one that goes off early would only be set again.
    this.#clock.sleep(Math.ceil(ms), timer.signal).then(go, go);
  }

  /** A timer that nobody waits for would keep the process alive through a pause of minutes. */
  #stopTimerIfIdle(): void {
    if (LANES.some((lane) => this.#lanes[lane].waiting.length > 0)) return;
    const timer = this.#timer;
    this.#timer = undefined;
    timer?.abort();
  }
}
