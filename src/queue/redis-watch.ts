/** Looks after a connection to Redis: notices silence, tells of it once, and of its end once. */
import type { Redis } from 'ioredis';
import { visibleText } from '../io/visible-text.js';
import { connectionError, type RedisPlace } from './redis-error.js';

/** A connection that is back within a second is not worth a word. */
const TELL_AFTER_MS = 1000;
const PING_EVERY_MS = 5000;
/**
 * A Redis whose machine is gone says nothing, not even that. Longer than any step of Redis takes, and shorter than a job's lock
 * lasts.
 */
const MAX_SILENCE_MS = 15_000;

/** Watches one connection, from when it is ready until {@link RedisWatch.stop}. */
export class RedisWatch {
  readonly #redis: Redis;
  readonly #url: string;
  readonly #tell: (text: string) => void;
  readonly #timer: NodeJS.Timeout;
  #tellTimer: NodeJS.Timeout | undefined;
  /** Since when there is no answer, by the wall clock: for people. */
  #silentSince: Date | undefined;
  #isTold = false;
  #lastError: Error | undefined;
  /** When what was not answered yet was asked, by `performance.now()`. */
  #askedAt: number | undefined;

  /** `tell` hears one line of text at the beginning and at the end of a silence. */
  constructor({ redis, url }: RedisPlace, tell: (text: string) => void) {
    this.#redis = redis;
    this.#url = url;
    this.#tell = tell;
    redis.on('close', this.#onClose);
    redis.on('connect', this.#onConnect);
    redis.on('ready', this.#onReady);
    redis.on('error', this.#onError);
    this.#timer = setInterval(() => {
      this.#look();
    }, PING_EVERY_MS).unref();
  }

  /** Ends the watch. Errors of the connection go on to be heard, and by nobody: unheard they would be printed. */
  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#tellTimer);
    this.#redis.off('close', this.#onClose);
    this.#redis.off('connect', this.#onConnect);
    this.#redis.off('ready', this.#onReady);
  }

  readonly #onClose = (): void => {
    this.#askedAt = undefined;
    this.#isSilent(Date.now());
    this.#tellTimer ??= setTimeout(() => {
      this.#tellOnce();
    }, TELL_AFTER_MS).unref();
  };

  /** From here on it owes an answer: that it is ready. */
  readonly #onConnect = (): void => {
    this.#askedAt = performance.now();
  };

  readonly #onReady = (): void => {
    this.#askedAt = undefined;
    this.#lastError = undefined;
    clearTimeout(this.#tellTimer);
    this.#tellTimer = undefined;
    const since = this.#silentSince;
    if (this.#isTold && since !== undefined) {
      const seconds = Math.max(1, Math.round((Date.now() - since.getTime()) / 1000));
      this.#tell(`Redis at \`${this.#url}\` is back after ${String(seconds)} s`);
    }
    this.#silentSince = undefined;
    this.#isTold = false;
  };

  readonly #onError = (error: Error): void => {
    this.#lastError = error;
  };

  #look(): void {
    const { status } = this.#redis;
    if (status !== 'ready' && status !== 'connect') return;
    if (this.#askedAt !== undefined) {
      const silentMs = performance.now() - this.#askedAt;
      if (silentMs < MAX_SILENCE_MS) return;
      this.#isSilent(Date.now() - silentMs);
      this.#tellOnce();
      // What was not answered is sent again over the next connection.
      this.#redis.disconnect(true);
    } else if (status === 'ready') {
      const askedAt = performance.now();
      this.#askedAt = askedAt;
      const answered = (): void => {
        if (this.#askedAt === askedAt) this.#askedAt = undefined;
      };
      // An error is an answer, too.
      this.#redis.ping().then(answered, answered);
    }
  }

  #isSilent(sinceMs: number): void {
    this.#silentSince ??= new Date(sinceMs);
  }

  #tellOnce(): void {
    if (this.#isTold || this.#silentSince === undefined) return;
    this.#isTold = true;
    const since = this.#silentSince.toISOString().slice(11, 19);
    const why = this.#lastError === undefined ? '' : ` (${shortCause(this.#lastError, this.#url)})`;
    this.#tell(`Redis at \`${this.#url}\` does not answer since ${since} UTC${why}: waiting for it`);
  }
}

/** The error's own words, or its code where it has none. */
function shortCause(error: Error, url: string): string {
  const { message } = connectionError(error, url);
  return visibleText(message.slice(message.lastIndexOf('`: ') + 3), 120);
}
