import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { Redis } from 'ioredis';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
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
      expect(await contentsOf(registry.host, path)).toEqual(await contentsOf(registry.host, single.store.path));
      expect(await faultsOf(registryReader(registry.host), `${path}/noarch`, { schema })).toEqual([]);
      expect(uploadedTwice(await registry.accessLog(), path)).toEqual([]);
      for (const part of parts) expect(part.lines.some(({ archive }) => archive !== undefined)).toBe(true);

      single.requests.length = 0;
      await mirrorChannel(here);
      const before = (await registry.accessLog()).length;
      const again = (await (await startPart('mirror', options)).end()).last;
      expect(again.report?.subdirs.map(({ added, publishedAs }) => [added, publishedAs])).toEqual([[0, 'kept']]);
      expect(again.requests).toEqual({ source: 0, destination: 0 });
      expect((await registry.accessLog()).length - before).toBe(single.requests.length);

      for (const { child } of parts) child.kill('SIGTERM');
      const ended = await Promise.all(parts.map(async (part) => part.end()));
      expect(ended.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
      const carried = ended.map(({ last: { report } }) => report?.archives ?? 0);
      expect(carried.reduce((sum, archives) => sum + archives, 0)).toBe(expected.subdirs[0]?.added);
    },
  );
});
