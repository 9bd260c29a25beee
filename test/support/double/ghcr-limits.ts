import { errorAnswer, isWrite, type Answer, type RequestHead } from './exchange.js';

const MINUTE_MS = 60_000;

/** Limits of {@link GhcrLimits}. */
export interface GhcrLimitOptions {
  /** Requests in a minute that run out of the bucket. @defaultValue unlimited */
  readonly limitPerMinute?: number;
  /** Whether all that come share one bucket, or each user has one of their own. @defaultValue `all` */
  readonly limited?: 'all' | 'each-user';
  /** Requests that fit into the bucket. @defaultValue 10 */
  readonly burst?: number;
  /** After so many writes, everything is refused for so long; then it begins anew. @defaultValue none */
  readonly secondaryLimit?: { readonly afterWrites: number; readonly forMs: number };
}

/** The two limits of GHCR. @see facts ghcr/G1, ghcr/G4 */
export class GhcrLimits {
  readonly #options: GhcrLimitOptions;
  readonly #now: () => number;
  #level = 0;
  #levelAt: number;
  #writes = 0;
  #blockedUntil = 0;

  constructor(options: GhcrLimitOptions, now: () => number) {
    this.#options = options;
    this.#now = now;
    this.#levelAt = now();
  }

  /** The secondary limit strikes now. */
  block(forMs: number): void {
    this.#blockedUntil = this.#now() + forMs;
  }

  /** Refuses a request that is too much. */
  admit(head: RequestHead): Answer | undefined {
    return this.#secondary(head) ?? this.#primary();
  }

  #secondary(head: RequestHead): Answer | undefined {
    const { secondaryLimit } = this.#options;
    const now = this.#now();
    if (now >= this.#blockedUntil && secondaryLimit !== undefined && isWrite(head)) {
      this.#writes += 1;
      if (this.#writes > secondaryLimit.afterWrites) {
        this.#writes = 0;
        this.block(secondaryLimit.forMs);
      }
    }
    if (now >= this.#blockedUntil) return undefined;
    const message =
      'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.';
    return errorAnswer(403, 'DENIED', message);
  }

  #primary(): Answer | undefined {
    const { limitPerMinute, burst = 10 } = this.#options;
    if (limitPerMinute === undefined) return undefined;
    const now = this.#now();
    const perMs = limitPerMinute / MINUTE_MS;
    this.#level = Math.max(0, this.#level - (now - this.#levelAt) * perMs);
    this.#levelAt = now;
    const tooMuch = this.#level + 1 - burst;
    if (tooMuch <= 0) {
      this.#level += 1;
      return undefined;
    }
    const wait = durationOf(tooMuch / perMs);
    return errorAnswer(429, 'TOOMANYREQUESTS', `retry-after: ${wait}, allowed: ${limitPerMinute}/minute`);
  }
}

/** Shape: `10.3ms`, as Go prints durations. */
function durationOf(ms: number): string {
  if (ms >= 1000) return `${trim(ms / 1000)}s`;
  return ms >= 1 ? `${trim(ms)}ms` : `${trim(ms * 1000)}µs`;
}

function trim(value: number): string {
  // Up, so that who waits that long has waited enough.
  return String(Math.ceil(value * 1000) / 1000);
}
