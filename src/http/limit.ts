import { isFerryError } from '../errors.js';
import type { Bytes } from '../io/bytes.js';
import { HostLimiter, type HostLimitOptions, type Slot } from './host-limiter.js';
import { exhaustedForMs, readRateLimit } from './rate-limit.js';
import type { HttpRequest, HttpResponse, RateLimit, Send } from './send.js';

/** The limiters of all hosts, one for each host and credential. Several clients may share them. */
export class HostLimits {
  readonly #limiters = new Map<string, HostLimiter>();
  readonly #options: HostLimitOptions;

  constructor(options: HostLimitOptions = {}) {
    this.#options = options;
  }

  /** The limiter that a request is subject to. */
  of(request: Pick<HttpRequest, 'url' | 'identity'>): HostLimiter {
    const { origin } = request.url;
    const key = request.identity === undefined ? origin : `${origin} ${request.identity}`;
    let limiter = this.#limiters.get(key);
    if (limiter === undefined) {
      limiter = new HostLimiter(origin, this.#options, request.identity);
      this.#limiters.set(key, limiter);
    }
    return limiter;
  }
}

/** Sends each request when its host's limiter lets it, and tells the limiter what came of it. */
export function withLimit(send: Send, limits: HostLimits): Send {
  return async (request) => {
    const limiter = limits.of(request);
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const slot = await limiter.acquire(request.lane ?? (isRead ? 'read' : 'write'), request.signal);
    try {
      const { response, limit } = await readRateLimit(await send(request), Date.now());
      if (limit !== undefined) {
        limiter.throttled(slot, limit);
        return new HeldResponse(response, slot, limit);
      }
      if (response.status === 503) limiter.overloaded(slot);
      else if (response.status < 500) limiter.succeeded();
      const exhaustedMs = exhaustedForMs(response, Date.now());
      if (exhaustedMs !== undefined) limiter.exhausted(exhaustedMs);
      return new HeldResponse(response, slot, undefined);
    } catch (error) {
      slot.release();
      if (isFerryError(error, 'TIMEOUT')) limiter.overloaded(slot);
      throw error;
    }
  };
}

/** An answer whose request is under way until its body is read. */
class HeldResponse implements HttpResponse {
  readonly status: number;
  readonly url: URL;
  readonly rateLimit: RateLimit | undefined;
  readonly #response: HttpResponse;
  readonly #slot: Slot;

  constructor(response: HttpResponse, slot: Slot, rateLimit: RateLimit | undefined) {
    this.status = response.status;
    this.url = response.url;
    this.rateLimit = rateLimit;
    this.#response = response;
    this.#slot = slot;
  }

  get body(): Bytes {
    return this.#read();
  }

  header(name: string): string | undefined {
    return this.#response.header(name);
  }

  async discard(): Promise<void> {
    try {
      await this.#response.discard();
    } finally {
      this.#slot.release();
    }
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of this.#response.body) yield chunk;
    } finally {
      this.#slot.release();
    }
  }
}
