import type { CacheState, RouteClass } from './answer-note.js';
import type { RequestFacts } from './request-facts.js';

/** Largest body that is kept, in bytes. */
export const MAX_HOT_BODY_BYTES = 64 * 1024;

// An answer that says it may be used for a while is as true a second later: caches on the way would give it for longer.
const HOT_MS = 1000;
const MAX_ENTRIES = 1024;
const MAX_BYTES = 16 * 1024 * 1024;

/** An answer as it goes over the wire. */
export interface HotAnswer {
  readonly status: number;
  /** Names and values, one behind the other. */
  readonly headers: readonly string[];
  readonly body: Buffer | undefined;
  readonly route: RouteClass;
  readonly cache: CacheState;
}

interface Entry {
  readonly answer: HotAnswer;
  readonly bytes: number;
  readonly until: number;
}

/**
 * Repeats small answers for at most a second, to the same question: thousands of clients that ask for the same index cost
 * no more than writing it. Bounded in number and bytes; the oldest goes first.
 */
export class HotAnswers {
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  /** What an answer depends on; `undefined` where it may depend on more, and is made anew each time. */
  keyOf(method: string, target: string, facts: RequestFacts): string | undefined {
    if ((method !== 'GET' && method !== 'HEAD') || facts.isSpecial) return undefined;
    return `${method} ${target}\n${facts.acceptEncoding}\n${facts.ifNoneMatch}\n${facts.authorization}\n${facts.accept}`;
  }

  /** `now` in milliseconds of a clock that never goes back. */
  get(key: string, now: number): HotAnswer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (now < entry.until) return entry.answer;
    this.#remove(key, entry);
    return undefined;
  }

  /** Keeps the answer, if it is one that may be repeated. */
  set(key: string, answer: HotAnswer, now: number): void {
    if (!isRepeatable(answer)) return;
    const bytes = key.length + (answer.body?.byteLength ?? 0) + 512;
    const before = this.#entries.get(key);
    if (before !== undefined) this.#remove(key, before);
    this.#entries.set(key, { answer, bytes, until: now + HOT_MS });
    this.#bytes += bytes;
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= MAX_ENTRIES && this.#bytes <= MAX_BYTES) break;
      this.#remove(oldest, entry);
    }
  }

  #remove(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }
}

/** Whether the answer allows itself to be given again, and depends on nothing but what the key holds. */
function isRepeatable(answer: HotAnswer): boolean {
  if (answer.status !== 200 && answer.status !== 304) return false;
  if ((answer.body?.byteLength ?? 0) > MAX_HOT_BODY_BYTES) return false;
  let isFresh = false;
  for (let index = 0; index + 1 < answer.headers.length; index += 2) {
    const name = (answer.headers[index] ?? '').toLowerCase();
    const value = answer.headers[index + 1] ?? '';
    if (name === 'set-cookie') return false;
    if (name === 'vary' && !/^[\s,]*(?:(?:accept-encoding|accept|authorization)[\s,]*)*$/i.test(value))
      return false;
    if (name !== 'cache-control') continue;
    if (/\b(?:no-store|no-cache)\b/i.test(value)) return false;
    isFresh = /\bmax-age=0*[1-9]/i.test(value);
  }
  return isFresh;
}
