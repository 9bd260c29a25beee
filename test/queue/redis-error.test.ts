import { ReplyError } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import { queueError } from '#ferry/queue/queue-redis.js';
import { answerOf } from '#ferry/queue/redis-error.js';

const QUEUE = { url: 'redis://localhost:6379/0' };

function reply(text: string, more: object = {}): Error {
  return Object.assign(new (ReplyError as new (text: string) => Error)(text), more);
}

function systemError(code: string, message = `connect ${code} 127.0.0.1:6379`): Error {
  return Object.assign(new Error(message), { code });
}

describe('replies of Redis', () => {
  test.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", 'QUEUE_FULL'],
    ["OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:7.", 'QUEUE_FULL'],
    ['ERR Error running script (call to f_1f): @user_script:7: -OOM command not allowed when', 'QUEUE_FULL'],
    ['EXECABORT Transaction discarded because of: OOM command not allowed', 'QUEUE_FULL'],
    ['NOAUTH Authentication required.', 'QUEUE_REFUSED'],
    ['WRONGPASS invalid username-password pair or user is disabled.', 'QUEUE_REFUSED'],
    ["NOPERM this user has no permissions to run the 'info' command", 'QUEUE_REFUSED'],
    ["ERR The user executing the script can't run this command or subcommand script: db8", 'QUEUE_REFUSED'],
    ["READONLY You can't write against a read only replica.", 'QUEUE_UNFIT'],
    ['MISCONF Redis is configured to save RDB snapshots', 'QUEUE_UNFIT'],
    ['CLUSTERDOWN The cluster is down', 'QUEUE_UNFIT'],
    ['MOVED 3999 127.0.0.1:6381', 'QUEUE_UNFIT'],
    ['NOREPLICAS Not enough good replicas to write.', 'QUEUE_UNFIT'],
    ['LOADING Redis is loading the dataset in memory', 'QUEUE_UNREACHABLE'],
  ])('%j', (text, code) => {
    expect(queueError(reply(text), QUEUE)).toMatchObject({
      code,
      message: expect.stringContaining(QUEUE.url) as string,
    });
  });

  test('a transaction fails for what one of its commands did', () => {
    const previousErrors = [reply("OOM command not allowed when used memory > 'maxmemory'.")];
    const error = reply('EXECABORT Transaction discarded because of previous errors.', { previousErrors });
    expect(queueError(error, QUEUE)?.code).toBe('QUEUE_FULL');
  });

  test('what lies behind another error counts as well', () => {
    const cause = reply('NOPERM no permissions');
    expect(queueError(new Error('adding jobs', { cause }), QUEUE)?.code).toBe('QUEUE_REFUSED');
    expect(queueError(new AggregateError([new Error('x'), cause]), QUEUE)?.code).toBe('QUEUE_REFUSED');
  });

  test('the command, which may hold a password, is not kept', () => {
    const error = reply('WRONGPASS invalid', { command: { name: 'auth', args: ['hunter2'] } });
    expect(JSON.stringify(Object.entries(queueError(error, QUEUE)!))).not.toContain('hunter2');
    expect(queueError(error, QUEUE)?.cause).toBeUndefined();
  });
});

describe('the connection', () => {
  test.each([
    [systemError('ECONNREFUSED'), 'connect ECONNREFUSED'],
    [systemError('ENOTFOUND', 'getaddrinfo ENOTFOUND redis.example'), 'getaddrinfo ENOTFOUND'],
    [systemError('ECONNREFUSED', ''), ': ECONNREFUSED'],
    [systemError('ERR_TLS_CERT_ALTNAME_INVALID', 'Hostname/IP does not match'), 'Hostname/IP'],
    [new Error('Connection is closed.'), 'the connection was closed'],
    [Object.assign(new Error('connect ETIMEDOUT'), { code: 'ETIMEDOUT' }), 'no connection in time'],
  ])('%s', (error, text) => {
    expect(queueError(error, QUEUE)).toMatchObject({
      code: 'QUEUE_UNREACHABLE',
      message: expect.stringContaining(text) as string,
      hint: expect.any(String) as string,
    });
  });

  test('a certificate of an unknown authority, and a Redis without TLS, have hints of their own', () => {
    expect(queueError(systemError('DEPTH_ZERO_SELF_SIGNED_CERT'), QUEUE)?.hint).toContain('--queue-ca-file');
    expect(queueError(systemError('ERR_SSL_WRONG_VERSION_NUMBER'), QUEUE)?.hint).toContain('redis://');
  });
});

describe('what is no matter of Redis', () => {
  test.each([
    new Error('anything'),
    new FerryError('NETWORK', 'a registry'),
    new DOMException('aborted', 'AbortError'),
    systemError('ENOENT', 'no such file'),
    reply('ERR wrong number of arguments'),
    'text',
    undefined,
  ])('%s', (error) => {
    expect(queueError(error, QUEUE)).toBeUndefined();
  });
});

describe('waiting for an answer', () => {
  test('maps errors, and leaves others alone', async () => {
    await expect(answerOf(QUEUE, Promise.reject(reply('OOM x')))).rejects.toMatchObject({
      code: 'QUEUE_FULL',
    });
    await expect(answerOf(QUEUE, Promise.reject(new Error('x')))).rejects.toThrow('x');
  });

  test('ends with the signal', async () => {
    const never = new Promise<string>(() => undefined);
    const reason = new Error('enough');
    const ends = new AbortController();
    const waiting = answerOf(QUEUE, never, ends.signal);
    ends.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(answerOf(QUEUE, Promise.reject(new Error('late')), ends.signal)).rejects.toBe(reason);
  });
});
