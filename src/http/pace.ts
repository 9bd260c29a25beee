import type { RateLimit } from './send.js';

/**
 * How fast requests go to one server on behalf of one credential: what is known of its limit, as a value, and what each
 * event makes of it, as pure functions. A process has such a value for itself (`own-pacer.ts`), or several processes
 * share one (`shared-pacer.ts`, `drawTurns`). Times are milliseconds of one clock, whichever it is.
 */

/** Of what a server says it allows, this much is used: its window and ours never start together. */
const SHARE_OF_LIMIT = 0.95;
/** Requests that may go at once after a rest, as time at the full rate. */
export const BURST_MS = 250;
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

/** What is known of a server's limit, and how much of it is used. */
export interface Pace {
  /** What is kept to; `undefined` as long as nobody was refused and nothing is known. */
  readonly requestsPerMinute: number | undefined;
  /** What the server allows by its own word, or by what is known of it. */
  readonly statedLimit: number | undefined;
  readonly statedAt: number;
  /** The fastest that a server objected to, in requests per minute. */
  readonly bestPace: number;
  /** When the bucket would be full again, in the form of the generic cell rate algorithm. */
  readonly arrival: number;
  readonly pausedUntil: number;
  /** Refusals since something succeeded. */
  readonly pauses: number;
  readonly lastDecrease: number;
  /** Since when requests go without a rest, how many they were, how many succeeded, and when the last of them went. */
  readonly runStartedAt: number;
  readonly granted: number;
  readonly answered: number;
  readonly lastAt: number;
}

/** A request that a server said "not so fast" to. */
export interface Refusal {
  readonly limit: RateLimit;
  /** When its turn was granted; `undefined` where that crowd is known to have been refused already. */
  readonly grantedAt: number | undefined;
  /** From 0 up to 1: how much of the longest pause to make. */
  readonly chance: number;
}

/** Whether a pause that a server asks for is short enough to wait for. */
export function isWorthWaiting(floorMs: number | undefined, maxWaitMs = MAX_RETRY_AFTER_MS): boolean {
  return floorMs === undefined || floorMs <= maxWaitMs;
}

/** The pace at a server that nothing was sent to yet. */
export function openPace(statedLimit: number | undefined, now: number): Pace {
  const pace: Pace = {
    requestsPerMinute: undefined,
    statedLimit: undefined,
    statedAt: 0,
    bestPace: 0,
    arrival: 0,
    pausedUntil: 0,
    pauses: 0,
    lastDecrease: -Infinity,
    runStartedAt: -Infinity,
    granted: 0,
    answered: 0,
    lastAt: -Infinity,
  };
  return withStatedLimit(pace, statedLimit, now);
}

/** Takes the place of any guess; nothing changes where it is known already. */
export function withStatedLimit(pace: Pace, limit: number | undefined, now: number): Pace {
  if (limit === undefined || limit === pace.statedLimit) return pace;
  return { ...pace, statedLimit: limit, statedAt: now, requestsPerMinute: limit * SHARE_OF_LIMIT };
}

/** Milliseconds until clock and bucket allow the next request; none or less where they do now. */
export function waitMsOf(pace: Pace, now: number, burstMs = BURST_MS): number {
  const paused = pace.pausedUntil - now;
  if (pace.requestsPerMinute === undefined) return paused;
  return Math.max(paused, pace.arrival - now - burstMs);
}

/** Notes requests that go now. */
export function countGranted(pace: Pace, count: number, now: number): Pace {
  const { requestsPerMinute } = pace;
  // What a server objects to is the pace of now, not the average over hours of rest.
  const isNewRun = isRested(pace, now);
  // Written out, here and below: to spread it takes ten times as long, and each request comes by.
  return {
    requestsPerMinute,
    statedLimit: pace.statedLimit,
    statedAt: pace.statedAt,
    bestPace: pace.bestPace,
    arrival:
      requestsPerMinute === undefined
        ? pace.arrival
        : Math.max(pace.arrival, now) + (count * 60_000) / requestsPerMinute,
    pausedUntil: pace.pausedUntil,
    pauses: pace.pauses,
    lastDecrease: pace.lastDecrease,
    runStartedAt: isNewRun ? now : pace.runStartedAt,
    granted: (isNewRun ? 0 : pace.granted) + count,
    answered: isNewRun ? 0 : pace.answered,
    lastAt: now,
  };
}

