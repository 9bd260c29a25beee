import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { openQueueRedis } from '#ferry/queue/queue-redis.js';
import { JobQueue } from '#ferry/queue/job-queue.js';
import { askRun, readRun } from '#ferry/queue/run-record.js';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords, registryReader } from '../support/audit.js';
import { serveChannel, type ChannelServer } from '../support/channel-server.js';
import {
  manyPackages,
  startPart,
  uploadedTwice,
  type Part,
  type PartOptions,
} from '../support/queue-scene.js';
import { startRedis, type StartedRedis } from '../support/redis.js';
import { startMemoryRegistry } from '../support/registries/docker.js';
import type { StartedRegistry } from '../support/registries/server-process.js';
import { tempFolder } from '../support/temp.js';

const PACKAGES = 12;
const ARCHIVES = 5 * PACKAGES;
const LEASE_MS = 2000;
const QUICK = { lockMs: 2000, stalledCheckMs: 300 } as const;

/** A source that gives archives out one by one, as the test allows it. */
class Tap {
  #left = 0;
  #isOpen = false;
  readonly #waiting: (() => void)[] = [];

  /** Lets so many more archives through. */
  allow(count: number): void {
    this.#left += count;
    while (this.#left > 0 && this.#waiting.length > 0) {
      this.#left -= 1;
      this.#waiting.shift()?.();
    }
  }

