/** The way to Redis: opened once for a command, checked before anything is done, and patient from then on. */
import type { Redis } from 'ioredis';

/** Prefix of all keys. */
export const KEY_PREFIX = 'conda-ferry';
/** Name of a queue where nobody chose one. */
export const DEFAULT_QUEUE_NAME = 'mirror';

/** A queue in a Redis that is fit for it. */
export interface QueueRedis extends AsyncDisposable {
  /** For commands; BullMQ makes its own copies. It waits for Redis to come back, however long. */
  readonly redis: Redis;
  /** For people, without secrets: `redis://127.0.0.1:6379/0`. */
  readonly url: string;
  /** Such as `mirror`; queues of several names share a Redis. */
  readonly name: string;
  /** Key of this queue, such as `conda-ferry:mirror:run` for `run`. */
  key(...parts: readonly string[]): string;
}

/** What an error of Redis means. */
export function queueError(_error: unknown, _queue: QueueRedis): Error | undefined {
  return undefined;
}
