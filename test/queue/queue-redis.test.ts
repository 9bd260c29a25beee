import { QueueKeys } from 'bullmq';
import { describe, expect, test } from 'vitest';
import { KEY_PREFIX, openQueueRedis, queueKey } from '#ferry/queue/queue-redis.js';

/** As the queue numbers its jobs; BullMQ has keys of them, with and without something behind. */
const JOB_KEY = /^conda-ferry:mirror:[0-9a-z]+-\d+(?::|$)/;

describe('keys of a queue', () => {
  test.each([['run'], ['lease'], ['lease', 'last'], ['probe'], ['worker', 'm3k9x2ab-17'], ['workers']])(
    '%s %s is none of BullMQ',
    (...parts) => {
      const key = queueKey('mirror', ...parts.filter((part) => typeof part === 'string'));
      expect(key.startsWith('conda-ferry:mirror:')).toBe(true);
      expect(Object.values(new QueueKeys(KEY_PREFIX).getKeys('mirror'))).not.toContain(key);
      expect(key).not.toMatch(JOB_KEY);
    },
  );
});

describe('opening', () => {
  test('refuses what it cannot read before it connects', async () => {
    const url = 'redis://:hunter2@127.0.0.1:1';
    for (const options of [{ url: `${url}/x` }, { url, name: 'a:b' }]) {
      await expect(openQueueRedis(options)).rejects.toMatchObject({ code: 'USAGE' });
    }
  });
});
