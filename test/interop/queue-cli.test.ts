import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords, registryReader } from '../support/audit.js';
import { serveChannel } from '../support/channel-server.js';
import { ROOT, runFerry, testEnvironment } from '../support/ferry.js';
import { manyPackages } from '../support/queue-scene.js';
import { startRedis } from '../support/redis.js';
import { startMemoryRegistry } from '../support/registries/docker.js';
import { tempFolder } from '../support/temp.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const PACKAGES = 3;
const ARCHIVES = 5 * PACKAGES;

function start(args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: ROOT,
    env: testEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return child;
}

test('the exit status and the report are those of the single run; a known failure is none', async () => {
  const folder = await tempFolder();
  await writeChannel(folder, { noarch: manyPackages(PACKAGES) });
  await rm(join(folder, 'noarch', 'pack-01-1.0-h0_2.conda'));
  await using registry = await startMemoryRegistry();
  await using redis = await startRedis();
  const queue = ['--queue', redis.url];
  const worker = start(['worker', ...queue, '--quiet']);
  const to = `oci://${registry.host}/${registry.prefix}`;

  const single = await runFerry(['mirror', folder, `${to}/single`, '--json']);
  const failed = await runFerry(['mirror', folder, `${to}/queue`, ...queue, '--attempts', '2', '--json']);
  expect([single.code, failed.code]).toEqual([1, 1]);
  const strip = (json: string) => {
    const { startedAt, endedAt, destination, requests, ...report } = JSON.parse(json) as Record<
      string,
      unknown
    >;
    expect([startedAt, endedAt, destination, requests]).not.toContain(undefined);
    return report;
  };
  expect(strip(failed.stdout)).toEqual(strip(single.stdout));

  const list = join(folder, 'known.txt');
  await writeFile(list, 'noarch/pack-01-1.0-h0_2.conda\n');
  const known = await runFerry(['mirror', folder, `${to}/queue`, ...queue, '--accept', list]);
  expect([known.code, known.stderr]).toEqual([0, '']);
  const reader = registryReader(registry.host);
  expect(await listedRecords(reader, `${registry.prefix}/queue/noarch`)).toHaveLength(ARCHIVES - 1);
  expect(await faultsOf(reader, `${registry.prefix}/queue/noarch`)).toEqual([]);

  worker.kill('SIGTERM');
  await once(worker, 'exit');
  expect(worker.exitCode).toBe(130);
});

test.each([
  ['a signal', undefined],
  ['cancel', 'cancel'],
])(
  '%s ends a run in order with 130, what is done is published, and the next one goes on',
  async (_, verb) => {
    const folder = await tempFolder();
    await writeChannel(folder, { noarch: manyPackages(PACKAGES) });
    let given = 0;
    const waiting: (() => void)[] = [];
    let isOpen = false;
    await using server = await serveChannel(folder, {
      intercept: (request, response) => {
        if (isOpen || !/pack-/.test(request.url ?? '')) return false;
        given += 1;
        if (given <= ARCHIVES / 3) return false;
        waiting.push(() => {
          void server.answer(request, response);
        });
        return true;
      },
    });
    await using registry = await startMemoryRegistry();
    await using redis = await startRedis();
    const queue = ['--queue', redis.url];
    start(['worker', ...queue, '--quiet', '--concurrency', '2']);
    const to = `oci://${registry.host}/${registry.prefix}/queue`;
    const mirror = start(['mirror', server.url, to, ...queue, '--json']);
    const said = mirror.stdout === null ? '' : text(mirror.stdout);
    await expect.poll(() => waiting.length, { timeout: 60_000 }).toBeGreaterThan(0);

    if (verb === undefined) mirror.kill('SIGTERM');
    else expect((await runFerry(['queue', verb, ...queue])).code).toBe(0);
    const status = async (): Promise<string> => (await runFerry(['queue', 'status', ...queue])).stdout;
    await expect.poll(status, { timeout: 60_000 }).toMatch(/state +stopping/);
    isOpen = true;
    for (const go of waiting) go();
    await once(mirror, 'close');
    expect(mirror.exitCode).toBe(130);
    const { isInterrupted } = JSON.parse(await said) as { isInterrupted: boolean };
    expect(isInterrupted).toBe(true);
    expect(await status()).toMatch(verb === undefined ? /state +interrupted/ : /state +cancelled/);
    const reader = registryReader(registry.host);
    const channel = `${registry.prefix}/queue/noarch`;
    const listed = (await listedRecords(reader, channel)) ?? [];
    expect(listed.length).toBeGreaterThan(0);
    expect(listed.length).toBeLessThan(ARCHIVES);
    expect(await faultsOf(reader, channel)).toEqual([]);

    expect((await runFerry(['mirror', server.url, to, ...queue])).code).toBe(0);
    expect(await listedRecords(reader, channel)).toHaveLength(ARCHIVES);
  },
);
