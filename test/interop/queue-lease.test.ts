import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest';
import { Resources } from '#ferry/io/resources.js';
import { acquireLease, readLease, type Lease } from '#ferry/queue/lease.js';
import { announceWorker, listWorkers, type WorkerFacts } from '#ferry/queue/presence.js';
import { openQueueRedis, type QueueRedis } from '#ferry/queue/queue-redis.js';
import { ROOT } from '../support/ferry.js';
import { startRedis, type StartedRedis } from '../support/redis.js';

const LEASE = 'conda-ferry:mirror:lease';
const HERE = { host: 'here', pid: 11, startedAt: '2026-05-01T12:00:00.000Z' };
const THERE = { host: 'there', pid: 22, startedAt: '2026-05-01T13:00:00.000Z' };
const THEIRS = JSON.stringify({ ...THERE, token: 'x' });
/** Short enough to be waited for, and long enough for a busy machine. */
const LIFETIME_MS = 3000;

let redis: StartedRedis;
let client: Redis;
let queue: QueueRedis;

beforeAll(async () => {
  redis = await startRedis();
  client = new Redis(redis.url);
  client.on('error', () => undefined);
});

afterAll(async () => {
  client.disconnect();
  await redis[Symbol.asyncDispose]();
});

beforeEach(async () => {
  await client.flushall();
  queue = await openQueueRedis({ url: redis.url });
});

afterEach(async () => {
  await queue[Symbol.asyncDispose]();
});

/** The same queue, as another process sees it. */
async function elsewhere(): Promise<QueueRedis> {
  const other = await openQueueRedis({ url: redis.url });
  onTestFinished(async () => other[Symbol.asyncDispose]());
  return other;
}

async function acquire(at: QueueRedis, holder = HERE, more: { signal?: AbortSignal } = {}): Promise<Lease> {
  return acquireLease(at, { holder, lifetimeMs: LIFETIME_MS, ...more });
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

describe('the lease', () => {
  test('is taken, kept, told of and given back', async () => {
    expect(await readLease(queue)).toBeUndefined();
    const lease = await acquire(queue);
    expect(await readLease(await elsewhere())).toEqual(HERE);
    const value = await client.get(LEASE);
    await pause(LIFETIME_MS * 1.3);
    expect(await client.get(LEASE)).toBe(value);
    await lease.assertHeld();
    expect(lease.signal.aborted).toBe(false);
    await lease[Symbol.asyncDispose]();
    expect(await client.exists(LEASE)).toBe(0);
    await expect(lease.assertHeld()).rejects.toMatchObject({ code: 'LOCK_LOST' });
    const next = await acquire(await elsewhere(), THERE);
    await lease[Symbol.asyncDispose]();
    expect(await readLease(queue)).toEqual(THERE);
    await next[Symbol.asyncDispose]();
  });

  test('is had by one only', async () => {
    const queues = [queue, await elsewhere(), await elsewhere()];
    const results = await Promise.allSettled(queues.map(async (at) => acquire(at)));
    const leases = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(leases).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected')
        expect(result.reason).toMatchObject({
          code: 'LOCK_TIMEOUT',
          message: 'the queue `mirror` is led by process 11 on `here` since 2026-05-01T12:00:00.000Z',
          hint: expect.stringContaining('conda-ferry queue cancel') as string,
        });
    }
    await leases[0]?.assertHeld();
    await leases[0]?.[Symbol.asyncDispose]();
  });

  test('of a killed coordinator runs out', async () => {
    await client.set(LEASE, THEIRS, 'PX', LIFETIME_MS);
    const onWait = vi.fn();
    await using lease = await acquireLease(queue, { holder: HERE, lifetimeMs: LIFETIME_MS, onWait });
    await lease.assertHeld();
    expect(onWait.mock.calls).toEqual([[THERE]]);
    expect(await readLease(queue)).toEqual(HERE);
  });

  test('that nothing can be made of, and that never ends, is not waited for long', async () => {
    await client.set(LEASE, 'x');
    const onWait = vi.fn();
    const options = { holder: HERE, lifetimeMs: 500, onWait };
    await expect(acquireLease(queue, options)).rejects.toMatchObject({
      code: 'LOCK_TIMEOUT',
      message: 'the queue `mirror` is led by an unknown process',
    });
    expect(onWait.mock.calls).toEqual([[{ host: 'unknown', pid: 0, startedAt: '' }]]);
    expect(await client.get(LEASE)).toBe('x');
  });

  test('is not waited for any more when the signal aborts', async () => {
    await client.set(LEASE, THEIRS, 'PX', 60_000);
    const ends = new AbortController();
    const reason = new Error('enough');
    const waiting = expect(acquire(queue, HERE, { signal: ends.signal })).rejects.toBe(reason);
    await pause(200);
    ends.abort(reason);
    await waiting;
    expect(await client.get(LEASE)).toBe(THEIRS);
  });

  test('that somebody else took is lost', async () => {
    await using lease = await acquire(queue);
    await client.set(LEASE, THEIRS, 'PX', 60_000);
    await vi.waitFor(() => {
      expect(lease.signal.aborted).toBe(true);
    }, LIFETIME_MS);
    expect(lease.signal.reason).toMatchObject({
      code: 'LOCK_LOST',
      message: 'the queue `mirror` was taken over by process 22 on `there` since 2026-05-01T13:00:00.000Z',
    });
    await expect(lease.assertHeld()).rejects.toBe(lease.signal.reason);
    await lease[Symbol.asyncDispose]();
    expect(await client.get(LEASE)).toBe(THEIRS);
  });

  test('that somebody else had in between is lost', async () => {
    await using lease = await acquire(queue);
    await client.del(LEASE);
    await client.set(`${LEASE}:last`, THEIRS);
    await expect(lease.assertHeld()).rejects.toMatchObject({ code: 'LOCK_LOST' });
    expect(lease.signal.aborted).toBe(true);
    expect(await client.exists(LEASE)).toBe(0);
  });

  test('that Redis lost is taken again', async () => {
    await using lease = await acquire(queue);
    await client.flushall();
    await vi.waitFor(async () => {
      expect(await readLease(queue)).toEqual(HERE);
    }, LIFETIME_MS);
    await client.del(LEASE);
    await lease.assertHeld();
    expect(await readLease(queue)).toEqual(HERE);
  });

  test('outlives a Redis that is away for longer than it lasts', async () => {
    await using lease = await acquire(queue);
    await redis.kill();
    await pause(LIFETIME_MS * 1.3);
    const reason = new Error('enough');
    await expect(lease.assertHeld(AbortSignal.timeout(100))).rejects.toMatchObject({ name: 'TimeoutError' });
    await expect(readLease(queue, AbortSignal.abort(reason))).rejects.toBe(reason);
    await redis.restart();
    await lease.assertHeld();
    expect(await readLease(queue)).toEqual(HERE);
  });

  test('is given back in no time where Redis is gone', async () => {
    const lease = await acquire(queue);
    const presence = await announceWorker(queue, facts('a'));
    await redis.kill();
    const startMs = performance.now();
    await Promise.all([lease[Symbol.asyncDispose](), presence[Symbol.asyncDispose]()]);
    await queue[Symbol.asyncDispose]();
    expect(performance.now() - startMs).toBeLessThan(4000);
    await redis.restart();
  });

  test('given back while Redis is away stays so', async () => {
    const lease = await acquire(queue);
    await redis.kill();
    // A renewal waits for Redis by then.
    await pause(LIFETIME_MS / 2);
    await lease[Symbol.asyncDispose]();
    await redis.restart();
    await queue.redis.ping();
    expect(await client.exists(LEASE)).toBe(0);
  });
});

