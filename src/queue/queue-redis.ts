/** The way to Redis: opened once for a command, checked before anything is done, and patient from then on. */
import { rootCertificates } from 'node:tls';
import { Redis, type RedisOptions } from 'ioredis';
import { FerryError } from '../errors.js';
import { withDeadline } from '../io/deadline.js';
import { checkRedis, type CheckRedisOptions } from './check-redis.js';
import { answerInTime, connectionError, isReply, PASSWORD_HINT, queueError } from './redis-error.js';
import { parseQueueName, parseRedisUrl, type RedisAddress } from './redis-url.js';
import { RedisWatch } from './redis-watch.js';

export { queueError } from './redis-error.js';

/** Prefix of all keys. */
export const KEY_PREFIX = 'conda-ferry';
/** Name of a queue where nobody chose one. */
export const DEFAULT_QUEUE_NAME = 'mirror';

const CONNECT_MS = 10_000;
/** How long a connection that is given up may take to end by itself. */
const DISCONNECT_MS = 500;
const QUIT_MS = 2000;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 5000;
/** Longest pause between two looks whether Redis has read its data after a restart. */
const LOADING_PAUSE_MS = 2000;
const KEEP_ALIVE_MS = 10_000;

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
export interface QueueRedisOptions {
  /** `redis://[user:password@]host[:port][/database]`; `rediss://` for TLS; `valkey://` and `valkeys://` mean the same. */
  readonly url: string;
  /** Up to 64 of a-z, 0-9, `.`, `_`, `-`. @defaultValue `mirror` */
  readonly name?: string | undefined;
  /** Used where the URL has none. */
  readonly password?: string | undefined;
  /** Certificates, as PEM text, of an authority to trust besides the usual ones. */
  readonly ca?: string | undefined;
  /** Whether a Redis without memory left will do: for looking at a queue, and for emptying it. @defaultValue false */
  readonly allowFull?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told in a line of text of what is no error: Redis is away, or back, or keeps nothing on disk. */
  readonly onTrouble?: ((text: string) => void) | undefined;
}

interface Login {
  readonly username?: string;
  readonly password?: string;
}

/**
 * Opens the way to a queue. The first connection must come about within some ten seconds, and Redis be fit for a queue; nothing
 * is written. From then on it is waited for, however long it is away.
 * @throws FerryError `USAGE`, `QUEUE_UNREACHABLE`, `QUEUE_REFUSED`, `QUEUE_UNFIT`, `QUEUE_FULL`
 */
export async function openQueueRedis(options: QueueRedisOptions): Promise<QueueRedis> {
  const { signal = new AbortController().signal, onTrouble = () => undefined } = options;
  const address = parseRedisUrl(options.url, options.password);
  const name = parseQueueName(options.name ?? DEFAULT_QUEUE_NAME);
  const key = (...parts: readonly string[]): string => queueKey(name, ...parts);
  signal.throwIfAborted();
  const line = lineOptions(address, options.ca);
  const login = await tryConnection(address, line, {
    probeKey: key('probe'),
    allowFull: options.allowFull,
    signal,
    onTrouble,
  });
  const redis = new Redis({
    ...line,
    ...login,
    db: address.database,
    connectionName: `${KEY_PREFIX}:${name}`,
    maxLoadingRetryTime: LOADING_PAUSE_MS,
    retryStrategy: (times) => Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(times - 1, 10)),
  });
  const { url } = address;
  try {
    await connect(redis, url, signal);
  } catch (error) {
    await endConnection(redis);
    throw error;
  }
  const watch = new RedisWatch({ redis, url }, onTrouble);
  return {
    redis,
    url,
    name,
    key,
    [Symbol.asyncDispose]: async () => {
      watch.stop();
      if (redis.status === 'ready') await quit(redis);
      await endConnection(redis);
    },
  };
}

/**
 * Key of a queue: `conda-ferry:mirror:worker:a` for `worker`, `a` of the queue `mirror`. BullMQ's keys have the same beginning:
 * its prefix and its queue's name are ours.
 */
export function queueKey(name: string, ...parts: readonly string[]): string {
  return [KEY_PREFIX, name, ...parts].join(':');
}

