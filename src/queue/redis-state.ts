import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { SharedState, StateChange } from '../io/shared-state.js';
import { untilAborted } from '../io/single-flight.js';

/** After an hour in which nobody changed it a state says nothing about a server any more. */
const EXPIRY_MS = 3_600_000;
/** Conflicts after which a change is tried again at once: each of them means that somebody else has got on. */
const PROMPT_ATTEMPTS = 3;
/** Longest pause after the next conflict, and after any. */
const BASE_PAUSE_MS = 2;
const MAX_PAUSE_MS = 50;

/** Gives the time of Redis, which all share, and the text; both scripts touch one key only, as a cluster wants it. */
const READ = `
local time = redis.call('TIME')
return { time[1], time[2], redis.call('GET', KEYS[1]) }
`;

/** Keeps ARGV[2] for ARGV[3] ms if ARGV[1] is still what is there (nothing: an empty text), or gives what {@link READ} does. */
const SWAP = `
local current = redis.call('GET', KEYS[1])
if (current or '') == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return false
end
local time = redis.call('TIME')
return { time[1], time[2], current }
`;

/** Seconds, microseconds, text: as Redis gives them. */
type Answer = readonly [seconds: string, microseconds: string, text: string | null];

/** What `defineCommand` adds to a connection. */
interface StateCommands {
  ferryReadState(key: string): Promise<Answer>;
  ferrySwapState(key: string, expected: string, next: string, expiryMs: string): Promise<Answer | null>;
}

interface Reading {
  readonly nowMs: number;
  readonly text: string | undefined;
}

/**
 * Keeps a state under one key of Redis, for all who use that key. Nobody locks it: a change is swapped in if the text is
 * still the one that was read, and made again of the newer one otherwise, which costs one round trip. A text that nobody
 * changed for an hour is forgotten. Whether commands wait for a connection that is lost, or fail, is up to `redis`.
 */
export function createRedisState(redis: Redis, key: string): SharedState {
  const commands = commandsOf(redis);
  const update = async <T>(
    change: (current: string | undefined, nowMs: number) => StateChange<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> => {
    let reading: Reading | undefined;
    for (let attempt = 1; ; attempt += 1) {
      signal?.throwIfAborted();
      reading ??= readingOf(await untilAborted(commands.ferryReadState(key), signal));
      const { next, result } = change(reading.text, reading.nowMs);
      if (next === undefined || next === reading.text) return result;
      signal?.throwIfAborted();
      const swap = commands.ferrySwapState(key, reading.text ?? '', next, String(EXPIRY_MS));
      const newer = await untilAborted(swap, signal);
      if (newer === null) return result;
      reading = readingOf(newer);
      if (attempt >= PROMPT_ATTEMPTS) {
        await pause(attempt - PROMPT_ATTEMPTS, signal);
        // It would hardly be the newest any more.
        reading = undefined;
      }
    }
  };
  return { update };
}

/**
 * The key under which the pace at a host is kept. Shape: `ferry:rate:https://ghcr.io:user`, `…:anonymous`; user names are
 * percent-encoded where they could be taken for anything else.
 */
export function rateKeyOf(prefix: string, origin: string, identity: string | undefined): string {
  // Nobody's name has an `@` before it.
  return `${prefix}:rate:${origin}:${identity === undefined ? 'anonymous' : `@${encodeURIComponent(identity)}`}`;
}

function commandsOf(redis: Redis): Redis & StateCommands {
  // Scripts go by their digest once a connection has sent them, and in full again after Redis has lost them.
  if (!('ferryReadState' in redis)) {
    redis.defineCommand('ferryReadState', { numberOfKeys: 1, lua: READ });
    redis.defineCommand('ferrySwapState', { numberOfKeys: 1, lua: SWAP });
  }
  return redis as Redis & StateCommands;
}

function readingOf([seconds, microseconds, text]: Answer): Reading {
  return {
    nowMs: Number(seconds) * 1000 + Number(microseconds) / 1000,
    text: text === null || text === '' ? undefined : text,
  };
}

/** With full jitter, or those who met would meet again. */
async function pause(conflicts: number, signal: AbortSignal | undefined): Promise<void> {
  const ms = Math.random() * Math.min(MAX_PAUSE_MS, BASE_PAUSE_MS * 2 ** conflicts);
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
