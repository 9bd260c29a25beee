/** The way to Redis: opened once for a command, checked before anything is done, and patient from then on. */
import { Redis } from 'ioredis';
import { FerryError } from '../errors.js';

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

/** Options of {@link openQueueRedis}. */
export interface OpenQueueRedisOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string;
  readonly name: string;
  readonly password?: string | undefined;
  /** PEM text. */
  readonly ca?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onTrouble?: ((message: string) => void) | undefined;
}

/** Opens the way to Redis. @throws FerryError `QUEUE_UNREACHABLE` */
export async function openQueueRedis(options: OpenQueueRedisOptions): Promise<QueueRedis> {
  const { url, name, password, ca } = options;
  const redis = new Redis(url, {
    ...(password === undefined ? {} : { password }),
    ...(ca === undefined ? {} : { tls: { ca } }),
    maxRetriesPerRequest: null,
    lazyConnect: true,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
  } catch (cause) {
    redis.disconnect();
    throw new FerryError('QUEUE_UNREACHABLE', 'no Redis answers', { cause });
  }
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  return {
    redis,
    url: `${shown.href.replace(/\/\d*$/, '')}/${shown.pathname.slice(1) || '0'}`,
    name,
    key: (...parts) => [KEY_PREFIX, name, ...parts].join(':'),
    [Symbol.asyncDispose]: async () => {
      await redis.quit();
    },
  };
}
