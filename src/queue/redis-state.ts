import type { SharedState } from '../io/shared-state.js';
import type { QueueRedis } from './queue-redis.js';

/** Opens a text that processes share, in Redis. */
export function openRedisState(queue: QueueRedis, key: string): SharedState {
  return {
    update: async (change) => {
      const current = (await queue.redis.get(key)) ?? undefined;
      const { next, result } = change(current, Date.now());
      if (next !== undefined) await queue.redis.set(key, next);
      return result;
    },
  };
}
