/** What the processes of a queue share of registries' patience, and how to look at it from outside. */
import { z } from 'zod';
import type { SharedState } from '../io/shared-state.js';
import { KEY_PREFIX, type QueueRedis } from './queue-redis.js';
import { createRedisState, rateKeyOf } from './redis-state.js';

/** The queues of one Redis share them: a registry does not tell mirrors apart. */
const NAMES_KEY = `${KEY_PREFIX}:rates`;

const nameSchema = z.tuple([z.string(), z.string().nullable()]);

/** One registry's patience with one credential. */
export interface Budget {
  /** Such as `https://ghcr.io`. */
  readonly origin: string;
  /** User name, or the kind of the credential; `undefined` without one. */
  readonly identity: string | undefined;
  /** What the limiters keep, in their own words. */
  readonly text: string | undefined;
  /** The clock that they go by: milliseconds since 1970. */
  readonly nowMs: number;
}

/** Opens the budget of a registry and a credential. With its first change it shows in {@link readBudgets}. */
export function openBudget(queue: QueueRedis, origin: string, identity: string | undefined): SharedState {
  const name = JSON.stringify([origin, identity ?? null]);
  const state = createRedisState(queue.redis, rateKeyOf(KEY_PREFIX, origin, identity));
  let isNamed = false;
  return {
    update: async (change, signal) => {
      if (!isNamed) await queue.redis.sadd(NAMES_KEY, name);
      isNamed = true;
      return state.update(change, signal);
    },
  };
}

/** Reads all budgets, by origin and identity, and changes none. */
export async function readBudgets(queue: QueueRedis): Promise<readonly Budget[]> {
  const names = await queue.redis.smembers(NAMES_KEY);
  const budgets: Budget[] = [];
  for (const name of names.sort()) {
    const [origin, identity] = nameSchema.parse(JSON.parse(name));
    const key = rateKeyOf(KEY_PREFIX, origin, identity ?? undefined);
    const state = createRedisState(queue.redis, key);
    const seen = await state.update((text, nowMs) => ({ next: undefined, result: { text, nowMs } }));
    budgets.push({ origin, identity: identity ?? undefined, ...seen });
  }
  return budgets;
}
