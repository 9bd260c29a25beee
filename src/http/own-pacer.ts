import type { Clock } from './clock.js';
import {
  countGranted,
  noteExhausted,
  noteRefusal,
  noteSuccesses,
  openPace,
  waitMsOf,
  type Pace,
} from './pace.js';
import { tellPause, type Pacer, type PacerOptions } from './pacer.js';
import type { RateLimit } from './send.js';

/** The pace of a process that shares its limits with nobody: all is known at once. */
export class OwnPacer implements Pacer {
  readonly #options: PacerOptions;
  readonly #clock: Clock;
  #pace: Pace;
  #timer: AbortController | undefined;

  constructor(options: PacerOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#pace = openPace(options.statedLimit, this.#clock.now());
  }

  get requestsPerMinute(): number | undefined {
    return this.#pace.requestsPerMinute;
  }

  get pausedMs(): number {
    return this.#pace.pausedUntil - this.#clock.now();
  }

  isOpen(): boolean {
    return waitMsOf(this.#pace, this.#clock.now()) <= 0;
  }

  take(): number {
    const now = this.#clock.now();
    this.#pace = countGranted(this.#pace, 1, now);
    return now;
  }

  ask(): void {
    if (this.#timer !== undefined) return;
    const timer = new AbortController();
    this.#timer = timer;
    const go = (): void => {
      if (this.#timer !== timer) return;
      this.#timer = undefined;
      this.#options.onTurns();
    };
    const waitMs = Math.max(0, waitMsOf(this.#pace, this.#clock.now()));
    // Timers count whole milliseconds; one that goes off early would only be set again.
    this.#clock.sleep(Math.ceil(waitMs), timer.signal).then(go, go);
  }

  leave(): void {
    const timer = this.#timer;
    this.#timer = undefined;
    timer?.abort();
  }

  succeeded(): void {
    // Only those who share a pace need to know how many there were.
    if (this.#pace.requestsPerMinute === undefined && this.#pace.pauses === 0) return;
    this.#pace = noteSuccesses(this.#pace, 1);
  }

  throttled(limit: RateLimit, grantedAt: number | undefined): void {
    const now = this.#clock.now();
    this.#change(noteRefusal(this.#pace, { limit, grantedAt, chance: this.#clock.random() }, now), now);
  }

  exhausted(ms: number): void {
    const now = this.#clock.now();
    this.#change(noteExhausted(this.#pace, ms, now), now);
  }

  #change(pace: Pace, now: number): void {
    const before = this.#pace.pausedUntil;
    this.#pace = pace;
    tellPause(this.#options, before, pace.pausedUntil, now);
  }
}
