import {
  countGranted,
  isRested,
  noteExhausted,
  noteRefusal,
  noteSuccesses,
  openPace,
  waitMsOf,
  withStatedLimit,
  type Pace,
  type Refusal,
} from './pace.js';

/**
 * A {@link Pace} that several processes share as a text: how it is written, and how they draw turns from it. All of it is
 * pure, for a draw may have to be made again.
 */

/** Turns are drawn for as long as this: few draws at a high rate, little that is out of date. */
export const BATCH_MS = 50;
/**
 * Requests of a fleet that may go at once after a rest, as time at the full rate. Less than one process may: turns are drawn a
 * moment before they are used, and of many processes some are late with theirs.
 */
const BURST_MS = 150;
/** Requests of a fleet under way at once to begin with, while nothing is known of the server's limit. */
const FIRST_TURNS = 4;
/** And how many more for each answer. Growing faster means that more is refused together. */
const TURNS_PER_ANSWER = 1.5;
/** So many answers, or so long, and it is no beginning any more: somebody may have died with the turns it drew. */
const SLOW_START_ANSWERS = 256;
const SLOW_START_MS = 4000;
/** Until then, how soon to ask again. */
const POLL_MS = 20;
/**
 * How long requests may go without asking again where no rate is known. A refusal that another process met is known
 * after that time at the latest; it is a share of the run's age, since early refusals come in crowds.
 */
const MAX_PERMIT_MS = 1000;
const MIN_PERMIT_MS = 25;
const PERMIT_OF_AGE = 0.25;
/** What a clock may lie behind what was written by it, before it counts as set back. */
const CLOCK_SLACK_MS = 1000;

/** What a process has to tell of the time since it last drew. */
export interface PaceNotes {
  /** Per minute, such as 2000, where it was told. */
  readonly statedLimit: number | undefined;
  /** Requests that went on a permit. */
  readonly permitted: number;
  /** Answers that were no refusals. */
  readonly successes: number;
  /** In the order in which they came. */
  readonly troubles: readonly Trouble[];
}

/** A refusal, or a limit that is used up for so many milliseconds. */
export type Trouble = Refusal | { readonly exhaustedMs: number };

/** What a draw comes to. */
export interface Draw {
  readonly pace: Pace;
  /** Turns that may be used at once. */
  readonly granted: number;
  /** How long more than these may go too, without a further draw: milliseconds, or 0. */
  readonly permitMs: number;
  /** Milliseconds after which another draw may give more; 0 where it is worth trying now. */
  readonly waitMs: number;
}

/** The pace with what a process has to tell of it. */
export function withNotes(pace: Pace, notes: PaceNotes, now: number): Pace {
  // What is written down may be of a process that knew of no limit.
  const statedAt = pace.granted === 0 ? 0 : now;
  let next = pace.statedLimit === undefined ? withStatedLimit(pace, notes.statedLimit, statedAt) : pace;
  // They went before the rate was known, if it is by now, and are no debt.
  if (notes.permitted > 0) next = { ...countGranted(next, notes.permitted, now), arrival: next.arrival };
  if (notes.successes > 0) next = noteSuccesses(next, notes.successes);
  for (const trouble of notes.troubles) {
    next =
      'exhaustedMs' in trouble
        ? noteExhausted(next, trouble.exhaustedMs, now)
        : noteRefusal(next, trouble, now);
  }
  return next;
}

/**
 * Draws turns for `wanted` requests, but of a known rate no more than `batchMs` of it, or one. Where no rate is known,
 * the beginning is slow, and what comes after is free for a while.
 */