function facts(id: string, more: Partial<WorkerFacts> = {}): WorkerFacts {
  return {
    id,
    host: 'here',
    pid: 11,
    version: '1.2.3',
    concurrency: 4,
    startedAt: '2026-05-01T12:00:00.000Z',
    archives: 0,
    failed: 0,
    bytes: 0,
    requests: { source: 0, destination: 0 },
    busy: 0,
    ...more,
  };
}

describe('a worker', () => {
  test('is there as long as it says so', async () => {
    const other = await elsewhere();
    expect(await listWorkers(queue)).toEqual([]);
    const presence = await announceWorker(other, facts('a'), { everyMs: 200 });
    expect(await listWorkers(queue)).toEqual([facts('a')]);
    presence.update({ archives: 3, bytes: 5000, requests: { source: 3, destination: 21 }, busy: 4 });
    const then = presence.lastContactMs;
    await pause(1500);
    expect(presence.lastContactMs).toBeGreaterThan(then);
    expect(await listWorkers(queue)).toEqual([
      facts('a', { archives: 3, bytes: 5000, requests: { source: 3, destination: 21 }, busy: 4 }),
    ]);
    await presence[Symbol.asyncDispose]();
    expect(await listWorkers(queue)).toEqual([]);
    expect(await client.keys('*')).toEqual([]);
  });

  test('that was killed is gone after a while, and forgotten', async () => {
    const other = await openQueueRedis({ url: redis.url });
    const presence = await announceWorker(other, facts('a'), { everyMs: 200 });
    await other[Symbol.asyncDispose]();
    expect(await listWorkers(queue)).toHaveLength(1);
    await pause(1300);
    expect(await listWorkers(queue)).toEqual([]);
    expect(await client.keys('*')).toEqual([]);
    await presence[Symbol.asyncDispose]();
  });

  test('that was only late is listed again', async () => {
    await using presence = await announceWorker(queue, facts('a'), { everyMs: 200 });
    await client.flushall();
    await vi.waitFor(async () => {
      expect(await listWorkers(queue)).toHaveLength(1);
    }, 2000);
    expect(presence.lastContactMs).toBeGreaterThan(0);
  });

  test('stands among others in order, and what cannot be read is passed over', async () => {
    await using all = new Resources();
    for (const one of [
      facts('c', { host: 'there' }),
      facts('b', { startedAt: '2026-05-01T11:00:00.000Z' }),
      facts('a'),
      facts('d'),
    ])
      all.use(await announceWorker(queue, one));
    await client.sadd('conda-ferry:mirror:workers', 'x', 'y', 'z');
    await client.set('conda-ferry:mirror:worker:x', '{');
    await client.set('conda-ferry:mirror:worker:y', JSON.stringify({ ...facts('y'), pid: 'many' }));
    await client.set('conda-ferry:mirror:worker:z', JSON.stringify(facts('z', { host: 'h'.repeat(1000) })));
    expect((await listWorkers(queue)).map(({ id }) => id)).toEqual(['b', 'a', 'd', 'c']);
  });

  test('knows for how long Redis was away', async () => {
    await using presence = await announceWorker(queue, facts('a'), { everyMs: 200 });
    await redis.kill();
    await pause(1500);
    expect(performance.now() - presence.lastContactMs).toBeGreaterThan(1200);
    await redis.restart();
    await vi.waitFor(() => {
      expect(performance.now() - presence.lastContactMs).toBeLessThan(500);
    }, 8000);
    expect(await listWorkers(queue)).toHaveLength(1);
  });

  test('cannot be announced where there is no memory, and leaves nothing', async () => {
    await client.config('SET', 'maxmemory', '900kb');
    try {
      await expect(announceWorker(queue, facts('a'))).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    } finally {
      await client.config('SET', 'maxmemory', '0');
    }
    expect(await client.keys('*')).toEqual([]);
  });
});

