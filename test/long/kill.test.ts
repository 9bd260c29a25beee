import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords, publishedRepodata, registryReader } from '../support/audit.js';
import { serveChannel } from '../support/channel-server.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { ROOT, runFerry } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

const KILLS = 10;
const ARCHIVES = 300;
/** Each archive takes the source this long, so that a run lasts a few seconds and a kill finds it at work. */
const ARCHIVE_DELAY_MS = 30;
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');

test('whatever is killed: listed is there, nothing accepted is sent again, the last run completes', async () => {
  const seed = Number(process.env['CONDA_FERRY_TEST_SEED'] ?? Date.now() % 100_000);
  console.log(`seed ${seed} (CONDA_FERRY_TEST_SEED)`);
  const random = randomOf(seed);
  const folder = await tempFolder();
  await using registry = await startRegistry({ onDisk: true });
  await using server = await serveChannel(folder, {
    intercept: (request, response) => {
      if (request.url?.includes('many-') !== true) return false;
      void delay(ARCHIVE_DELAY_MS).then(() => server.answer(request, response));
      return true;
    },
  });

  let kills = 0;
  for (let round = 1; kills < KILLS; round += 1) {
    const channel = `${registry.prefix}/round${round}`;
    const args = ['mirror', server.url, `oci://${registry.host}/${channel}`, '--subdir', 'noarch', '--quiet'];
    await rm(folder, { recursive: true, force: true });
    await writeChannel(folder, { noarch: packages(100, 'first') });
    expect(await runFerry(args)).toMatchObject({ code: 0 });
    // Three times as many archives, and every tenth of the first ones has other bytes under its name.
    await rm(folder, { recursive: true, force: true });
    await writeChannel(folder, { noarch: packages(ARCHIVES, 'second') });

    for (let done = false; !done && kills < KILLS;) {
      done = await killedAfter(args, 250 + random() * 900);
      if (!done) kills += 1;
      await quiet(registry);
      const reader = registryReader(registry.host);
      expect(await faultsOf(reader, `${channel}/noarch`), `after kill ${kills}, seed ${seed}`).toEqual([]);
      expect((await listedRecords(reader, `${channel}/noarch`))?.length).toBeGreaterThanOrEqual(90);
    }
    const last = await runFerry(args);
    expect(last.stderr).toBe('');
    expect(last.code).toBe(0);
    const reader = registryReader(registry.host);
    expect(await faultsOf(reader, `${channel}/noarch`)).toEqual([]);
    expect(await listedRecords(reader, `${channel}/noarch`)).toHaveLength(ARCHIVES);
    expect(await publishedRepodata(reader, `${channel}/noarch`)).toBeDefined();
    expect(await sentAgain(registry, `${channel}/noarch`)).toEqual([]);
  }
});

/** `.conda` archives under a third as many names, every seventh with a twin. */
function packages(count: number, generation: string) {
  return Array.from({ length: count }, (_, i) => {
    const isReplaced = i < 100 && i % 10 === 0;
    const spec = {
      name: `many-${Math.floor(i / 3)}`,
      version: '1.0',
      build: String(i % 3),
      subdir: 'noarch',
      index: { noarch: 'generic' },
      payloadFiles: { 'share/text': isReplaced ? generation : String(i) },
    } as const;
    return i % 7 === 6 ? tarBz2Package(spec) : condaPackage({ ...spec, zip: { level: 1 } });
  });
}

/** Runs the command and kills it after a while. @returns whether it had ended by itself */
async function killedAfter(args: readonly string[], ms: number): Promise<boolean> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'ignore', cwd: ROOT });
  const exited = once(child, 'exit');
  const killed = await Promise.race([delay(ms).then(() => true), exited.then(() => false)]);
  if (killed) child.kill('SIGKILL');
  await exited;
  return !killed;
}

/** Waits until the registry has answered what the killed client had sent. */
async function quiet(registry: TestRegistry): Promise<void> {
  let before = -1;
  for (;;) {
    const { length } = (await registry.accessLog()) ?? [];
    if (length === before) return;
    before = length;
    await delay(100);
  }
}

/** Package blobs that were uploaded although a manifest that names them had been accepted. */
async function sentAgain(registry: TestRegistry, channel: string): Promise<string[]> {
  const lines = (await registry.accessLog()) ?? [];
  const reader = registryReader(registry.host);
  const packagesOf = new Map<string, string>();
  for (const record of (await listedRecords(reader, channel)) ?? []) {
    packagesOf.set(
      `sha256:${record.sha256}`,
      `${channel}/${record.name}/manifests/${record.version}-${record.build}`,
    );
  }
  const accepted = new Set<string>();
  const again: string[] = [];
  // Twins share a manifest that is accepted twice, so only the digests sent before an acceptance count.
  const sent = new Set<string>();
  for (const line of lines) {
    const request = /"PUT \/v2\/(\S+) HTTP\/1\.1" 201/.exec(line)?.[1];
    if (request === undefined) continue;
    const digest = decodeURIComponent(/digest=([^&\s]+)/.exec(request)?.[1] ?? '');
    const manifest = packagesOf.get(digest);
    if (manifest !== undefined) {
      if (sent.has(digest) && accepted.has(`${manifest} ${digest}`)) again.push(digest);
      sent.add(digest);
    } else if (request.includes('/manifests/')) {
      for (const [blob, place] of packagesOf)
        if (place === request && sent.has(blob)) accepted.add(`${place} ${blob}`);
    }
  }
  return again;
}

/** Small seeded generator: numbers from 0 up to 1. */
function randomOf(seed: number): () => number {
  let state = seed + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
