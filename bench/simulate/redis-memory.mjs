/** What the jobs of a run take in a real Redis, put there by the queue's own code. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { JobQueue } from '#ferry/queue/job-queue.js';

/** @typedef {{ archives: number, jobs: number, bytesPerArchive: number, bytesPerJob: number, seconds: number }} RedisMemory */

/**
 * @param {(add: (jobs: readonly object[]) => Promise<void>) => Promise<number>} fill puts jobs in; how many archives
 * @returns {Promise<RedisMemory | undefined>} `undefined` where there is no `redis-server`
 */
export async function measureRedis(fill) {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  const port = await freePort();
  const flags = [
    '--bind',
    '127.0.0.1',
    '--port',
    String(port),
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'yes',
  ];
  const child = spawn('redis-server', flags, { stdio: 'ignore' });
  const ended = once(child, 'exit').catch(() => undefined);
  const isThere = await once(child, 'spawn').then(
    () => true,
    () => false,
  );
  if (!isThere) {
    await rm(folder, { recursive: true, force: true });
    return undefined;
  }
  const redis = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: null });
  // Until it listens, connections are refused, and tried again.
  redis.on('error', () => undefined);
  try {
    await redis.ping();
    const url = `redis://127.0.0.1:${port}`;
    const place = {
      ...{ redis, url, name: 'simulate' },
      key: (/** @type {readonly string[]} */ ...parts) => ['conda-ferry', 'simulate', ...parts].join(':'),
      [Symbol.asyncDispose]: async () => undefined,
    };
    const queue = new JobQueue(place, 'simulate');
    const before = await usedBytes(redis);
    const startedAt = performance.now();
    let jobs = 0;
    const archives = await fill(async (batch) => {
      jobs += batch.length;
      await queue.add(
        batch.map((data) => ({ data: /** @type {import('#ferry/queue/job.js').JobData} */ (data) })),
      );
    });
    const seconds = (performance.now() - startedAt) / 1000;
    const used = (await usedBytes(redis)) - before;
    await queue[Symbol.asyncDispose]();
    return { archives, jobs, bytesPerArchive: used / archives, bytesPerJob: used / jobs, seconds };
  } finally {
    redis.disconnect();
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param {Redis} redis */
async function usedBytes(redis) {
  const told = /used_memory:(\d+)/.exec(await redis.info('memory'));
  return Number(told?.[1]);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
