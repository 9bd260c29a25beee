/** What Redis, or the way to it, answers instead of a result, as errors of ours. */
import type { Redis } from 'ioredis';
import { FerryError, isFerryError, type FerryErrorCode } from '../errors.js';
import { withDeadline } from '../io/deadline.js';
import { redactText } from '../io/redact.js';
import { untilAborted } from '../io/single-flight.js';
import { visibleText } from '../io/visible-text.js';

const MAX_REPLY_LENGTH = 200;
/** For an answer that comes at once, or not at all. */
const ANSWER_MS = 10_000;

/** A Redis, and how people know it. */
export interface RedisPlace {
  readonly redis: Redis;
  /** For people, without secrets. */
  readonly url: string;
}

/** What Redis can be at fault for. */
type ReplyCode = Extract<
  FerryErrorCode,
  'QUEUE_FULL' | 'QUEUE_REFUSED' | 'QUEUE_UNFIT' | 'QUEUE_UNREACHABLE'
>;

/** First words of error replies. Those that are missing are faults of the one who asked. */
const REPLIES: ReadonlyMap<string, ReplyCode> = new Map<string, ReplyCode>([
  ['OOM', 'QUEUE_FULL'],
  ['NOAUTH', 'QUEUE_REFUSED'],
  ['WRONGPASS', 'QUEUE_REFUSED'],
  ['NOPERM', 'QUEUE_REFUSED'],
  // Its protected mode: without a password it serves its own machine only.
  ['DENIED', 'QUEUE_REFUSED'],
  ['READONLY', 'QUEUE_UNFIT'],
  ['MISCONF', 'QUEUE_UNFIT'],
  ['NOREPLICAS', 'QUEUE_UNFIT'],
  ['MASTERDOWN', 'QUEUE_UNFIT'],
  ['CLUSTERDOWN', 'QUEUE_UNFIT'],
  ['CROSSSLOT', 'QUEUE_UNFIT'],
  ['MOVED', 'QUEUE_UNFIT'],
  ['ASK', 'QUEUE_UNFIT'],
  ['LOADING', 'QUEUE_UNREACHABLE'],
  ['BUSY', 'QUEUE_UNREACHABLE'],
]);
const WORDS = [...REPLIES.keys()].join('|');
const FIRST_WORD = new RegExp(`^((${WORDS})\\b.*)`, 's');
/** A script, or a transaction, tells behind its own words why it failed: `… @user_script:1: -OOM command …`. */
const WORD_WITHIN = new RegExp(`(?:: |-)((${WORDS}) .*)`, 's');
/** What Redis 7 says, without a word of its own, of a script whose user may not do what it does. */
const RIGHTS_OF_SCRIPT = /(?:user executing the script can't|ACL failure in script)\b.*/s;

const CONNECTION_CODES: readonly string[] = [
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'ENOTCONN', 'EPROTO'],
  ...['EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ENETDOWN', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN'],
];
const TLS_CODE =
  /^(?:ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|HOSTNAME_MISMATCH)/;
const UNTRUSTED_CODE = /^(?:UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA)/;
/** All that ioredis says, as plain errors, of a command that was waiting when a connection was given up. */
const CLOSED_MESSAGES: readonly string[] = ['Connection is closed.', 'connect ETIMEDOUT'];

/**
 * Says what an error of Redis, of ioredis or of BullMQ means; `undefined` for all that is no matter of Redis. Nothing of ioredis
 * is kept as cause, since its errors carry the command, be it `AUTH` with the password.
 * @returns FerryError `QUEUE_FULL`, `QUEUE_REFUSED`, `QUEUE_UNFIT` or `QUEUE_UNREACHABLE`
 */
export function queueError(error: unknown, queue: { readonly url: string }): FerryError | undefined {
  if (!(error instanceof Error) || isFerryError(error)) return undefined;
  const reply = findReply(error);
  if (reply !== undefined) return replyError(reply.code, reply.text, queue.url);
  return isOfConnection(error) ? connectionError(error, queue.url) : undefined;
}

/**
 * Waits for an answer of Redis, however long it is away, but no longer than the signal lets it. The command itself is not taken
 * back: it is sent when Redis is there again.
 * @throws FerryError as {@link queueError}; the reason of `signal`
 */
export async function answerOf<T>(
  queue: { readonly url: string },
  answer: Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  try {
    if (signal?.aborted === true) {
      // Nobody looks at what comes of it.
      answer.catch(() => undefined);
      signal.throwIfAborted();
    }
    return await untilAborted(answer, signal);
  } catch (error) {
    throw queueError(error, queue) ?? error;
  }
}

/**
 * Waits for an answer of a Redis that was just reached: ten seconds are plenty, and whatever it refuses makes it unfit.
 * @throws FerryError as {@link queueError}; the reason of `signal`
 */
export async function answerInTime<T>(
  queue: { readonly url: string },
  signal: AbortSignal,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await withDeadline(ANSWER_MS, signal, ask);
  } catch (error) {
    const known = queueError(error, queue);
    if (known !== undefined) throw known;
    if (isReply(error)) throw replyError('QUEUE_UNFIT', error.message, queue.url);
    if (!isFerryError(error, 'TIMEOUT')) throw error;
    const within = `within ${String(ANSWER_MS / 1000)} s`;
    throw new FerryError('QUEUE_UNREACHABLE', `no Redis answers at \`${queue.url}\` ${within}`, {
      hint: connectionHint(undefined),
    });
  }
}

