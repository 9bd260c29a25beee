import type { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import type { QueueRedis } from '#ferry/queue/queue-redis.js';
import { checkVersion, checkWorker, isOver, readRun, type RunDescription } from '#ferry/queue/run-record.js';

const RUN: RunDescription = {
  ...{ id: 'm3k9x2ab', version: '1.2.3', host: 'ci-7', pid: 4711, startedAt: '2026-05-01T12:00:00.000Z' },
  ends: { source: 'https://conda.example/ch', plainHttp: true },
};
const PROGRESS = {
  ...{ pass: 2, subdir: 'noarch', archives: 10, archivesDone: 3, archivesFailed: 1, bytesDone: 99 },
  requests: { source: 4, destination: 20 },
};

/** A queue whose record has these fields. */
function queueOf(fields: Readonly<Record<string, string>>): QueueRedis {
  const redis = { hgetall: async () => Promise.resolve(fields) } as unknown as Redis;
  const end = async (): Promise<void> => Promise.resolve();
  return { redis, url: '', name: 'mirror', key: () => 'run', [Symbol.asyncDispose]: end };
}

describe('the record of a run', () => {
  test('is read with all that is in it', async () => {
    const fields = { run: JSON.stringify(RUN), state: 'failed', progress: JSON.stringify(PROGRESS) };
    const record = await readRun(queueOf({ ...fields, error: 'why', request: 'cancel' }));
    expect(record).toEqual({
      run: RUN,
      state: 'failed',
      progress: PROGRESS,
      error: 'why',
      request: 'cancel',
    });
  });

  test('tells no more than it has to where there is less', async () => {
    const record = await readRun(queueOf({ run: JSON.stringify(RUN), state: 'planning', progress: '{}' }));
    expect(record).toMatchObject({ run: RUN, state: 'planning', progress: undefined, request: undefined });
    expect(await readRun(queueOf({}))).toBeUndefined();
    // Asked for after Redis had lost everything.
    expect(await readRun(queueOf({ request: 'cancel' }))).toBeUndefined();
  });

  test.each([
    { run: '{', state: 'planning' },
    { run: '{}', state: 'planning' },
    { run: JSON.stringify({ ...RUN, ends: { source: 1 } }), state: 'planning' },
    { run: JSON.stringify(RUN), state: 'dreaming' },
    { run: JSON.stringify(RUN) },
  ])('that another version wrote is refused: %j', async (fields) => {
    await expect(readRun(queueOf(fields as Record<string, string>))).rejects.toMatchObject({
      code: 'VERSION_MISMATCH',
    });
  });

  test('is for the same version only, and says who has which', () => {
    checkVersion(RUN, '1.2.3');
    checkWorker(RUN, '1.2.3');
    expect(() => {
      checkVersion(RUN, '1.2.4');
    }).toThrow('the coordinator on ci-7 is conda-ferry 1.2.3, and this worker is 1.2.4');
    expect(() => {
      checkWorker(RUN, '1.2.4');
    }).toThrow('a worker on ci-7 is conda-ferry 1.2.3, and this coordinator is 1.2.4');
  });

  test('is over in four ways', () => {
    const states = [
      'planning',
      'carrying',
      'publishing',
      'stopping',
      'done',
      'interrupted',
      'cancelled',
      'failed',
    ];
    expect(states.filter((state) => isOver(state as 'done'))).toEqual(states.slice(4));
  });
});
