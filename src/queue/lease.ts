import type { QueueRedis } from './queue-redis.js';

/** Who coordinates a run. */
export interface Lease {
  readonly host: string;
  readonly pid: number;
  /** ISO 8601, in UTC. */
  readonly startedAt: string;
}

/** Reads who coordinates; `undefined` where nobody does. */
export async function readLease(queue: QueueRedis): Promise<Lease | undefined> {
  const text = await queue.redis.get(queue.key('lease'));
  return text === null ? undefined : (JSON.parse(text) as Lease);
}
