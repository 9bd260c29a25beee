/** What the processes of all queues share of registries' patience, and how to look at it from outside. */
import { z } from 'zod';
import type { SharedState } from '../io/shared-state.js';
import { KEY_PREFIX, type QueueRedis } from './queue-redis.js';
import { createRedisState, rateKeyOf } from './redis-state.js';

/** The names of all budgets. */
const NAMES_KEY = `${KEY_PREFIX}:rates`;
const nameSchema = z.tuple([z.string(), z.string().nullable()]);

/** One registry's patience with one credential. */
export interface Budget {
  /** Such as `https://ghcr.io`. */
  readonly origin: string;
  /** User name, or the kind of the credential; `undefined` without one. */
  readonly identity: string | undefined;
  /** What the limiters keep, in their own words. */
  readonly text: string;
  /** The clock that they go by: milliseconds since 1970. */
  readonly nowMs: number;
}

/**
 * Opens the budget of a registry and a credential, the same for all queues of a Redis: it is the registry that counts. With
 * its first change it shows in {@link readBudgets}.
 */
export function openBudget({ redis }: QueueRedis, origin: string, identity: string | undefined): SharedState {
  const state = createRedisState(redis, rateKeyOf(KEY_PREFIX, origin, identity));
  let isNamed = false;
  return {
    update: async (change, signal) => {
      if (!isNamed) await redis.sadd(NAMES_KEY, JSON.stringify([origin, identity ?? null]));
      isNamed = true;
      return state.update(change, signal);
    },
  };
}

/** Reads all budgets that were used of late, by origin and identity, and changes none. */
export async function readBudgets({ redis }: QueueRedis): Promise<readonly Budget[]> {
  const budgets: Budget[] = [];
  for (const name of (await redis.smembers(NAMES_KEY)).sort()) {
    const [origin, identity] = nameSchema.parse(JSON.parse(name));
    const state = createRedisState(redis, rateKeyOf(KEY_PREFIX, origin, identity ?? undefined));
    const { text, nowMs } = await state.update((current, now) => ({
      next: undefined,
      result: { text: current, nowMs: now },
    }));
    if (text !== undefined) budgets.push({ origin, identity: identity ?? undefined, text, nowMs });
  }
  return budgets;
}
