import { ResponseError } from '../../errors.js';
import type { Ledger } from '../../artifact/ledger.js';
import type { FillerClock } from './filler-options.js';

const FIRST_PAUSE_MS = 5_000;
const MAX_PAUSE_MS = 10 * 60_000;
/** Checkpoints of a run that lives may lie so far apart; one that was killed leaves its marker for ever. */
const MAX_WAIT_FOR_RUN_MS = 30 * 60_000;
const MAX_POLL_MS = 60_000;

interface Pause {
  readonly untilMs: number;
  readonly failures: number;
}

interface OtherRun {
  readonly marker: string;
  readonly id: string;
  readonly sinceMs: number;
}

/** A time in which a run of ours failed, and may have left its marker. */
interface FailedRun {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Which subdirs are left alone, and for how long: after failures, and while others are at work there. */
export class SubdirPauses {
  readonly #clock: FillerClock;
  readonly #pauses = new Map<string, Pause>();
  readonly #others = new Map<string, OtherRun>();
  readonly #ownFailed = new Map<string, FailedRun>();

  constructor(clock: FillerClock) {
    this.#clock = clock;
  }

  /** When a subdir may be worked on again, in milliseconds of the clock. */
  untilMs(subdir: string): number {
    return this.#pauses.get(subdir)?.untilMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Whether the last run of a subdir failed: then it is tried alone, so that it holds up no other. */
  hasFailed(subdir: string): boolean {
    return (this.#pauses.get(subdir)?.failures ?? 0) > 0;
  }

  /** Notes that a run went well. */
  succeed(subdir: string): void {
    this.#pauses.delete(subdir);
    this.#others.delete(subdir);
    this.#ownFailed.delete(subdir);
  }

  /**
   * Notes that a run failed. Pauses double, up to ten minutes, by chance somewhat shorter: two gateways that meet do not
   * meet again.
   * @returns how long the subdir is left alone, in milliseconds
   */
  fail(subdir: string, error: unknown, run: FailedRun): number {
    const failures = (this.#pauses.get(subdir)?.failures ?? 0) + 1;
    const full = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 20), MAX_PAUSE_MS);
    const pauseMs = Math.max(full * (1 - this.#clock.random() / 2), askedPauseMs(error));
    this.#pauses.set(subdir, { failures, untilMs: this.#clock.now() + pauseMs });
    this.#ownFailed.set(subdir, run);
    return pauseMs;
  }

  /** Tells whether a ledger's marker was left by a run of ours that failed. */
  isOwn(subdir: string, running: NonNullable<Ledger['running']>): boolean {
    const own = this.#ownFailed.get(subdir);
    const started = Date.parse(running.started);
    return own !== undefined && own.fromMs <= started && started <= own.toMs;
  }

  /**
   * Has a subdir wait for somebody else's run. One that publishes nothing for half an hour is taken for killed.
   * @returns whether to wait
   */
  waitFor(subdir: string, { id, publishing }: NonNullable<Ledger['running']>): boolean {
    const now = this.#clock.now();
    const known = this.#others.get(subdir);
    const marker = `${id} ${publishing ?? ''}`;
    // Runs that follow each other are waited for no longer than one, or we might wait for ever.
    const isAlive = known === undefined || (known.id === id && known.marker !== marker);
    const sinceMs = isAlive ? now : known.sinceMs;
    this.#others.set(subdir, { id, marker, sinceMs });
    const waitedMs = now - sinceMs;
    if (waitedMs >= MAX_WAIT_FOR_RUN_MS) return false;
    const pollMs = Math.min(Math.max(FIRST_PAUSE_MS, waitedMs / 2), MAX_POLL_MS);
    const failures = this.#pauses.get(subdir)?.failures ?? 0;
    this.#pauses.set(subdir, { failures, untilMs: now + pollMs });
    return true;
  }

  /** Notes that nobody else is at work in a subdir. */
  isAlone(subdir: string): void {
    this.#others.delete(subdir);
  }
}

/** What the server asked for, but no more than our own longest pause. */
function askedPauseMs(error: unknown): number {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if (cause instanceof ResponseError && cause.retryAfterMs !== undefined)
      return Math.min(cause.retryAfterMs, MAX_PAUSE_MS);
  return 0;
}
