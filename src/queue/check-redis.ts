/** Whether a Redis is fit for a queue: asked before anything is written, since half of a run's jobs is worse than none. */
import { setTimeout as delay } from 'node:timers/promises';
import { FerryError, isFerryError } from '../errors.js';
import { answerInTime, answerOf, FULL_HINT, type RedisPlace } from './redis-error.js';

/** What BullMQ asks for; older ones lack commands that it uses. */
const MIN_VERSION: readonly [number, number] = [6, 2];
const MIB = 1024 * 1024;
const LOADING_POLL_MS = 500;
/** Scripts are most of what a queue does. */
const PROBE_SCRIPT = `return redis.call('EXISTS', KEYS[1])`;
/** Some bytes more than nothing, as jobs have them. */
const PROBE_VALUE = 'x'.repeat(1024);

/** Fields of `INFO`, such as `redis_version` → `7.0.15`. */
export type RedisInfo = ReadonlyMap<string, string>;

/** How much of its memory a Redis uses. */
export interface RedisMemory {
  readonly usedBytes: number;
  /** `undefined` where there is no limit but the machine's. */
  readonly maxBytes: number | undefined;
}

/** Options of {@link checkRedis}. */
export interface CheckRedisOptions {
  /** Key to try a write with. */
  readonly probeKey: string;
  /** Whether one without memory left will do. @defaultValue false */
  readonly allowFull?: boolean | undefined;
  readonly signal: AbortSignal;
  /** Told of what is no error, but worth knowing. */
  readonly onTrouble: (text: string) => void;
}

/** Parses the answer of `INFO`: lines `name:value`, and headings that begin with `#`. */
export function parseRedisInfo(text: string): RedisInfo {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return fields;
}

/** Memory as `INFO` tells it; what Redis itself does not count towards the limit is not counted. */
export function memoryOf(info: RedisInfo): RedisMemory {
  const maxBytes = numberOf(info, 'maxmemory');
  const usedBytes = numberOf(info, 'used_memory') - numberOf(info, 'mem_not_counted_for_evict');
  return { usedBytes: Math.max(0, usedBytes), maxBytes: maxBytes === 0 ? undefined : maxBytes };
}

/**
 * Judges what `INFO` says of how a Redis is set up.
 * @throws FerryError `QUEUE_UNFIT`
 */
export function judgeRedis(info: RedisInfo, url: string): void {
  const unfit = (what: string, hint: string): FerryError =>
    new FerryError('QUEUE_UNFIT', `Redis at \`${url}\` ${what}`, { hint });
  const version = info.get('redis_version');
  // Valkey counts its own versions, and names as Redis' the one whose commands it has.
  if (!info.has('valkey_version') && !isNewEnough(version)) {
    const is = version === undefined ? 'does not tell its version' : `is of version ${version.slice(0, 40)}`;
    throw unfit(is, `use Redis ${MIN_VERSION.join('.')} or newer, or Valkey`);
  }
  if (info.get('redis_mode') === 'sentinel') {
    throw unfit('is a sentinel', 'write the URL of the Redis that it watches');
  }
  if (info.get('cluster_enabled') === '1') {
    throw unfit('is a node of a cluster', 'use a Redis of its own, without `cluster-enabled`');
  }
  if (info.get('role') === 'slave' || info.get('role') === 'replica') {
    const [host, port] = [info.get('master_host'), info.get('master_port')];
    const primary = host === undefined || port === undefined ? '' : `, \`${host}:${port}\``;
    throw unfit('is a replica, which takes no writes', `write the URL of its primary${primary}`);
  }
  const policy = info.get('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    throw unfit(
      `may drop jobs when its memory runs out: its eviction policy is \`${policy}\``,
      'set it by `CONFIG SET maxmemory-policy noeviction`, and in its configuration file',
    );
  }
}

/**
 * Makes sure that there is memory left at all.
 * @throws FerryError `QUEUE_FULL`
 */
export function assertMemory({ usedBytes, maxBytes }: RedisMemory, url: string): void {
  if (maxBytes !== undefined && usedBytes >= maxBytes) throw noMemoryLeft(url, { usedBytes, maxBytes });
}

