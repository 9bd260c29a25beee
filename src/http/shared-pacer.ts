import { FerryError } from '../errors.js';
import type { SharedState } from '../io/shared-state.js';
import { untilAborted } from '../io/single-flight.js';
import type { Clock } from './clock.js';
import { openPace, type Pace } from './pace.js';
import { tellPause, type Pacer, type PacerOptions } from './pacer.js';
import type { RateLimit } from './send.js';
import {
  BATCH_MS,
  drawTurns,
  formatPace,
  parsePace,
  withNotes,
  type Draw,
  type PaceNotes,
  type Trouble,
} from './shared-pace.js';

/** A state that has not answered by then counts as lost. */
const ANSWER_MS = 5000;
/** Pauses between attempts at a state that is lost. */
const BASE_RETRY_MS = 100;
const MAX_RETRY_MS = 4000;
/** However long a pause is, others may have heard that it is longer, or the state may have been begun anew. */
const MAX_WAIT_MS = 1000;

/** A shared state does not answer, or does again. */
export interface SharedRateNotice {
  /** Such as `https://ghcr.io`. */
  readonly origin: string;
  /** Whether requests to that host wait because of it, from now on or no longer. */
  readonly isLost: boolean;
  /** Why, where it is lost. */
  readonly error?: unknown;
}

/** Options of {@link SharedPacer}. */
export interface SharedPacerOptions extends PacerOptions {
  readonly state: SharedState;
  /** How many requests could go at once if there were turns for them. */
  readonly wanted: () => number;
  readonly onShared: ((notice: SharedRateNotice) => void) | undefined;
}

interface Drawn extends Draw {
  readonly at: number;
}

/**
 * The pace that several processes keep to together. Turns are drawn from a {@link SharedState} while somebody waits, a
 * few at a time, and used at once; what came of requests is told with the next draw, and refusals without waiting for
 * one. As long as the state does not answer, nothing goes but what has a permit, which lasts a second at most.
 */
export class SharedPacer implements Pacer {
  readonly #options: SharedPacerOptions;
  readonly #clock: Clock;
  /** The pace as last seen, and by how much its clock is ahead of ours. */
  #pace: Pace;
  #aheadMs = 0;
  /** Turns at hand, and until when, by our clock, requests may go without. */
  #turns = 0;
  #permitUntil = -Infinity;
  /** When they were granted, by the shared clock. */
  #grantedAt = -Infinity;
  /** What is still to be told. */
  #permitted = 0;
  #successes = 0;
  #troubles: readonly Trouble[] = [];
  /** Before this, by our clock, a draw would give nothing. */
  #askAt = -Infinity;
  #drawMs = 0;
  #failures = 0;
  #isDrawing = false;
  /** Ends the pause between draws that is under way, or the draw. */
  #sleeping: AbortController | undefined;
  #asking: AbortController | undefined;

  constructor(options: SharedPacerOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#pace = openPace(options.statedLimit, 0);
  }

  get requestsPerMinute(): number | undefined {
    return this.#pace.requestsPerMinute;
  }

  get pausedMs(): number {
    return this.#pace.pausedUntil - this.#aheadMs - this.#clock.now();
  }