/** What both connections have in common. Errors of a connection that nobody hears would be printed. */
function lineOptions(address: RedisAddress, ca: string | undefined): RedisOptions {
  return {
    host: address.host,
    port: address.port,
    ...(address.isTls ? { tls: ca === undefined ? {} : { ca: [...rootCertificates, ca] } } : {}),
    lazyConnect: true,
    connectTimeout: CONNECT_MS,
    disconnectTimeout: DISCONNECT_MS,
    keepAlive: KEEP_ALIVE_MS,
    disableClientInfo: true,
    // As BullMQ wants it: a command waits for Redis, and does not fail because Redis is away for a while.
    maxRetriesPerRequest: null,
  };
}

/**
 * Tries a connection of its own that is not made again when it breaks: so each wrong setting is one answer. What has to be sent
 * to log in comes out of it.
 */
async function tryConnection(
  address: RedisAddress,
  line: RedisOptions,
  options: CheckRedisOptions,
): Promise<Login> {
  const { url } = address;
  const { signal, onTrouble } = options;
  const redis = new Redis({ ...line, enableReadyCheck: false, retryStrategy: () => null });
  try {
    await connect(redis, url, signal);
    const login = await answerInTime({ url }, signal, async () => logIn(redis, address, onTrouble));
    // Asked for here, since ioredis goes on with database 0 where there is no such one.
    if (address.database > 0) await answerInTime({ url }, signal, async () => redis.select(address.database));
    await checkRedis({ redis, url }, options);
    return login;
  } finally {
    await endConnection(redis);
  }
}

async function connect(redis: Redis, url: string, signal: AbortSignal): Promise<void> {
  let last: Error | undefined;
  redis.on('error', (error: Error) => {
    last = error;
  });
  await answerInTime({ url }, signal, async () => {
    try {
      await redis.connect();
    } catch (error) {
      // That the connection ended is what `connect` says; why it did was said before.
      const reason = last ?? error;
      throw queueError(reason, { url }) ?? (reason instanceof Error ? connectionError(reason, url) : reason);
    }
  });
}

/** Logs in where there is something to log in with. */
async function logIn(
  redis: Redis,
  { username, password, url }: RedisAddress,
  onTrouble: (text: string) => void,
): Promise<Login> {
  if (username === undefined && password === undefined) return {};
  const login = { ...(username === undefined ? {} : { username }), password: password ?? '' };
  try {
    await (username === undefined
      ? redis.call('AUTH', login.password)
      : redis.call('AUTH', username, login.password));
    return login;
  } catch (error) {
    if (!isReply(error) || queueError(error, { url }) !== undefined) throw error;
    // A Redis without a password takes it for a mistake to be sent one.
    if (await isOpen(redis, url)) {
      onTrouble(`Redis at \`${url}\` asks for no password: the one it was given is not used`);
      return {};
    }
    // Its own words are not shown: what knows no `AUTH` may repeat what it was sent.
    throw new FerryError('QUEUE_REFUSED', `Redis at \`${url}\` does not take the user name or the password`, {
      hint: PASSWORD_HINT,
    });
  }
}

/** Whether it serves who did not log in. */
async function isOpen(redis: Redis, url: string): Promise<boolean> {
  try {
    await redis.ping();
    return true;
  } catch (error) {
    if (!isReply(error)) throw error;
    // That it still reads its data, or that this command is not for everybody.
    return queueError(error, { url }) !== undefined && !error.message.startsWith('NOAUTH');
  }
}

/** Lets Redis answer what it was sent, if it answers at all. */
async function quit(redis: Redis): Promise<void> {
  await withDeadline(QUIT_MS, new AbortController().signal, async () => redis.quit()).catch(() => undefined);
}

/** Ends a connection whatever it is at; commands that still wait for an answer fail. */
async function endConnection(redis: Redis): Promise<void> {
  if (redis.status === 'end') return;
  const ended = new Promise<void>((resolve) => {
    redis.once('end', () => {
      resolve();
    });
  });
  // Between two attempts there is no socket whose end ioredis could see, and commands would wait for ever: so one more attempt
  // is begun, and ended before it gets to the network.
  if (redis.status === 'reconnecting') redis.connect().catch(() => undefined);
  redis.disconnect();
  await ended;
}