describe('a process', () => {
  const PROGRAM = `
    const [url, dist] = process.argv.slice(1);
    const { openQueueRedis, KEY_PREFIX } = await import(dist + '/queue/queue-redis.js');
    const { acquireLease } = await import(dist + '/queue/lease.js');
    const { announceWorker } = await import(dist + '/queue/presence.js');
    const { Queue, Worker } = await import('bullmq');
    const holder = { host: 'here', pid: 1, startedAt: '' };
    await using opened = await openQueueRedis({ url });
    await using lease = await acquireLease(opened, { holder });
    const facts = { id: 'a', ...holder, version: '1', concurrency: 1, archives: 0, failed: 0, bytes: 0, busy: 0 };
    await using presence = await announceWorker(opened, { ...facts, requests: { source: 0, destination: 0 } });
    const options = { connection: opened.redis, prefix: KEY_PREFIX };
    const queue = new Queue(opened.name, options);
    const done = Promise.withResolvers?.() ?? {};
    done.promise ??= new Promise((resolve) => { done.resolve = resolve; });
    const worker = new Worker(opened.name, async () => 1, options);
    worker.on('completed', () => done.resolve());
    worker.on('error', (error) => console.log(error));
    queue.on('error', (error) => console.log(error));
    await queue.addBulk([{ name: 'x', data: {}, opts: { jobId: 'm3k9x2ab-17' } }]);
    await done.promise;
    await worker.close();
    await queue.close();
  `;

  test('with BullMQ on the connection prints nothing, ends by itself, and needs the rights that are named', async () => {
    const rules = ['~conda-ferry:*', '+@all', '-@dangerous', '+info'];
    await client.call('ACL', 'SETUSER', 'ferry', 'on', '>s3cret', ...rules);
    const url = `redis://ferry:s3cret@127.0.0.1:${redis.port}`;
    const args = ['--input-type=module', '-e', withoutUsing(PROGRAM), url, join(ROOT, 'dist')];
    const result = await promisify(execFile)(process.execPath, args, { cwd: ROOT, timeout: 20_000 });
    expect(result).toMatchObject({ stdout: '', stderr: '' });
    const keys = await client.keys('*');
    expect(keys.every((key) => key.startsWith('conda-ferry:mirror:'))).toBe(true);
    expect(keys).toContain('conda-ferry:mirror:m3k9x2ab-17');
    expect(keys.filter((key) => /:(?:lease|worker:.*|workers)$/.test(key))).toEqual([]);
  });
});

/** Node 20 cannot read `await using`. */
function withoutUsing(program: string): string {
  const names = [...program.matchAll(/await using (\w+)/g)].map((match) => match[1]!);
  const ends = names.reverse().map((name) => `await ${name}[Symbol.asyncDispose]();`);
  return [program.replaceAll('await using', 'const'), ...ends].join('\n');
}
