import type { QueueRedis } from './queue-redis.js';
export async function roomFor(_queue: QueueRedis, _bytes: number): Promise<void> {}
