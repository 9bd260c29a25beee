import { hostname } from 'node:os';
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

/** Takes the lease. */
export async function acquireLease(queue: QueueRedis): Promise<AsyncDisposable> {
  const lease: Lease = { host: hostname(), pid: process.pid, startedAt: new Date().toISOString() };
  await queue.redis.set(queue.key('lease'), JSON.stringify(lease));
  return {
    [Symbol.asyncDispose]: async () => {
      await queue.redis.del(queue.key('lease'));
    },
  };
}