/** Whether there was no request for so long that the next one begins a new run. */
export function isRested(pace: Pace, now: number): boolean {
  return now - pace.lastAt > REST_MS;
}

/** Notes answers that were no refusals. */
export function noteSuccesses(pace: Pace, count: number): Pace {
  return {
    requestsPerMinute: grown(pace, count),
    statedLimit: pace.statedLimit,
    statedAt: pace.statedAt,
    bestPace: pace.bestPace,
    arrival: pace.arrival,
    pausedUntil: pace.pausedUntil,
    pauses: 0,
    lastDecrease: pace.lastDecrease,
    runStartedAt: pace.runStartedAt,
    granted: pace.granted,
    answered: pace.answered + count,
    lastAt: pace.lastAt,
  };
}

/**
 * Notes a refusal, and holds all requests back. The rate falls once for all requests that were under way together: they
 * all met the same crowd.
 */
export function noteRefusal(before: Pace, { limit, grantedAt, chance }: Refusal, now: number): Pace {
  let pace = withStatedLimit(before, limit.requestsPerMinute, now);
  // What is too long to wait for ends the request; nobody else shall wait for it either.
  const floorMs = isWorthWaiting(limit.retryAfterMs) ? (limit.retryAfterMs ?? 0) : 0;
  let backOffMs = 0;
  if (grantedAt !== undefined && grantedAt >= pace.lastDecrease) {
    // Who names a time is believed, but not for ever: with `Retry-After: 0` all attempts would be over in a moment.
    if (limit.retryAfterMs === undefined || pace.pauses > 0) {
      backOffMs = chance * Math.min(MAX_PAUSE_MS, BASE_PAUSE_MS * 2 ** pace.pauses);
    }
    pace = { ...slower(pace, grantedAt, now), lastDecrease: now, pauses: pace.pauses + 1 };
  }
  const pausedUntil = Math.max(pace.pausedUntil, now + floorMs + backOffMs);
  // The server's bucket is full to the brim: what comes after the pause comes one by one.
  return { ...pace, pausedUntil, arrival: Math.max(pace.arrival, pausedUntil + BURST_MS) };
}

/** Notes that a server has said its limit is used up: nothing goes for a while. */
export function noteExhausted(pace: Pace, ms: number, now: number): Pace {
  if (ms > MAX_RETRY_AFTER_MS || now + ms <= pace.pausedUntil) return pace;
  return { ...pace, pausedUntil: now + ms };
}

function grown({ requestsPerMinute, statedLimit }: Pace, count: number): number | undefined {
  if (requestsPerMinute === undefined) return undefined;
  return statedLimit === undefined
    ? requestsPerMinute + RATE_GROWTH * count
    : Math.min(statedLimit * SHARE_OF_LIMIT, requestsPerMinute + STATED_GROWTH * count);
}

function slower(pace: Pace, grantedAt: number, now: number): Pace {
  const { requestsPerMinute, statedLimit, statedAt } = pace;
  if (statedLimit !== undefined) {
    // What went before the limit was known says nothing against it.
    if (grantedAt <= statedAt || requestsPerMinute === undefined) return pace;
    const least = statedLimit * LEAST_OF_STATED;
    return { ...pace, requestsPerMinute: Math.max(least, requestsPerMinute * SLOWER_THAN_STATED) };
  }
  const measured = measuredPace(pace, now);
  const bestPace = Math.max(pace.bestPace, measured ?? 0);
  const current = requestsPerMinute ?? measured;
  if (current === undefined) return { ...pace, bestPace };
  const least = Math.max(MIN_REQUESTS_PER_MINUTE, bestPace * LEAST_OF_PACE);
  return { ...pace, bestPace, requestsPerMinute: Math.max(least, current * SLOWER) };
}

/** Requests per minute since the last rest, once they are enough to tell. */
function measuredPace({ granted, runStartedAt }: Pace, now: number): number | undefined {
  if (granted < MIN_PACE_REQUESTS) return undefined;
  return (granted * 60_000) / Math.max(now - runStartedAt, 1000);
}
