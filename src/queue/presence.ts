import type { QueueRedis } from './queue-redis.js';

/** A worker as it tells of itself. */
export interface WorkerPresence {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  readonly concurrency: number;
  /** ISO 8601, in UTC. */
  readonly startedAt: string;
  readonly archives: number;
  readonly failed: number;
  readonly bytes: number;
  readonly requests: { readonly source: number; readonly destination: number };
  readonly busy: number;
}

/** Lists the workers that are alive. */
export async function listWorkers(queue: QueueRedis): Promise<readonly WorkerPresence[]> {
  const texts = await queue.redis.hvals(queue.key('workers'));
  return texts.map((text) => JSON.parse(text) as WorkerPresence);
}
