import { cp, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { indexFolder } from '#ferry/publish/folder/index-folder.js';
import { FIXTURE_CHANNEL } from '../../support/channels.js';
import { tempFolder } from '../../support/temp.js';

test('cep16/shards-before-index: no shard is younger than the index that names it', async () => {
  const folder = await tempFolder();
  await cp(join(FIXTURE_CHANNEL, 'noarch'), join(folder, 'noarch'), { recursive: true });
  const workers = new WorkerPool(1);
  onTestFinished(async () => workers[Symbol.asyncDispose]());
  await indexFolder({ folder, workers });
  const subdir = join(folder, 'noarch');
  const timeOf = async (name: string) => (await stat(join(subdir, name), { bigint: true })).mtimeNs;
  const index = await timeOf('repodata_shards.msgpack.zst');
  const shards = await readdir(join(subdir, 'shards'));
  expect(shards.length).toBeGreaterThan(1);
  for (const shard of shards) expect(await timeOf(join('shards', shard))).toBeLessThanOrEqual(index);
  // Clients that have the plain repodata may look for everything else.
  expect(index).toBeLessThanOrEqual(await timeOf('repodata.json'));
});