  open(): void {
    this.#isOpen = true;
    for (const go of this.#waiting.splice(0)) go();
  }

  pass(go: () => void): void {
    if (this.#isOpen) go();
    else if (this.#left > 0) {
      this.#left -= 1;
      go();
    } else this.#waiting.push(go);
  }
}

interface Scene {
  readonly tap: Tap;
  readonly server: ChannelServer;
  readonly registry: StartedRegistry;
  readonly redis: StartedRedis;
  readonly path: string;
  readonly options: PartOptions;
}

async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  const folder = await tempFolder();
  await writeChannel(folder, { noarch: manyPackages(PACKAGES) });
  const tap = new Tap();
  await using server = await serveChannel(folder, {
    intercept: (request, response) => {
      if (!/\.(?:conda|tar\.bz2)$/.test(request.url ?? '')) return false;
      tap.pass(() => void server.answer(request, response));
      return true;
    },
  });
  await using registry = await startMemoryRegistry();
  await using redis = await startRedis();
  const path = `${registry.prefix}/queue`;
  const ends = { source: server.url, host: registry.host, path };
  await work({
    ...{ tap, server, registry, redis, path },
    options: { redis: redis.port, ends, leaseMs: LEASE_MS, concurrency: 2, ...QUICK },
  });
}

/** Waits until the coordinator has taken in so many archives. */
async function untilDone(mirror: Part, count: number): Promise<void> {
  let seen = 0;
  await mirror.until(({ archive }) => archive !== undefined && (seen += 1) === count);
}

async function expectWhole({ registry, path }: Scene, mirror: Part, from = 0): Promise<void> {
  const { report } = (await mirror.end()).last;
  const [subdir] = report?.subdirs ?? [];
  expect([subdir?.failed, subdir?.untried, report?.isInterrupted]).toEqual([[], 0, false]);
  expect((subdir?.there ?? 0) + (subdir?.added ?? 0)).toBe(ARCHIVES);
  expect(subdir?.there ?? 0).toBeGreaterThanOrEqual(from);
  await expectListed(registry, path, ARCHIVES);
}

async function expectListed(registry: StartedRegistry, path: string, count: number): Promise<void> {
  const reader = registryReader(registry.host);
  expect(await faultsOf(reader, `${path}/noarch`, { schema: 'v0' })).toEqual([]);
  expect(await listedRecords(reader, `${path}/noarch`, 'v0')).toHaveLength(count);
}

describe('a mirror by queue', () => {
  test('of which a worker is stopped: it finishes what it is at, another one does the rest, nothing twice', async () =>
    withScene(async (scene) => {
      const { tap, options, registry, path } = scene;
      const first = await startPart('worker', options);
      const mirror = await startPart('mirror', options);
      tap.allow(10);
      await untilDone(mirror, 4);
      first.child.kill('SIGTERM');
      tap.open();
      const { last, code } = await first.end();
      expect(code).toBe(0);
      const done = last.report?.archives ?? 0;
      expect(done).toBeGreaterThanOrEqual(4);
      expect(done).toBeLessThan(ARCHIVES);
      const second = await startPart('worker', { ...options, untilDone: true });
      await expectWhole(scene, mirror);
      expect((await second.end()).last.report?.archives).toBe(ARCHIVES - done);
      expect(uploadedTwice(await registry.accessLog(), path)).toEqual([]);
    }));

  test('that is stopped: what is done is published, and the next run goes on', async () =>
    withScene(async (scene) => {
      const { tap, options, registry, path } = scene;
      const worker = await startPart('worker', options);
      const mirror = await startPart('mirror', options);
      tap.allow(10);
      await untilDone(mirror, 4);
      mirror.child.kill('SIGTERM');
      await using queue = await openQueueRedis({ url: `redis://127.0.0.1:${options.redis}` });
      while ((await readRun(queue))?.state !== 'stopping') await new Promise(setImmediate);
      tap.open();
      const { report } = (await mirror.end()).last;
      const [subdir] = report?.subdirs ?? [];
      expect(report?.isInterrupted).toBe(true);
      expect(subdir?.added).toBeGreaterThanOrEqual(4);
      expect(subdir?.untried).toBeGreaterThan(0);
      await expectListed(registry, path, subdir?.added ?? 0);
      expect((await readRun(queue))?.state).toBe('interrupted');
      await expectWhole(scene, await startPart('mirror', options), subdir?.added);
      worker.child.kill('SIGTERM');
      expect((await worker.end()).last.report?.archives).toBe(ARCHIVES);
      expect(uploadedTwice(await registry.accessLog(), path)).toEqual([]);
    }));

  test('that is cancelled: it ends in order, and says so', async () =>
    withScene(async ({ tap, options, registry, path }) => {
      await startPart('worker', options);
      const mirror = await startPart('mirror', options);
      tap.allow(10);
      await untilDone(mirror, 4);
      await using queue = await openQueueRedis({ url: `redis://127.0.0.1:${options.redis}` });
      await askRun(queue, 'cancel');
      while ((await readRun(queue))?.state !== 'stopping') await new Promise(setImmediate);
      tap.open();
      const { report } = (await mirror.end()).last;
      expect(report?.isInterrupted).toBe(true);
      expect((await readRun(queue))?.state).toBe('cancelled');
      await expectListed(registry, path, report?.subdirs[0]?.added ?? 0);
    }));

  test('that is paused: nobody begins anything until it is resumed', async () =>
    withScene(async (scene) => {
      const { tap, options, server } = scene;
      await using queue = await openQueueRedis({ url: `redis://127.0.0.1:${options.redis}` });
      const { redis } = queue;
      const pause = async (isPaused: boolean): Promise<void> => {
        const { Queue } = await import('bullmq');
        const jobs = new Queue(queue.name, { connection: redis, prefix: 'conda-ferry' });
        await (isPaused ? jobs.pause() : jobs.resume());
        await jobs.close();
      };
      await pause(true);
      const worker = await startPart('worker', { ...options, untilDone: true });
      await worker.until(({ waiting }) => waiting);
      const mirror = await startPart('mirror', options);
      await using jobs = new JobQueue(queue, 'none');
      while ((await jobs.counts()).unfinished < 30) await new Promise(setImmediate);
      const { active } = await jobs.counts();
      expect([active, await jobs.isPaused()]).toEqual([0, true]);
      expect(server.requests.filter(({ path }) => /\.conda$/.test(path))).toEqual([]);
      await pause(false);
      tap.open();
      await expectWhole(scene, mirror);
      await worker.end();
    }));

  test('whose coordinator is killed: another one takes over when its lease is over; nothing accepted is sent again', async () =>
    withScene(async (scene) => {
      const { tap, options, registry, path } = scene;
      const worker = await startPart('worker', options);
      const mirror = await startPart('mirror', options);
      tap.allow(20);
      await untilDone(mirror, 10);
      mirror.child.kill('SIGKILL');
      expect((await mirror.end()).signal).toBe('SIGKILL');
      const next = await startPart('mirror', options);
      await next.until(({ warning }) => warning?.includes('waiting for its lease to run out'));
      tap.open();
      await expectWhole(scene, next, 10);
      worker.child.kill('SIGTERM');
      expect((await worker.end()).last.report?.archives).toBe(ARCHIVES);
      expect(uploadedTwice(await registry.accessLog(), path)).toEqual([]);
    }));

  test('that another coordinator is at: it is named, and nothing happens', async () =>
    withScene(async (scene) => {
      const { tap, options } = scene;
      await startPart('worker', options);
      const mirror = await startPart('mirror', options);
      await mirror.until(({ planned }) => planned);
      const { last, code } = await (await startPart('mirror', options)).end();
      expect([last.code, code]).toEqual(['LOCK_TIMEOUT', 3]);
      tap.open();
      await expectWhole(scene, mirror);
    }));

  test('whose Redis forgets everything in the middle: it is planned again', async () =>
    withScene(async (scene) => {
      const { tap, options } = scene;
      const worker = await startPart('worker', options);
      const mirror = await startPart('mirror', options);
      tap.allow(20);
      await untilDone(mirror, 10);
      await promisify(execFile)('redis-cli', ['-p', String(options.redis), 'FLUSHALL']);
      tap.open();
      await expectWhole(scene, mirror);
      worker.child.kill('SIGTERM');
      expect((await worker.end()).code).toBe(0);
    }));
});
