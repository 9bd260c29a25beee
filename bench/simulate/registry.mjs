/**
 * A registry with the limits of GHCR, as far as they are known: 2,000 requests a minute for each credential, refused with
 * what GHCR writes; a blob's bytes take as long as the line lets them, its commit some seconds for some hundred megabytes;
 * now and then a 502. It keeps nothing: what was sent is counted.
 */
import { openerOf } from '#ferry/io/bytes.js';

/** @typedef {import('#ferry/http/send.js').HttpRequest} HttpRequest */
/** @typedef {import('#ferry/http/send.js').HttpResponse} HttpResponse */
/** @typedef {import('./clock.mjs').SimulatedClock} SimulatedClock */

const MINUTE_MS = 60_000;
export const LIMIT_PER_MINUTE = 2000;
/** Requests that a full bucket takes at once; what GHCR's takes is not known. */
const BURST = 10;
/** Between a client and the registry and back, on average. */
const ROUND_TRIP_MS = 80;
/** What the registry itself takes for any request. */
const WORK_MS = 60;
/** 5 to 11 s for 700 MB: jib 4301. */
const COMMIT_MS_PER_BYTE = { least: 5000 / 700e6, most: 11_000 / 700e6 };
/** Docs of GitHub: 10 minutes for an upload. */
export const UPLOAD_LIMIT_MS = 10 * MINUTE_MS;
/** Requests that end in a 502; "seen" is all that is known. */
export const BAD_GATEWAY_SHARE = 0.0002;

/** What the counts are by; `token` is no request to the registry itself, and shares its limit. */
export const KINDS = /** @type {const} */ (['post', 'put', 'manifest', 'get', 'head', 'delete', 'token']);
/** @typedef {(typeof KINDS)[number]} Kind */

/** A line of some megabits a second that all connections of a machine share. */
export class Line {
  /** @readonly */
  #bytesPerMs;
  #freeAt = 0;

  /** @param {number} megabits a second */
  constructor(megabits) {
    this.#bytesPerMs = (megabits * 1e6) / 8 / 1000;
  }

  /**
   * How long these bytes take from now on, over one connection that is no faster than `connectionBytesPerMs`.
   * @param {number} bytes
   * @param {number} now
   * @param {number} connectionBytesPerMs
   */
  send(bytes, now, connectionBytesPerMs) {
    this.#freeAt = Math.max(this.#freeAt, now) + bytes / this.#bytesPerMs;
    return Math.max(bytes / connectionBytesPerMs, this.#freeAt - now);
  }
}

/** The patience with one credential: a bucket that runs out evenly. */
class Bucket {
  admitted = 0;
  refused = 0;
  /** The most in any minute that begins with a request, seen at the ends of windows of a second. */
  mostPerMinute = 0;
  #level = 0;
  #levelAt = 0;
  /** Of the last 61 seconds, by second. @readonly */
  #seconds = new Uint32Array(61);
  #second = 0;

  /** Milliseconds to wait, or 0 where the request may pass. @param {number} now */
  admit(now) {
    const perMs = LIMIT_PER_MINUTE / MINUTE_MS;
    this.#level = Math.max(0, this.#level - (now - this.#levelAt) * perMs);
    this.#levelAt = now;
    const tooMuch = this.#level + 1 - BURST;
    if (tooMuch > 0) {
      this.refused += 1;
      return tooMuch / perMs;
    }
    this.#level += 1;
    this.admitted += 1;
    this.#note(Math.floor(now / 1000));
    return 0;
  }

  /** @param {number} second */
  #note(second) {
    const seconds = this.#seconds;
    const { length } = seconds;
    if (second > this.#second) {
      let sum = 0;
      for (const count of seconds) sum += count;
      // The oldest of them all is not part of the minute.
      sum -= seconds[(this.#second + 1) % length] ?? 0;
      this.mostPerMinute = Math.max(this.mostPerMinute, sum);
      if (second - this.#second >= length) seconds.fill(0);
      else for (let at = this.#second + 1; at <= second; at += 1) seconds[at % length] = 0;
      this.#second = second;
    }
    seconds[second % length] = (seconds[second % length] ?? 0) + 1;
  }
}

/** See above; `sendFor` makes what a client sends with. */
export class SimulatedRegistry {
  /** Requests that were let through, by kind. @type {Record<Kind, number>} */
  counts = { post: 0, put: 0, manifest: 0, get: 0, head: 0, delete: 0, token: 0 };
  bytesUp = 0;
  badGateways = 0;
  /** @type {readonly Bucket[]} */
  buckets;
  /** @readonly */
  #clock;
  /** @readonly */
  #badGatewayShare;

  /** @param {{ clock: SimulatedClock, credentials: number, badGatewayShare?: number }} options */
  constructor({ clock, credentials, badGatewayShare = BAD_GATEWAY_SHARE }) {
    this.#clock = clock;
    this.#badGatewayShare = badGatewayShare;
    this.buckets = Array.from({ length: credentials }, () => new Bucket());
  }

  /**
   * How a machine sends to it with one of the credentials. The kind of a request is the path of its URL.
   * @param {{ credential: number, line: Line, connectionMegabits: number }} options
   * @returns {import('#ferry/http/send.js').Send}
   */
  sendFor({ credential, line, connectionMegabits }) {
    const clock = this.#clock;
    const connectionBytesPerMs = (connectionMegabits * 1e6) / 8 / 1000;
    const bucket = this.buckets[credential];
    if (bucket === undefined) throw new Error('there is no such credential');
    const { random } = clock;
    return async (request) => {
      const kind = /** @type {Kind} */ (request.url.pathname.slice(1));
      const size = request.body?.size ?? 0;
      const way = (ROUND_TRIP_MS / 2) * (0.5 + random());
      await clock.sleep(way);
      const waitMs = bucket.admit(clock.now());
      if (waitMs > 0) {
        await clock.sleep(way);
        return answer(request, 429, refusalText(waitMs));
      }
      this.counts[kind] += 1;
      this.bytesUp += size;
      const bodyMs = size === 0 ? 0 : line.send(size, clock.now(), connectionBytesPerMs);
      const { least, most } = COMMIT_MS_PER_BYTE;
      const commitMs = size * (least + (most - least) * random());
      await clock.sleep(Math.min(bodyMs, UPLOAD_LIMIT_MS) + WORK_MS * (0.5 + random()) + commitMs + way);
      if (bodyMs > UPLOAD_LIMIT_MS) return answer(request, 408, '');
      if (random() < this.#badGatewayShare) {
        this.badGateways += 1;
        return answer(request, 502, '');
      }
      return answer(request, kind === 'post' ? 202 : 200, '');
    };
  }
}

/**
 * @param {HttpRequest} request
 * @param {number} status
 * @param {string} body
 * @returns {HttpResponse}
 */
function answer({ url }, status, body) {
  return {
    status,
    url,
    header: () => undefined,
    body: openerOf(Buffer.from(body))(),
    discard: () => Promise.resolve(),
  };
}

/** As GHCR writes it, in Go's way of writing times. @param {number} waitMs */
function refusalText(waitMs) {
  const wait =
    waitMs >= 1 ? `${(Math.ceil(waitMs * 10) / 10).toFixed(1)}ms` : `${Math.ceil(waitMs * 1000)}µs`;
  const message = `retry-after: ${wait}, allowed: ${LIMIT_PER_MINUTE}/minute`;
  return JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message }] });
}
