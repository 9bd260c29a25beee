import { ResponseError } from '../errors.js';
import type { SharedState } from '../io/shared-state.js';
import { clockOf, type Clock, type ClockOptions } from './clock.js';
import { OwnPacer } from './own-pacer.js';
import type { HostPause, Pacer } from './pacer.js';
import type { Lane, RateLimit } from './send.js';
import { SharedPacer, type SharedRateNotice } from './shared-pacer.js';

export { isWorthWaiting } from './pace.js';
export type { HostPause } from './pacer.js';
export type { SharedRateNotice } from './shared-pacer.js';

/** Requests of one lane under way at once, at most and to begin with. */
const MAX_CONCURRENCY = 32;
/**
 * Writes under way at once to begin with, one more for each round of answers: a server's limit is known by its first
 * refusal, and all that is under way then is refused too. Reads may last, and their limits are higher.
 */
const FIRST_WRITES = 4;
/** Retries a host gets before it has answered anything, and what each success adds. */
const FIRST_RETRIES = 100;
const RETRIES_PER_SUCCESS = 0.5;
const MAX_RETRIES = 1000;

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
  /** Told of every pause of more than two seconds. */
  readonly onPause?: ((pause: HostPause) => void) | undefined;
  /**
   * The state that the pace at a host is kept in, where several processes are to keep to one limit together: another one
   * for each origin and identity (see `HttpRequest.identity`). All of them have to be given the same. While it does not
   * answer, requests to the host wait.
   * @defaultValue the pace is that of this process alone
   */
  readonly shared?: ((origin: string, identity: string | undefined) => SharedState | undefined) | undefined;
  /** Told when a shared state does not answer, and when it does again; once each, for every host and credential. */
  readonly onShared?: ((notice: SharedRateNotice) => void) | undefined;
}

/** Who has waited longest for others goes first. */
const LANES: readonly Lane[] = ['token', 'write', 'read'];

/** The right to have one request under way. */
export interface Slot {
  readonly startedAt: number;
  /** When its turn was granted, by the clock of the pace: that of a shared state, where there is one. */
  readonly grantedAt: number;
  /** Gives the right back; a second time does nothing. */
  release(): void;
}

interface Waiter {
  readonly grant: (slot: Slot) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * One server's patience with one credential: how many requests at once (additive increase, multiplicative decrease), how
 * many a minute and not before when (see `pace.ts`), and how many retries are left.
 */
export class HostLimiter {
  readonly #origin: string;
  readonly #clock: Clock;
  readonly #maxWaitMs: number | undefined;
  readonly #maxConcurrency: number;
  readonly #pacer: Pacer;
  readonly #lanes: Readonly<Record<Lane, { active: number; readonly waiting: Waiter[] }>> = {
    read: { active: 0, waiting: [] },
    write: { active: 0, waiting: [] },
    token: { active: 0, waiting: [] },
  };
  #concurrency: number;
  #writes = FIRST_WRITES;
  #lastDecrease = -Infinity;
  #retries = FIRST_RETRIES;
  #hasAnswered = false;

  constructor(origin: string, options: HostLimitOptions = {}, identity?: string) {
    this.#origin = origin;
    this.#maxWaitMs = options.maxWaitMs;
    this.#clock = clockOf(options);
    this.#maxConcurrency = options.maxConcurrency ?? MAX_CONCURRENCY;
    this.#concurrency = this.#maxConcurrency;
    const pacerOptions = {
      origin,
      clock: this.#clock,
      statedLimit: options.statedLimit?.(origin),
      onPause: options.onPause,
      onTurns: () => {
        this.#pump();
      },
    };
    const state = options.shared?.(origin, identity);
    this.#pacer =
      state === undefined
        ? new OwnPacer(pacerOptions)
        : new SharedPacer({
            ...pacerOptions,
            state,
            onShared: options.onShared,
            wanted: () => this.#wanted(),
          });
  }

