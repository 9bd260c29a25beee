import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { faultsOf } from '#ferry/mirror/verify/report.js';
import { verifyOrdinaryChannel } from '#ferry/mirror/verify/verify-ordinary.js';
import type { VerifyDepth } from '#ferry/mirror/verify/report.js';
import { serveChannel } from '../../support/channel-server.js';
import { httpSource } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import { offer, smallConda, smallTarBz2 } from '../../support/v1-channel.js';

const workers = new WorkerPool(1);
afterAll(async () => workers[Symbol.asyncDispose]());

async function faults(
  channel: ChannelSource,
  depth: VerifyDepth,
  against?: ChannelSource,
): Promise<string[]> {
  const report = await verifyOrdinaryChannel({ channel, depth, against, workers });
  return faultsOf(report)
    .map(({ code, filename }) => `${code} ${filename}`)
    .sort();
}

const ARCHIVES = [smallConda({ name: 'a' }), smallConda({ name: 'b' }), smallTarBz2({ name: 'c' })];
const [A, B, C] = ARCHIVES.map(({ filename }) => filename) as [string, string, string];

test('a folder: files that are gone or cut by their size, others by their bytes', async () => {
  const folder = await tempFolder();
  await offer(folder, ...ARCHIVES);
  const channel = new DirectoryChannel(folder);
  expect(await faults(channel, 'deep')).toEqual([]);
  await rm(join(folder, 'noarch', A));
  await writeFile(join(folder, 'noarch', B), 'short');
  const bytes = await readFile(join(folder, 'noarch', C));
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  await writeFile(join(folder, 'noarch', C), bytes);
  expect(await faults(channel, 'manifests')).toEqual([`FILE_DIFFERS ${B}`, `FILE_MISSING ${A}`]);
  expect(await faults(channel, 'deep')).toEqual([
    `FILE_DIFFERS ${B}`,
    `FILE_DIFFERS ${C}`,
    `FILE_MISSING ${A}`,
  ]);
});

test('a web server is asked by HEAD, once for each archive, and nothing is downloaded', async () => {
  const folder = await tempFolder();
  await offer(folder, ...ARCHIVES);
  await rm(join(folder, 'noarch', A));
  const server = await serveChannel(folder);
  onTestFinished(async () => server[Symbol.asyncDispose]());
  const channel = httpSource(server.url);
  expect(await faults(channel, 'manifests')).toEqual([`FILE_MISSING ${A}`]);
  const archives = server.requests.filter(({ path }) => /\.(?:conda|bz2)$/.test(path));
  expect(archives.map(({ method }) => method)).toEqual(['HEAD', 'HEAD', 'HEAD']);
  expect(await faults(channel, 'deep')).toEqual([`FILE_MISSING ${A}`]);
});

test('two ordinary channels are compared', async () => {
  const [here, there] = [await tempFolder(), await tempFolder()];
  await offer(here, ...ARCHIVES);
  await offer(there, ...ARCHIVES.slice(1), smallConda({ name: 'd' }));
  expect(await faults(new DirectoryChannel(here), 'manifests', new DirectoryChannel(there))).toEqual([
    'NOT_MIRRORED d-1.0-0.conda',
  ]);
});
