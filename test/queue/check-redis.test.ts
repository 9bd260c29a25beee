import { describe, expect, test } from 'vitest';
import { assertMemory, judgeRedis, memoryOf, parseRedisInfo } from '#ferry/queue/check-redis.js';

const URL = 'redis://localhost:6379/0';
const MIB = 1024 * 1024;
const FIT = {
  redis_version: '7.0.15',
  redis_mode: 'standalone',
  cluster_enabled: '0',
  role: 'master',
  maxmemory: '0',
  maxmemory_policy: 'noeviction',
  used_memory: '1000000',
};

function judge(changes: Readonly<Record<string, string | undefined>>): void {
  const all: Readonly<Record<string, string | undefined>> = { ...FIT, ...changes };
  const fields = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  judgeRedis(new Map(fields), URL);
}

describe('INFO', () => {
  test('is lines of names and values under headings', () => {
    const text =
      '# Server\r\nredis_version:7.0.15\r\n\r\n# Keyspace: none\r\nexecutable:/usr/bin:x\r\nempty:\r\n';
    expect([...parseRedisInfo(text)]).toEqual([
      ['redis_version', '7.0.15'],
      ['executable', '/usr/bin:x'],
      ['empty', ''],
    ]);
  });

  test('tells the memory in use but for what Redis does not count', () => {
    const memory = (text: string) => memoryOf(parseRedisInfo(text));
    expect(memory('used_memory:500\nmaxmemory:1000\nmem_not_counted_for_evict:100')).toEqual({
      usedBytes: 400,
      maxBytes: 1000,
    });
    expect(memory('used_memory:500\nmaxmemory:0')).toEqual({ usedBytes: 500, maxBytes: undefined });
    expect(memory('used_memory:lots')).toEqual({ usedBytes: 0, maxBytes: undefined });
  });
});

describe('a Redis is fit', () => {
  test.each([
    {},
    { redis_version: '6.2.0' },
    { redis_version: '10.0.0' },
    // Valkey, KeyDB, Dragonfly as they tell it.
    { redis_version: '7.2.4', valkey_version: '9.0.0', server_name: 'valkey' },
    { redis_version: '6.0.0', valkey_version: '9.0.0' },
    { redis_version: '6.3.4' },
    { redis_version: '7.4.0', dragonfly_version: 'df-v1.34.0', maxmemory_policy: undefined },
  ])('%j', (changes) => {
    expect(() => {
      judge(changes);
    }).not.toThrow();
  });
});

describe('a Redis is not fit', () => {
  test.each([
    [{ redis_version: '6.0.16' }, 'is of version 6.0.16', '6.2'],
    [{ redis_version: '5.0.3' }, 'is of version 5.0.3', '6.2'],
    [{ redis_version: undefined }, 'does not tell its version', '6.2'],
    [{ redis_version: 'unstable' }, 'is of version unstable', '6.2'],
    [{ redis_mode: 'sentinel' }, 'is a sentinel', 'that it watches'],
    [{ cluster_enabled: '1' }, 'is a node of a cluster', 'cluster-enabled'],
    [
      { role: 'slave', master_host: '10.0.0.1', master_port: '6379' },
      'is a replica, which takes no writes',
      '`10.0.0.1:6379`',
    ],
    [
      { maxmemory_policy: 'allkeys-lru' },
      'its eviction policy is `allkeys-lru`',
      'CONFIG SET maxmemory-policy noeviction',
    ],
    [{ maxmemory_policy: 'volatile-ttl' }, 'its eviction policy is `volatile-ttl`', 'noeviction'],
  ])('%j', (changes, what, hint) => {
    expect(() => {
      judge(changes);
    }).toThrow(
      expect.objectContaining({
        code: 'QUEUE_UNFIT',
        message: expect.stringContaining(what) as string,
        hint: expect.stringContaining(hint) as string,
      }),
    );
  });

  test('unless memory is left', () => {
    for (const memory of [
      { usedBytes: 1, maxBytes: 2 },
      { usedBytes: 1, maxBytes: undefined },
    ]) {
      expect(() => {
        assertMemory(memory, URL);
      }).not.toThrow();
    }
  });

  test('because its memory is used up', () => {
    expect(() => {
      assertMemory({ usedBytes: 4.25 * MIB, maxBytes: 4 * MIB }, URL);
    }).toThrow(
      expect.objectContaining({
        code: 'QUEUE_FULL',
        message: `Redis at \`${URL}\` has no memory left: 4.3 of 4.0 MiB are in use`,
        hint: expect.stringContaining('maxmemory') as string,
      }),
    );
  });
});