/**
 * Checks that a Redis is fit for a queue, and leaves nothing behind. One that still reads its data is waited for.
 * @throws FerryError `QUEUE_UNFIT`, `QUEUE_FULL`, `QUEUE_REFUSED`, `QUEUE_UNREACHABLE`
 */
export async function checkRedis(place: RedisPlace, options: CheckRedisOptions): Promise<void> {
  const { signal, onTrouble, probeKey } = options;
  const info = await readLoaded(place, options);
  judgeRedis(info, place.url);
  if (options.allowFull !== true) assertMemory(memoryOf(info), place.url);
  try {
    await answerInTime(place, signal, async () => probe(place, probeKey));
  } catch (error) {
    if (isFerryError(error, 'QUEUE_FULL')) {
      if (options.allowFull === true) return;
      // The numbers are of a moment before; what counts is that Redis refuses.
      throw noMemoryLeft(place.url, memoryOf(info));
    }
    throw error;
  }
  if (info.get('aof_enabled') === '0') {
    onTrouble(
      `Redis at \`${place.url}\` keeps no append-only file: if it ends, its jobs are lost and planned again; ` +
        '`CONFIG SET appendonly yes` keeps them',
    );
  }
}

/** Writes and removes in one step: nobody ever sees the key, and a Redis that takes no writes says so. */
async function probe({ redis }: RedisPlace, key: string): Promise<void> {
  const transaction = redis.multi().set(key, PROBE_VALUE, 'PX', 1000).del(key).eval(PROBE_SCRIPT, 1, key);
  for (const [error] of (await transaction.exec()) ?? []) if (error !== null) throw error;
}

/** Reads how much of its memory Redis uses. */
export async function readMemory(queue: RedisPlace, signal?: AbortSignal): Promise<RedisMemory> {
  return memoryOf(parseRedisInfo(await answerOf(queue, queue.redis.info('memory'), signal)));
}

/**
 * Makes sure that Redis has room for so many bytes, as far as it has a limit.
 * @throws FerryError `QUEUE_FULL`
 */
export async function roomFor(queue: RedisPlace, bytes: number, signal?: AbortSignal): Promise<void> {
  const { usedBytes, maxBytes } = await readMemory(queue, signal);
  if (maxBytes === undefined || maxBytes - usedBytes >= bytes) return;
  const left = `${inMib(Math.max(0, maxBytes - usedBytes))} left of ${inMib(maxBytes)} MiB`;
  throw new FerryError(
    'QUEUE_FULL',
    `the jobs need about ${inMib(bytes)} MiB, and Redis at \`${queue.url}\` has ${left}`,
    { hint: FULL_HINT },
  );
}

/** Reads `INFO`, as soon as Redis has read its data. */
async function readLoaded(place: RedisPlace, options: CheckRedisOptions): Promise<RedisInfo> {
  const { signal, onTrouble } = options;
  for (let round = 0; ; round += 1) {
    const info = parseRedisInfo(await answerInTime(place, signal, async () => place.redis.info()));
    if ((info.get('loading') ?? '0') === '0') return info;
    if (round === 0) onTrouble(`Redis at \`${place.url}\` still reads its data: waiting for it`);
    await delay(LOADING_POLL_MS, undefined, { signal }).catch(() => {
      signal.throwIfAborted();
    });
  }
}

function isNewEnough(version: string | undefined): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  if (major === undefined || minor === undefined) return false;
  const [minMajor, minMinor] = MIN_VERSION;
  return Number(major) > minMajor || (Number(major) === minMajor && Number(minor) >= minMinor);
}

function noMemoryLeft(url: string, { usedBytes, maxBytes }: RedisMemory): FerryError {
  const of = maxBytes === undefined ? '' : ` of ${inMib(maxBytes)}`;
  return new FerryError(
    'QUEUE_FULL',
    `Redis at \`${url}\` has no memory left: ${inMib(usedBytes)}${of} MiB are in use`,
    { hint: FULL_HINT },
  );
}

function numberOf(info: RedisInfo, name: string): number {
  const number = Number(info.get(name) ?? '0');
  return Number.isFinite(number) ? number : 0;
}

function inMib(bytes: number): string {
  return (bytes / MIB).toFixed(bytes < 100 * MIB ? 1 : 0);
}
