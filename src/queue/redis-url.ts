/** Where a Redis is, as people write it. */
import { FerryError } from '../errors.js';

/** Form of a URL, for messages. */
const FORM = '`redis://[user:password@]host[:port][/database]`, or `rediss://…` for TLS';
const DEFAULT_PORT = 6379;
const SCHEMES: ReadonlyMap<string, boolean> = new Map([
  ['redis:', false],
  ['rediss:', true],
  ['valkey:', false],
  ['valkeys:', true],
]);
/** Names of hosts, addresses too; an underscore is what container networks have. */
const HOST = /^(?:[\w.-]+|\[[0-9a-f:.]+\])$/i;
const QUEUE_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Parts of a Redis URL. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly database: number;
  readonly isTls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** For people, without user and password: `redis://127.0.0.1:6379/0`. */
  readonly url: string;
}

/**
 * Parses `redis://`, `rediss://`, `valkey://` and `valkeys://`; the last letter asks for TLS. `password` is used where the URL
 * has none.
 * @throws FerryError `USAGE`; its message has nothing of the text, which may hold a password in any place
 */
export function parseRedisUrl(text: string, password?: string): RedisAddress {
  if (!URL.canParse(text)) throw unreadable('is no URL');
  const url = new URL(text);
  const isTls = SCHEMES.get(url.protocol);
  if (isTls === undefined) throw unreadable('does not begin with `redis://` or `rediss://`');
  if (!HOST.test(url.hostname)) throw unreadable('names no host');
  if (url.search !== '' || url.hash !== '') throw unreadable('has more than host, port and database');
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (database === undefined) throw unreadable('ends in something else than the number of a database');
  const port = url.port === '' ? DEFAULT_PORT : Number(url.port);
  if (port === 0) throw unreadable('names port 0');
  const username = url.username === '' ? undefined : decode(url.username);
  const own = url.password === '' ? undefined : decode(url.password);
  const number = Number(database);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    database: number,
    isTls,
    username,
    password: own ?? (password === '' ? undefined : password),
    url: `${url.protocol}//${url.hostname}:${String(port)}/${String(number)}`,
  };
}

/**
 * Checks the name of a queue, such as `mirror`. It stands in the keys, whose parts are divided by colons.
 * @throws FerryError `USAGE`
 */
export function parseQueueName(text: string): string {
  if (QUEUE_NAME.test(text)) return text;
  throw new FerryError('USAGE', 'the name of the queue cannot be used', {
    hint: 'write up to 64 of a-z, 0-9, `.`, `_` and `-`, and a letter or a digit first',
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw unreadable('has a `%` that begins no `%XX`');
  }
}

function unreadable(why: string): FerryError {
  return new FerryError('USAGE', `the URL of the queue ${why}`, {
    hint: `write ${FORM}; in user and password, write what is no letter or digit as \`%XX\``,
  });
}
