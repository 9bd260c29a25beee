import { describe, expect, test } from 'vitest';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { openQueueRedis } from '#ferry/queue/queue-redis.js';
import { JobQueue } from '#ferry/queue/job-queue.js';
import { readMemory } from '#ferry/queue/check-redis.js';
import { faultsOf, layoutReader, listedRecords, registryReader } from '../support/audit.js';
import { serveChannel } from '../support/channel-server.js';
import {
  contentsOf,
  manyPackages,
  startPart,
  timeless,
  uploadedTwice,
  type PartOptions,
} from '../support/queue-scene.js';
import { startRedis } from '../support/redis.js';
import { startMemoryRegistry } from '../support/registries/docker.js';
import { httpSource, registryStore } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel } from '../support/workers.js';

const SCHEMAS = { v0: schemaV0, v1: schemaV1 } as const;

describe('a mirror by queue', () => {
  test.each(['v0', 'v1'] as const)(
    'with four workers, by schema %s: the same as the single run, nothing twice, and then nothing to do',
    async (schema) => {
      const folder = await tempFolder();
      await writeChannel(folder, { noarch: manyPackages(60) }, { companions: true });
      await using server = await serveChannel(folder);
      await using registry = await startMemoryRegistry();
      await using redis = await startRedis();
      const single = registryStore(registry, 'single', { schema: SCHEMAS[schema] });
      const here = { source: httpSource(server.url), destination: single.store };
      const expected = await mirrorChannel(here);

      const path = `${registry.prefix}/queue`;
      const ends = { source: server.url, host: registry.host, path, schema };
      const options: PartOptions = { redis: redis.port, ends };
      const parts = await Promise.all([1, 2, 3, 4].map(async () => startPart('worker', options)));
      // All of them are there before there is anything to do, so that each has its part.
      await Promise.all(parts.map(async (part) => part.until(({ waiting }) => waiting)));
      const { last } = await (await startPart('mirror', options)).end();
      expect(last).toHaveProperty('report');
      expect(timeless(last.report)).toEqual(timeless(expected));
      expect(await contentsOf(registry.host, path)).toEqual(
        await contentsOf(registry.host, single.store.path),
      );
      expect(await faultsOf(registryReader(registry.host), `${path}/noarch`, { schema })).toEqual([]);
      expect(uploadedTwice(await registry.accessLog(), path)).toEqual([]);
      for (const part of parts) expect(part.lines.some(({ archive }) => archive !== undefined)).toBe(true);

      single.requests.length = 0;
      await mirrorChannel(here);
      const before = (await registry.accessLog()).length;
      const again = (await (await startPart('mirror', options)).end()).last;
      expect(again.report?.subdirs.map(({ added, publishedAs }) => [added, publishedAs])).toEqual([
        [0, 'kept'],
      ]);
      expect(again.requests).toEqual({ source: 0, destination: 0 });
      expect((await registry.accessLog()).length - before).toBe(single.requests.length);

      for (const { child } of parts) child.kill('SIGTERM');
      const ended = await Promise.all(parts.map(async (part) => part.end()));
      expect(ended.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
      const carried = ended.map(({ last: { report } }) => report?.archives ?? 0);
      expect(carried.reduce((sum, archives) => sum + archives, 0)).toBe(expected.subdirs[0]?.added);
    },
  );

  test('of archives that were replaced, and of twins that came: as the single run, and listed is there throughout', async () => {
    const folder = await tempFolder();
    const all = manyPackages(8);
    // Of the first two tags of each package, one archive comes later.
    const early = all.filter(({ filename }) => !/-h0_0\.conda$|-h0_1\.tar\.bz2$/.test(filename));
    await writeChannel(folder, { noarch: early });
    await using server = await serveChannel(folder);
    await using registry = await startMemoryRegistry();
    await using redis = await startRedis();
    const single = registryStore(registry, 'single');
    const here = { source: httpSource(server.url), destination: single.store };
    const path = `${registry.prefix}/queue`;
    const options: PartOptions = {
      redis: redis.port,
      ends: { source: server.url, host: registry.host, path },
      checkpointMs: 50,
    };
    const parts = await Promise.all([1, 2].map(async () => startPart('worker', options)));
    for (const generation of ['first', 'second']) {
      if (generation === 'second') await writeChannel(folder, { noarch: manyPackages(8, generation) });
      const expected = await mirrorChannel(here);
      const mirror = await startPart('mirror', options);
      const reader = registryReader(registry.host);
      const state = { isOver: false };
      const ended = mirror.end().finally(() => (state.isOver = true));
      while (!state.isOver) expect(await faultsOf(reader, `${path}/noarch`, { schema: 'v0' })).toEqual([]);
      const { report } = (await ended).last;
      expect(timeless(report)).toEqual(timeless(expected));
      if (generation === 'second') expect(report?.subdirs[0]?.replaced.length).toBe(8);
      expect(await contentsOf(registry.host, path)).toEqual(
        await contentsOf(registry.host, single.store.path),
      );
    }
    for (const { child } of parts) child.kill('SIGTERM');
    for (const part of parts) expect((await part.end()).code).toBe(0);
  });

  test('into image layouts, and out of a registry into itself: two workers, all is there', async () => {
    const folder = await tempFolder();
    await writeChannel(folder, { noarch: manyPackages(8) });
    await using server = await serveChannel(folder);
    await using registry = await startMemoryRegistry();
    await using redis = await startRedis();
    const single = registryStore(registry, 'single');
    await mirrorChannel({ source: httpSource(server.url), destination: single.store });
    const layouts = await tempFolder();
    const path = `${registry.prefix}/queue`;
    const run = async (ends: PartOptions['ends']): Promise<void> => {
      const options: PartOptions = { redis: redis.port, ends, untilDone: true };
      const parts = await Promise.all([1, 2].map(async () => startPart('worker', options)));
      await Promise.all(parts.map(async (part) => part.until(({ waiting }) => waiting)));
      const { report } = (await (await startPart('mirror', options)).end()).last;
      expect(report?.subdirs.map(({ added, failed }) => [added, failed])).toEqual([[40, []]]);
      for (const part of parts) expect((await part.end()).code).toBe(0);
    };
    await run({ source: server.url, folder: layouts, path: '' });
    expect(await faultsOf(layoutReader(layouts), 'noarch', { schema: 'v0' })).toEqual([]);
    expect(await listedRecords(layoutReader(layouts), 'noarch', 'v0')).toHaveLength(40);

    await run({ source: `oci://${registry.host}/${single.store.path}`, host: registry.host, path });
    expect(await contentsOf(registry.host, path)).toEqual(await contentsOf(registry.host, single.store.path));
    const log = await registry.accessLog();
    const packages = log.filter((line) => line.includes(` /v2/${path}/noarch/pack-`));
    expect(packages.filter((line) => /\?\S*mount=\S* HTTP\/1\.1" 201/.test(line)).length).toBeGreaterThan(40);
    // No blob went up.
    expect(packages.filter((line) => /"(?:PUT|PATCH) \S+\/blobs\//.test(line))).toEqual([]);
  });

  test('takes at most 1 KiB of Redis for each archive, even where each has a job of its own', async () => {
    await using redis = await startRedis();
    await using queue = await openQueueRedis({ url: redis.url });
    await using jobs = new JobQueue(queue, 'm3k9x2ab01');
    const before = await readMemory(queue);
    const count = 5000;
    for (let added = 0; added < count; added += 100) {
      await jobs.add(
        Array.from({ length: 100 }, (_, at) => {
          const filename = `a-package-of-some-length-1.2.3-py312h0123456_${String(added + at)}.conda`;
          const sha256 = Buffer.alloc(32, added + at).toString('base64url');
          return { data: { s: 'linux-64', t: [[[filename, sha256, 0, 12_345_678]]] } };
        }),
      );
    }
    const { usedBytes } = await readMemory(queue);
    expect((usedBytes - before.usedBytes) / count).toBeLessThan(1024);
  });
});
