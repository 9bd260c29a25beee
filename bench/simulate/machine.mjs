/**
 * What one process of the fleet sends: through the limiter and the retries of `http/`, in the order in which a transfer
 * sends it.
 */
import { HostLimits, withLimit } from '#ferry/http/limit.js';
import { withRetry } from '#ferry/http/retry.js';
import { openerOf } from '#ferry/io/bytes.js';
import { forEachConcurrently } from '#ferry/io/pool.js';
import { MAX_SINGLE_POST_BYTES } from '#ferry/registry/blob-upload.js';
import { KINDS, LIMIT_PER_MINUTE, Line } from './registry.mjs';

/** @typedef {import('./registry.mjs').Kind} Kind */

/** Compressed info and index of an archive: see docs/scale.md, "Storage". */
export const INFO_BYTES = 20_000;
export const INDEX_BYTES = 700;
const CONFIG_BYTES = 2;
const MANIFEST_BYTES = 1500;
/** GHCR's tokens live for five minutes, and are renewed a tenth of that earlier. */
const TOKEN_MS = 270_000;
const MAX_ATTEMPTS = 8;
const BASE_PAUSE_MS = 500;
/** A 502 to a PUT: half of them were stored all the same. An assumption. */
const STORED_SHARE = 0.5;
/** Until a source's first byte. */
const SOURCE_MS = 60;

const URLS = /** @type {Record<Kind, URL>} */ (
  Object.fromEntries(KINDS.map((kind) => [kind, new URL(kind, 'https://ghcr.example')]))
);
/** @type {Readonly<Record<Kind, import('#ferry/http/send.js').HttpMethod>>} */
const METHODS = {
  ...{ post: 'POST', put: 'PUT', manifest: 'PUT', get: 'GET', head: 'HEAD', delete: 'DELETE', token: 'GET' },
};
const NOTHING = openerOf(new Uint8Array());

/** What is thrown in a process that was killed. */
export const KILLED = new Error('the process was killed');

/**
 * @typedef {object} MachineOptions
 * @property {import('./clock.mjs').SimulatedClock} clock
 * @property {import('./registry.mjs').SimulatedRegistry} registry
 * @property {HostLimits} limits
 * @property {number} credential
 * @property {number} lineMegabits of the machine
 * @property {number} connectionMegabits at most of one connection
 * @property {boolean} singlePost whether the registry takes a blob in one request
 */

/** A tag to carry. @typedef {{ size: number, twin: number, repository: string, mayBeThere: boolean, isThere: boolean }} Tag */

/** One process with its own limiter and its own credential. */
export class Machine {
  isKilled = false;
  /** Requests it asked for; what had to be repeated counts once. */
  sent = 0;
  /** @readonly */
  #clock;
  /** @readonly */
  #send;
  /** @readonly */
  #singlePost;
  /** Repositories that this process put the shared config into. @readonly @type {Set<string>} */
  #configs = new Set();
  /** When the token of a repository has to be renewed. @readonly @type {Map<string, number>} */
  #tokens = new Map();

  /** @param {MachineOptions} options */
  constructor({ clock, registry, limits, credential, lineMegabits, connectionMegabits, singlePost }) {
    this.#clock = clock;
    this.#singlePost = singlePost;
    const line = new Line(lineMegabits);
    const send = registry.sendFor({ credential, line, connectionMegabits });
    this.#send = withRetry(withLimit(send, limits), limits, timeOf(clock));
  }

  /**
   * Sends one request, through limiter and retries; its status.
   * @param {Kind} kind
   * @param {number} [size] of the body
   */
  async request(kind, size = 0) {
    this.#checkAlive();
    this.sent += 1;
    const response = await this.#send({
      ...{ method: METHODS[kind], url: URLS[kind], repeatable: kind !== 'put' },
      ...(size === 0 ? {} : { body: { size, open: NOTHING } }),
      ...(kind === 'token' ? { lane: /** @type {const} */ ('token') } : {}),
    });
    await response.discard();
    this.#checkAlive();
    return response.status;
  }

  #checkAlive() {
    if (this.isKilled) throw KILLED;
  }

  /** Pushes a blob; `false` where it could not be had there. @param {number} size */
  async blob(size) {
    if (this.#singlePost && size <= MAX_SINGLE_POST_BYTES) return (await this.request('post', size)) < 400;
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      if ((await this.request('post')) >= 400) return false;
      if ((await this.request('put', size)) < 400) return true;
      await this.#clock.sleep(this.#clock.random() * BASE_PAUSE_MS * 2 ** (attempt - 1));
      // What failed may have been stored all the same.
      await this.request('head');
      if (this.#clock.random() < STORED_SHARE) return true;
    }
    return false;
  }

  /** @param {string} repository */
  async config(repository) {
    if (this.#configs.has(repository)) return;
    // At once, as the store does: whoever comes meanwhile waits for the same.
    this.#configs.add(repository);
    await this.blob(CONFIG_BYTES);
  }

  /** @param {string} repository */
  async token(repository) {
    const now = this.#clock.now();
    if ((this.#tokens.get(repository) ?? 0) > now) return;
    if (this.#tokens.size > 1000) this.#tokens.clear();
    this.#tokens.set(repository, now + TOKEN_MS);
    await this.request('token');
  }

  /**
   * Carries a tag; whether it is there now.
   * @param {Tag} tag
   */
  async carry({ size, twin, repository, mayBeThere, isThere }) {
    await this.token(repository);
    if (mayBeThere) {
      await this.request('get');
      if (isThere) return true;
    }
    for (const bytes of twin > 0 ? [size, twin] : [size]) {
      await this.#clock.sleep(SOURCE_MS);
      if (!(await this.blob(bytes))) return false;
    }
    await this.config(repository);
    await forEachConcurrently([INFO_BYTES, INDEX_BYTES], { concurrency: 2 }, async (bytes) => {
      await this.blob(bytes);
    });
    const status = await this.request('manifest', MANIFEST_BYTES);
    // Twins are looked at again: another writer may have taken one away.
    if (twin > 0) await this.request('get');
    return status < 400;
  }

  /** An archive that is not what its record says: its upload is begun, and given up. @param {Tag} tag */
  async reject({ repository, mayBeThere }) {
    await this.token(repository);
    if (mayBeThere) await this.request('get');
    await this.request('post');
    await this.request('delete');
  }
}

/**
 * The limits that a process keeps to: by the pace that the fleet shares, or by a pace of its own.
 * @param {import('./clock.mjs').SimulatedClock} clock
 * @param {import('#ferry/io/shared-state.js').SharedState} [pace]
 */
export function limitsOf(clock, pace) {
  const shared = pace === undefined ? {} : { shared: () => pace };
  return new HostLimits({ ...timeOf(clock), statedLimit: () => LIMIT_PER_MINUTE, ...shared });
}

/** What the limiter wants of a clock. @param {import('./clock.mjs').SimulatedClock} clock */
function timeOf({ now, sleep, random }) {
  return { now, sleep, random };
}