  /** Whether the host has answered at all. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** What the limiter has come to: for reports. */
  get state(): { readonly concurrency: number; readonly requestsPerMinute: number | undefined } {
    return { concurrency: Math.floor(this.#concurrency), requestsPerMinute: this.#pacer.requestsPerMinute };
  }

  /**
   * Waits for the right to send a request, in the order of asking.
   * @throws ResponseError `RATE_LIMITED` where the server's pause is longer than anybody wants to wait
   */
  async acquire(lane: Lane, signal?: AbortSignal): Promise<Slot> {
    signal?.throwIfAborted();
    this.#checkPatience();
    const { waiting } = this.#lanes[lane];
    if (waiting.length === 0 && this.#hasRoom(lane) && this.#pacer.isOpen()) return this.#grant(lane);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        const place = waiting.indexOf(waiter);
        if (place !== -1) waiting.splice(place, 1);
        if (!this.#isAwaited()) this.#pacer.leave();
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
    this.#concurrency = Math.min(this.#maxConcurrency, this.#concurrency + 1 / this.#concurrency);
    this.#writes = Math.min(this.#maxConcurrency, this.#writes + 1 / this.#writes);
    this.#retries = Math.min(MAX_RETRIES, this.#retries + RETRIES_PER_SUCCESS);
    this.#pacer.succeeded();
  }

  /** Notes that a server had no strength left: fewer requests at once from now on. */
  overloaded(slot: Slot): void {
    this.#decrease(slot);
  }

  /** Notes that a server said "not so fast" to a request, and holds all others of the host back too. */
  throttled(slot: Slot, limit: RateLimit): void {
    this.#hasAnswered = true;
    this.#pacer.throttled(limit, this.#decrease(slot) ? slot.grantedAt : undefined);
  }

  /** Holds all requests back for a while: a server has said that its limit is used up. */
  exhausted(ms: number): void {
    this.#pacer.exhausted(ms);
  }

  /** Takes one retry out of the host's budget; `false` where none is left. */
  takeRetry(): boolean {
    if (this.#retries < 1) return false;
    this.#retries -= 1;
    return true;
  }

  /** Once for all requests that were under way together: they all met the same crowd. */
  #decrease(slot: Slot): boolean {
    if (slot.startedAt < this.#lastDecrease) return false;
    this.#lastDecrease = this.#clock.now();
    this.#concurrency = Math.max(1, this.#concurrency / 2);
    return true;
  }

  #roomOf(lane: Lane): number {
    const limit = lane === 'write' ? Math.min(this.#concurrency, this.#writes) : this.#concurrency;
    return Math.max(1, Math.floor(limit)) - this.#lanes[lane].active;
  }

  #hasRoom(lane: Lane): boolean {
    return this.#roomOf(lane) > 0;
  }

  #isAwaited(): boolean {
    return LANES.some((lane) => this.#lanes[lane].waiting.length > 0);
  }

  /** How many of those who wait only lack a turn. */
  #wanted(): number {
    const counts = LANES.map((lane) => Math.min(this.#lanes[lane].waiting.length, this.#roomOf(lane)));
    return counts.reduce((sum, count) => sum + Math.max(0, count), 0);
  }

  #grant(lane: Lane): Slot {
    const startedAt = this.#clock.now();
    const grantedAt = this.#pacer.take();
    const line = this.#lanes[lane];
    line.active += 1;
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      line.active -= 1;
      if (line.waiting.length > 0) this.#pump();
    };
    return { startedAt, grantedAt, release };
  }

  #checkPatience(): void {
    if (this.#maxWaitMs === undefined) return;
    const retryAfterMs = this.#pacer.pausedMs;
    if (retryAfterMs <= this.#maxWaitMs) return;
    const message = `${this.#origin} asks for a pause of ${String(Math.ceil(retryAfterMs / 1000))} s`;
    const answer = { method: 'GET', url: this.#origin, status: 429, retryAfterMs };
    throw new ResponseError('RATE_LIMITED', message, answer);
  }

  #pump(): void {
    for (const lane of LANES) {
      const { waiting } = this.#lanes[lane];
      while (waiting.length > 0 && this.#hasRoom(lane)) {
        if (!this.#pacer.isOpen()) {
          this.#pacer.ask();
          return;
        }
        const waiter = waiting.shift();
        waiter?.grant(this.#grant(lane));
      }
    }
  }
}
