import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isFerryError } from '#ferry/errors.js';
import { parseQueueName, parseRedisUrl } from '#ferry/queue/redis-url.js';

const SECRET = 'hunter2';

describe('URL of a queue', () => {
  test('has host, port, database, user and password', () => {
    expect(parseRedisUrl('redis://mirror:p%40ss@redis.example:7000/3')).toEqual({
      host: 'redis.example',
      port: 7000,
      database: 3,
      isTls: false,
      username: 'mirror',
      password: 'p@ss',
      url: 'redis://redis.example:7000/3',
    });
  });

  test.each([
    ['redis://localhost', 'redis://localhost:6379/0', false],
    ['redis://localhost/', 'redis://localhost:6379/0', false],
    ['valkey://cache_1:1', 'valkey://cache_1:1/0', false],
    ['rediss://127.0.0.1:6380/1', 'rediss://127.0.0.1:6380/1', true],
    ['valkeys://[::1]:6380', 'valkeys://[::1]:6380/0', true],
    ['REDIS://:pw@localhost', 'redis://localhost:6379/0', false],
  ])('%s is shown as %s', (text, url, isTls) => {
    expect(parseRedisUrl(text)).toMatchObject({ url, isTls });
  });

  test('an IPv6 address is asked for without its brackets', () => {
    expect(parseRedisUrl('redis://[::1]:7000').host).toBe('::1');
  });

  test('a password beside it counts where it has none', () => {
    expect(parseRedisUrl('redis://localhost', 'other').password).toBe('other');
    expect(parseRedisUrl('redis://mirror@localhost', 'other')).toMatchObject({
      username: 'mirror',
      password: 'other',
    });
    expect(parseRedisUrl('redis://:own@localhost', 'other').password).toBe('own');
    expect(parseRedisUrl('redis://localhost', '').password).toBeUndefined();
  });

  test.each([
    `localhost:${SECRET}`,
    SECRET,
    '',
    `http://:${SECRET}@localhost`,
    `redis:${SECRET}`,
    `redis:///${SECRET}`,
    `redis://:${SECRET}@`,
    `redis://:${SECRET}@localhost:99999`,
    `redis://:${SECRET}@localhost:0`,
    `redis://:${SECRET}@localhost/jobs`,
    `redis://:${SECRET}@localhost/0/1`,
    `redis://:${SECRET}@localhost/123456`,
    `redis://:${SECRET}@localhost?db=1`,
    `redis://:${SECRET}@localhost#1`,
    `redis://:${SECRET}%zz@localhost`,
    `redis://:${SECRET}@local host`,
    // A password with signs that end a host.
    `redis://:${SECRET}/${SECRET}@localhost:6379`,
    `redis://:${SECRET}#${SECRET}@localhost:6379`,
    `redis://u:12/${SECRET}@localhost:6379`,
    `redis://${SECRET}%20${SECRET}`,
  ])('%j is refused without showing it', (text) => {
    const error = thrownBy(() => parseRedisUrl(text));
    expect(error).toMatchObject({ code: 'USAGE' });
    expect(`${error.message} ${error.hint ?? ''}`).not.toContain(SECRET);
    expect(error.message).toMatch(/^the URL of the queue /);
    expect(error.hint).toContain('redis://');
  });

  test('user and password of any letters come back', () => {
    const secret = fc.string({ minLength: 1, unit: 'grapheme' });
    fc.assert(
      fc.property(secret, secret, fc.integer({ min: 1, max: 65535 }), (username, password, port) => {
        const userinfo = `${encodeURIComponent(username)}:${encodeURIComponent(password)}`;
        const address = parseRedisUrl(`rediss://${userinfo}@redis.example:${port}/7`);
        expect(address).toMatchObject({ username, password, port, database: 7 });
        expect(address.url).toBe(`rediss://redis.example:${port}/7`);
      }),
    );
  });
});

describe('name of a queue', () => {
  test.each(['mirror', 'a', '0', 'conda-forge_2.x', 'a'.repeat(64)])('%s is one', (name) => {
    expect(parseQueueName(name)).toBe(name);
  });

  test.each(['', 'Mirror', 'a:b', '-a', '.a', 'a b', 'a'.repeat(65), 'a\n', 'ä', '{a}', '*'])(
    '%j is none',
    (name) => {
      expect(thrownBy(() => parseQueueName(name))).toMatchObject({ code: 'USAGE' });
    },
  );
});

function thrownBy(work: () => unknown) {
  try {
    work();
  } catch (error) {
    if (isFerryError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