export function drawTurns(pace: Pace, wanted: number, now: number, batchMs = BATCH_MS): Draw {
  const waitMs = waitMsOf(pace, now, BURST_MS);
  if (waitMs > 0 || wanted <= 0) return { pace, granted: 0, permitMs: 0, waitMs: Math.max(0, waitMs) };
  const { requestsPerMinute } = pace;
  if (requestsPerMinute === undefined) return drawUnlimited(pace, wanted, now);
  const turnMs = 60_000 / requestsPerMinute;
  const room = Math.floor((BURST_MS - Math.max(0, pace.arrival - now)) / turnMs) + 1;
  const most = Math.max(1, Math.floor(Math.min(batchMs, BURST_MS) / turnMs));
  const granted = Math.min(wanted, room, most);
  const next = countGranted(pace, granted, now);
  // Who waits for more comes back for all of them, or at a high rate it would come for each.
  const batch = Math.max(1, Math.min(wanted - granted, most));
  return {
    pace: next,
    granted,
    permitMs: 0,
    waitMs: Math.max(0, waitMsOf(next, now, BURST_MS) + (batch - 1) * turnMs),
  };
}

function drawUnlimited(pace: Pace, wanted: number, now: number): Draw {
  const isNewRun = isRested(pace, now);
  const ageMs = isNewRun ? 0 : now - pace.runStartedAt;
  const answered = isNewRun ? 0 : pace.answered;
  if (ageMs >= SLOW_START_MS || answered >= SLOW_START_ANSWERS) {
    const permitMs = Math.min(MAX_PERMIT_MS, Math.max(MIN_PERMIT_MS, ageMs * PERMIT_OF_AGE));
    return { pace: countGranted(pace, wanted, now), granted: wanted, permitMs, waitMs: 0 };
  }
  const allowed = Math.floor(FIRST_TURNS + answered * TURNS_PER_ANSWER) - (isNewRun ? 0 : pace.granted);
  const granted = Math.min(wanted, Math.max(0, allowed));
  const next = granted > 0 ? countGranted(pace, granted, now) : pace;
  return { pace: next, granted, permitMs: 0, waitMs: granted < wanted ? POLL_MS : 0 };
}

/** The first element of the text; what another version wrote is not read. */
const VERSION = 1;

/** Writes a pace in less than 400 bytes. Shape: `[1,1900,2000,1763788000123.4,…]`, `null` where there is nothing. */
export function formatPace(pace: Pace): string {
  return JSON.stringify([
    VERSION,
    pace.requestsPerMinute ?? null,
    pace.statedLimit ?? null,
    pace.statedAt,
    pace.bestPace,
    pace.arrival,
    pace.pausedUntil,
    pace.pauses,
    // JSON has no infinity: these two become `null`.
    pace.lastDecrease,
    pace.runStartedAt,
    pace.granted,
    pace.answered,
    pace.lastAt,
  ]);
}

/**
 * Reads what {@link formatPace} wrote. What cannot be read is begun anew. After the clock was set back, as when another
 * server takes over, times that lie ahead would hold everybody for as long: rate and limit are kept, times are not.
 */
export function parsePace(text: string | undefined, now: number): Pace {
  const fresh = openPace(undefined, now);
  const values = text === undefined ? undefined : parseNumbers(text);
  if (values === undefined) return fresh;
  const [
    ,
    rate,
    stated,
    statedAt,
    best,
    arrival,
    pausedUntil,
    pauses,
    decrease,
    startedAt,
    granted,
    answered,
    at,
  ] = values;
  const limits = {
    requestsPerMinute: rate ?? undefined,
    statedLimit: stated ?? undefined,
    bestPace: best ?? 0,
  };
  if (Math.max(at ?? 0, decrease ?? 0) > now + CLOCK_SLACK_MS) return { ...fresh, ...limits };
  return {
    ...limits,
    statedAt: statedAt ?? 0,
    arrival: arrival ?? 0,
    pausedUntil: pausedUntil ?? 0,
    pauses: pauses ?? 0,
    lastDecrease: decrease ?? -Infinity,
    runStartedAt: startedAt ?? -Infinity,
    granted: granted ?? 0,
    answered: answered ?? 0,
    lastAt: at ?? -Infinity,
  };
}

const FIELDS = 13;

function parseNumbers(text: string): readonly (number | null)[] | undefined {
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(values) || values.length !== FIELDS || values[0] !== VERSION) return undefined;
  return values.every(isNumberOrNull) ? values : undefined;
}

function isNumberOrNull(value: unknown): value is number | null {
  return value === null || typeof value === 'number';
}
