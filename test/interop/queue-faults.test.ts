import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { contentsOf, manyPackages, startPart, timeless, type PartOptions } from '../support/queue-scene.js';
import { serveChannel } from '../support/channel-server.js';
import { startRedis } from '../support/redis.js';
import { startMemoryRegistry, startPasswordRegistry, TEST_USER } from '../support/registries/docker.js';
import { failuresOf, httpSource, registryStore } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel } from '../support/workers.js';

const RETRY_MS = 50;
/** A worker that was killed is noticed so soon. */
const QUICK = { lockMs: 1000, stalledCheckMs: 300 } as const;

async function offer(folder: string, count: number): Promise<void> {
  await writeChannel(folder, { noarch: manyPackages(count) });
}

describe('a mirror by queue', () => {
  test('of archives that fail: the same is refused as by the single run, after all attempts; the rest is there', async () => {
    const folder = await tempFolder();
    await offer(folder, 6);
    const file = (name: string): string => join(folder, 'noarch', name);
    await rm(file('pack-00-1.0-h0_2.conda'));
    await writeFile(file('pack-01-1.0-h0_2.conda'), Buffer.alloc(500, 1));
    await writeFile(file('pack-02-1.0-h0_0.tar.bz2'), '');
    await using server = await serveChannel(folder);
    await using registry = await startMemoryRegistry();
    await using redis = await startRedis();
    const single = registryStore(registry, 'single');
    const expected = await mirrorChannel({ source: httpSource(server.url), destination: single.store });
    expect(Object.keys(failuresOf(expected))).toHaveLength(3);

    server.requests.length = 0;
    const path = `${registry.prefix}/queue`;
    const ends = { source: server.url, host: registry.host, path };
    const options: PartOptions = { redis: redis.port, ends, untilDone: true };
    const parts = await Promise.all([1, 2].map(async () => startPart('worker', options)));
    await Promise.all(parts.map(async (part) => part.until(({ waiting }) => waiting)));
    const mirror = await startPart('mirror', { ...options, attempts: 3, retryMs: RETRY_MS });
    const { last } = await mirror.end();
    expect(timeless(last.report)).toEqual(timeless(expected));
    expect(await contentsOf(registry.host, path)).toEqual(await contentsOf(registry.host, single.store.path));
    const asked = server.requests.filter(({ path: asked }) => asked.endsWith('pack-00-1.0-h0_2.conda'));
    // Three attempts, and once more by the plan that finds nothing else to do.
    expect(asked).toHaveLength(4);
    for (const part of parts) expect((await part.end()).code).toBe(0);
  });

  test('of an archive over which workers die: it is given up, the rest is there', async () => {
    const folder = await tempFolder();
    await offer(folder, 3);
    await using server = await serveChannel(folder);
    await using registry = await startMemoryRegistry();
    await using redis = await startRedis();
    const path = `${registry.prefix}/queue`;
    const ends = { source: server.url, host: registry.host, path };
    const options: PartOptions = { redis: redis.port, ends, concurrency: 2, ...QUICK };
    const deadly = { ...options, deadly: 'pack-01-1.0-h0_2.' };
    const mirror = await startPart('mirror', { ...options, attempts: 2, retryMs: RETRY_MS });
    let isOver = false;
    let deaths = 0;
    // As a service manager does it: a worker that dies is started again.
    const keepUp = async (): Promise<void> => {
      while (!isOver) {
        const worker = await startPart('worker', { ...deadly, untilDone: true });
        if ((await worker.end()).signal === 'SIGKILL') deaths += 1;
      }
    };
    const kept = Promise.all([keepUp(), keepUp()]);
    const { last } = await mirror.end();
    isOver = true;
    expect(failuresOf(last.report ?? ({ subdirs: [] } as never))).toEqual({
      'noarch/pack-01-1.0-h0_2.conda': 'WORKER_LOST',
    });
    expect(last.report?.subdirs.map(({ added, untried }) => [added, untried])).toEqual([[14, 0]]);
    expect(deaths).toBeGreaterThan(2);
    expect(mirror.lines.filter(({ warning }) => warning !== undefined)).toEqual([]);
    await kept;
  });

  test('with wrong credentials at one worker: that one ends and says why, the other does the work', async () => {
    const folder = await tempFolder();
    await offer(folder, 4);
    await using server = await serveChannel(folder);
    await using registry = await startPasswordRegistry();
    await using redis = await startRedis();
    const ends = { source: server.url, host: registry.host, path: `${registry.prefix}/queue` };
    const options: PartOptions = { redis: redis.port, ends };
    const mirror = await startPart('mirror', { ...options, ...TEST_USER });
    const wrong = await startPart('worker', { ...options, username: TEST_USER.username, password: 'wrong' });
    const { last, code } = await wrong.end();
    expect([last.code, code]).toEqual(['UNAUTHORIZED', 3]);
    expect(wrong.lines.filter(({ code: one }) => one !== undefined)).toHaveLength(1);
    // Nobody is left, and the coordinator says so.
    await mirror.until(({ warning }) => warning?.includes('no worker takes part'));
    const right = await startPart('worker', { ...options, ...TEST_USER, untilDone: true });
    const { report } = (await mirror.end()).last;
    expect(report?.subdirs.map(({ added, failed }) => [added, failed])).toEqual([[20, []]]);
    expect((await right.end()).code).toBe(0);
  });

  test('of two versions: whoever comes second is told, and nothing is done', async () => {
    const folder = await tempFolder();
    await offer(folder, 2);
    await using server = await serveChannel(folder);
    await using registry = await startMemoryRegistry();
    await using redis = await startRedis();
    const ends = { source: server.url, host: registry.host, path: `${registry.prefix}/queue` };
    const options: PartOptions = { redis: redis.port, ends };
    const early = await startPart('worker', { ...options, version: '2' });
    await early.until(({ waiting }) => waiting);
    const refused = await (await startPart('mirror', options)).end();
    expect([refused.last.code, refused.code]).toEqual(['VERSION_MISMATCH', 3]);
    expect(refused.last.message).toMatch(/a worker on .* is conda-ferry 2, and this coordinator is 1/);
    early.child.kill('SIGTERM');
    expect((await early.end()).code).toBe(0);

    const mirror = await startPart('mirror', options);
    await mirror.until(({ planned }) => planned);
    const late = await (await startPart('worker', { ...options, version: '2' })).end();
    expect([late.last.code, late.code]).toEqual(['VERSION_MISMATCH', 3]);
    expect(late.last.message).toMatch(/the coordinator on .* is conda-ferry 1, and this worker is 2/);
    expect(server.requests.filter(({ path }) => path.endsWith('.conda'))).toEqual([]);
    mirror.child.kill('SIGTERM');
    expect((await mirror.end()).last.report?.isInterrupted).toBe(true);
  });
});