  isOpen(): boolean {
    // What is not told yet may change everything.
    if (this.#troubles.length > 0) return false;
    return this.#turns > 0 || this.#clock.now() < this.#permitUntil;
  }

  take(): number {
    if (this.#turns > 0) this.#turns -= 1;
    else this.#permitted += 1;
    return this.#grantedAt;
  }

  ask(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    const end = (): void => {
      this.#isDrawing = false;
    };
    this.#drawWhileNeeded().then(end, end);
  }

  leave(): void {
    this.#sleeping?.abort();
    // What it tells of a refusal is of use to others.
    if (this.#troubles.length === 0) this.#asking?.abort(LEFT);
  }

  succeeded(): void {
    this.#successes += 1;
  }

  throttled(limit: RateLimit, grantedAt: number | undefined): void {
    this.#tell({ limit, grantedAt, chance: this.#clock.random() });
  }

  exhausted(ms: number): void {
    this.#tell({ exhaustedMs: ms });
  }

  /** Tells all others at once, be it that nobody waits here. */
  #tell(trouble: Trouble): void {
    this.#troubles = [...this.#troubles, trouble];
    this.#turns = 0;
    this.#permitUntil = -Infinity;
    this.#sleeping?.abort();
    this.ask();
  }

  async #drawWhileNeeded(): Promise<void> {
    while (this.#options.wanted() > 0 || this.#troubles.length > 0) {
      const waitMs = this.#askAt - this.#clock.now();
      if (waitMs > 0 && (this.#troubles.length === 0 || this.#failures > 0)) {
        // What nobody waits for is told when somebody does: no timer shall keep the process alive for it.
        if (this.#options.wanted() === 0) break;
        await this.#sleep(waitMs);
      } else {
        await this.#draw();
      }
    }
    // At once, so that whoever asks from now on is not taken for one who was heard.
    this.#isDrawing = false;
  }

  async #sleep(ms: number): Promise<void> {
    const sleeping = new AbortController();
    this.#sleeping = sleeping;
    try {
      await this.#clock.sleep(Math.ceil(ms), sleeping.signal);
    } catch {
      // There is something to tell, or nobody to wait for.
    }
  }

  async #draw(): Promise<void> {
    const troubles = this.#troubles;
    const { statedLimit } = this.#options;
    const notes = { statedLimit, permitted: this.#permitted, successes: this.#successes, troubles };
    const wanted = this.#options.wanted();
    // What a far state takes to answer must not be lost.
    const batchMs = BATCH_MS + this.#drawMs;
    const startedAt = this.#clock.now();
    let drawn: Drawn & { readonly isNoted: boolean };
    try {
      drawn = await this.#within((signal) =>
        this.#options.state.update((text, now) => {
          const change = changeOf(text, now, notes, wanted, batchMs);
          return {
            next: change.text,
            result: { ...change.draw, at: now, isNoted: change.text !== undefined },
          };
        }, signal),
      );
    } catch (error) {
      if (error !== LEFT) this.#lose(error);
      return;
    }
    this.#drawMs = this.#clock.now() - startedAt;
    this.#regain();
    if (drawn.isNoted) {
      this.#permitted -= notes.permitted;
      this.#successes -= notes.successes;
      this.#troubles = this.#troubles.slice(troubles.length);
    }
    this.#use(drawn);
  }

  #use(drawn: Drawn): void {
    const now = this.#clock.now();
    const before = this.#pace.pausedUntil;
    this.#pace = drawn.pace;
    this.#aheadMs = drawn.at - now;
    tellPause(this.#options, before, drawn.pace.pausedUntil, drawn.at);
    this.#grantedAt = drawn.at;
    this.#turns = drawn.granted;
    this.#permitUntil = drawn.permitMs > 0 ? now + drawn.permitMs : -Infinity;
    // Those who wait for the same turn do not all come back at the same moment, nor the nearest always first.
    const jitterMs = this.#clock.random() * Math.min(drawn.waitMs, BATCH_MS);
    this.#askAt = now + Math.min(drawn.waitMs + jitterMs, MAX_WAIT_MS);
    this.#options.onTurns();
    // A turn is for now: what nobody took would come on top of a later one.
    this.#turns = 0;
  }

  /** Ends when the state answers, when it takes too long, or when nobody waits any more. */
  async #within<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const asking = new AbortController();
    const answered = new AbortController();
    this.#asking = asking;
    const late = (): void => {
      asking.abort(
        new FerryError('TIMEOUT', `the shared rate of \`${this.#options.origin}\` did not come in time`),
      );
    };
    const timer = this.#clock.sleep(ANSWER_MS, answered.signal).then(late, () => undefined);
    try {
      return await untilAborted(ask(asking.signal), asking.signal);
    } finally {
      answered.abort();
      await timer;
    }
  }

  #lose(error: unknown): void {
    const delayMs = Math.min(MAX_RETRY_MS, BASE_RETRY_MS * 2 ** this.#failures);
    this.#askAt = this.#clock.now() + delayMs * (0.5 + this.#clock.random() / 2);
    this.#failures += 1;
    const { origin, onShared } = this.#options;
    if (this.#failures === 1) onShared?.({ origin, isLost: true, error });
  }

  #regain(): void {
    if (this.#failures === 0) return;
    this.#failures = 0;
    const { origin, onShared } = this.#options;
    onShared?.({ origin, isLost: false });
  }
}

/** Why a draw was given up that nobody waited for any more. */
const LEFT = new Error('nobody waits any more');

function changeOf(
  text: string | undefined,
  now: number,
  notes: PaceNotes,
  wanted: number,
  batchMs: number,
): { readonly text: string | undefined; readonly draw: Draw } {
  const pace = withNotes(parsePace(text, now), notes, now);
  const draw = drawTurns(pace, wanted, now, batchMs);
  // Who only learns that it has to wait leaves the text alone: others draw from it meanwhile. Successes may be told later,
  // unless the beginning waits for them.
  const isWorthIt =
    draw.granted > 0 || notes.troubles.length > 0 || draw.pace.requestsPerMinute === undefined;
  return { text: isWorthIt ? formatPace(draw.pace) : undefined, draw };
}
