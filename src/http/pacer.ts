import type { Clock } from './clock.js';
import type { RateLimit } from './send.js';

/** A pause of this length is worth a word to whoever is watching. */
const NOTABLE_PAUSE_MS = 2000;

/** A pause that a server asked for. */
export interface HostPause {
  /** Such as `https://ghcr.io`. */
  readonly origin: string;
  readonly ms: number;
}

/** What a {@link Pacer} is told of its host, and whom it tells. */
export interface PacerOptions {
  readonly origin: string;
  readonly clock: Clock;
  /** Requests per minute that the host is known to allow. */
  readonly statedLimit: number | undefined;
  /** Told when it is worth asking {@link Pacer.isOpen} again, after {@link Pacer.ask}. */
  readonly onTurns: () => void;
  readonly onPause: ((pause: HostPause) => void) | undefined;
}

/** Says when requests may go to one host on behalf of one credential, and learns from what comes of them. */
export interface Pacer {
  readonly requestsPerMinute: number | undefined;
  /** How much longer nothing goes, since the server said so; none or less where it did not. */
  readonly pausedMs: number;
  /** Whether a request may go now. */
  isOpen(): boolean;
  /** Takes a turn, which must be open; returns when it was granted, by the clock of the pace. */
  take(): number;
  /** Asks for turns, for those who wait; `onTurns` is called some time later. */
  ask(): void;
  /** Nobody waits any more: a timer that nobody waits for would keep the process alive through a pause of minutes. */
  leave(): void;
  /** Notes an answer that was no refusal. */
  succeeded(): void;
  /** Notes that a server said "not so fast" to a request; see `Refusal.grantedAt`. */
  throttled(limit: RateLimit, grantedAt: number | undefined): void;
  /** Notes that a server has said its limit is used up. */
  exhausted(ms: number): void;
}

/** Tells of a pause that is long, and longer than the one that was known. Times by the clock of the pace. */
export function tellPause(
  { origin, onPause }: Pick<PacerOptions, 'origin' | 'onPause'>,
  before: number,
  after: number,
  now: number,
): void {
  const ms = after - now;
  if (ms >= NOTABLE_PAUSE_MS && after - before >= NOTABLE_PAUSE_MS) onPause?.({ origin, ms });
}