/** Whether Redis answered, and what it said was an error. */
export function isReply(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError';
}

/** An error for a reply whose first word is, or means, `code`. */
function replyError(code: ReplyCode, text: string, url: string): FerryError {
  const reply = shown(text);
  switch (code) {
    case 'QUEUE_FULL':
      return new FerryError(code, `Redis at \`${url}\` has no memory left: ${reply}`, { hint: FULL_HINT });
    case 'QUEUE_REFUSED':
      return new FerryError(code, `Redis at \`${url}\` refuses: ${reply}`, {
        hint: /^NOPERM/.test(text) ? RIGHTS_HINT : PASSWORD_HINT,
      });
    case 'QUEUE_UNREACHABLE':
      return new FerryError(code, `Redis at \`${url}\` does not answer yet: ${reply}`);
    case 'QUEUE_UNFIT':
      return new FerryError(code, `Redis at \`${url}\` does not do what a queue needs: ${reply}`, {
        hint: UNFIT_HINT,
      });
  }
}

/** What to do about too little memory. */
export const FULL_HINT = 'give Redis more memory (`maxmemory`), or mirror a part at a time';
/** What to do about a wrong user or password. */
export const PASSWORD_HINT =
  'write user and password into the URL of the queue, or the password into `CONDA_FERRY_QUEUE_PASSWORD`';
const RIGHTS_HINT = 'a queue needs a user with `~conda-ferry:*` and `+@all -@dangerous +info`';
const UNFIT_HINT = 'a queue needs one Redis that takes writes and scripts: no replica, no cluster';

/** An error for a connection that did not come about, or broke. */
export function connectionError(error: Error, url: string): FerryError {
  if (error.name === 'ParserError') {
    return new FerryError('QUEUE_UNREACHABLE', `what answers at \`${url}\` is no Redis`, {
      hint: 'check host and port of the URL of the queue; with TLS it begins with `rediss://`',
    });
  }
  const code = codeOf(error);
  const why = error.message === '' ? (code ?? 'no connection') : shown(error.message);
  const text = CLOSED_MESSAGES.includes(error.message) ? closedText(error.message) : why;
  return new FerryError('QUEUE_UNREACHABLE', `no Redis answers at \`${url}\`: ${text}`, {
    ...(code === undefined ? {} : { cause: error }),
    hint: connectionHint(code),
  });
}

function closedText(message: string): string {
  return message === 'connect ETIMEDOUT' ? 'no connection in time' : 'the connection was closed';
}

function connectionHint(code: string | undefined): string {
  if (code !== undefined && UNTRUSTED_CODE.test(code)) {
    return 'if you trust the authority of its certificate, pass it with `--queue-ca-file`';
  }
  if (code === 'EPROTO' || (code?.startsWith('ERR_SSL_') ?? false)) {
    return 'where Redis speaks no TLS, the URL of the queue begins with `redis://`';
  }
  return 'check the URL of the queue, and that Redis runs and can be reached from here';
}

/** Finds the reply that an error is about: of a script, of one command of a transaction, or behind another error. */
function findReply(error: Error): { readonly code: ReplyCode; readonly text: string } | undefined {
  // A transaction's own error only sums up what its commands said.
  for (const other of [...listOf(error, 'previousErrors'), ...listOf(error, 'errors'), error.cause]) {
    const found = other instanceof Error ? findReply(other) : undefined;
    if (found !== undefined) return found;
  }
  if (!isReply(error)) return undefined;
  const [refused] = RIGHTS_OF_SCRIPT.exec(error.message) ?? [];
  if (refused !== undefined) return { code: 'QUEUE_REFUSED', text: `NOPERM ${refused}` };
  const match = FIRST_WORD.exec(error.message) ?? WORD_WITHIN.exec(error.message);
  const [, text = '', word = ''] = match ?? [];
  const code = REPLIES.get(word);
  return code === undefined ? undefined : { code, text };
}

function listOf(error: Error, name: string): readonly unknown[] {
  const list: unknown = Reflect.get(error, name);
  return Array.isArray(list) ? (list as unknown[]) : [];
}

function isOfConnection(error: Error): boolean {
  if (error.name === 'ParserError' || error.name === 'MaxRetriesPerRequestError') return true;
  // Its own kind, and not that of an `AbortSignal`.
  if (error.name === 'AbortError' && 'command' in error) return true;
  if (CLOSED_MESSAGES.includes(error.message)) return true;
  const code = codeOf(error);
  return code !== undefined && (CONNECTION_CODES.includes(code) || TLS_CODE.test(code));
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function shown(text: string): string {
  return visibleText(redactText(text), MAX_REPLY_LENGTH);
}
