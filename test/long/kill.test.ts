import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import {
  faultsOf,
  listedRecords,
  publishedRepodata,
  registryReader,
  type AuditedSchema,
  type StoreReader,
} from '../support/audit.js';
import { serveChannel } from '../support/channel-server.js';
import { ROOT } from '../support/ferry.js';
import { randomOf } from '../support/random.js';
import { collectGarbage, startRegistryOn } from '../support/registries/docker.js';
import type { StartedRegistry } from '../support/registries/server-process.js';
import { sentAgain } from '../support/sent-again.js';
import { tempFolder } from '../support/temp.js';

const KILLS = Number(process.env['CONDA_FERRY_TEST_KILLS'] ?? 30);
/** Kills of one channel; after them a run goes to its end, and the next channel begins. */
const KILLS_OF_CHANNEL = 10;
const ARCHIVES = 300;
/** Each archive takes the source this long, so that a run lasts a few seconds and a kill finds it at work. */
const ARCHIVE_DELAY_MS = 60;
const MAIN = join(ROOT, 'test', 'long', 'mirror-process.mjs');
/** What a run needs before it can do anything, and how much longer a kill waits at most. */
const START_MS = 300;
const SPREAD_MS = 2500;
/** Archives that each state lists at least, whatever is replaced and left out just then. */
const LEAST_LISTED = 70;

test('whatever is killed: listed is there, nothing accepted is sent again, the last run completes', async () => {
  const seed = Number(process.env['CONDA_FERRY_TEST_SEED'] ?? Date.now() % 100_000);
  console.log(`seed ${seed} (CONDA_FERRY_TEST_SEED)`);
  const random = randomOf(seed);
  const folder = await tempFolder();
  const rootFolder = await tempFolder();
  await using server = await serveChannel(folder, {
    intercept: (request, response) => {
      if (request.url?.includes('many-') !== true) return false;
      void delay(ARCHIVE_DELAY_MS).then(() => server.answer(request, response));
      return true;
    },
  });

  let registry = await startRegistryOn(rootFolder);
  const log: string[] = [];
  try {
    let kills = 0;
    let checked = 0;
    for (let round = 1; kills < KILLS; round += 1) {
      const schema = round % 2 === 1 ? 'v0' : 'v1';
      const path = `kills/round${round}`;
      const channel = `${path}/noarch`;
      const start = (filters: object = {}) => [
        server.url,
        registry.host,
        path,
        schema,
        JSON.stringify(filters),
      ];
      await offer(folder, packages(100, 'first'));
      expect(await runToEnd(start())).toEqual({ code: 0, stderr: '' });
      // Three times as many archives, and every tenth of the first ones has other bytes under its name.
      await offer(folder, packages(ARCHIVES, 'second'));

      let done = false;
      for (let ofChannel = 0; !done && kills < KILLS && ofChannel < KILLS_OF_CHANNEL; ofChannel += 1) {
        // Filters change from run to run.
        const filters = random() < 0.3 ? { exclude: ['many-7', 'many-2'] } : {};
        done = await killedAfter(start(filters), START_MS + random() * SPREAD_MS);
        if (!done) kills += 1;
        await quiet(registry);
        const what = `kill ${kills} of channel ${round}, seed ${seed}`;
        await expectSound(registryReader(registry.host), channel, schema, `after ${what}`);
        // A registry at rest takes away what nothing leads to; what is listed is there all the same.
        log.push(...(await registry.accessLog()));
        await registry[Symbol.asyncDispose]();
        await collectGarbage(rootFolder);
        registry = await startRegistryOn(rootFolder);
        await expectSound(registryReader(registry.host), channel, schema, `without garbage, after ${what}`);
        checked += 1;
      }
      expect(await runToEnd(start())).toEqual({ code: 0, stderr: '' });
      const reader = registryReader(registry.host);
      await expectSound(reader, channel, schema, 'at the end');
      const offered = packages(ARCHIVES, 'second').map(({ filename }) => filename);
      const wanted =
        schema === 'v0'
          ? offered
          : offered.filter(
              (name) => !(name.endsWith('.tar.bz2') && offered.includes(name.replace('.tar.bz2', '.conda'))),
            );
      const records = await listedRecords(reader, channel, schema);
      expect(records?.map(({ filename }) => filename).sort()).toEqual(wanted.sort());
      log.push(...(await registry.accessLog()));
      if (schema === 'v0') expect(await sentAgain(log, reader, channel)).toEqual([]);
      console.log(`channel ${round} by schema ${schema}: ${kills} of ${KILLS} kills`);
    }
    console.log(`${kills} kills, ${checked} times audited before and after garbage was collected`);
    expect(kills).toBe(KILLS);
  } finally {
    await registry[Symbol.asyncDispose]();
  }
});

/** All that is listed is there, with its sidecar; and so is what the files beside it are made of. */
async function expectSound(
  reader: StoreReader,
  channel: string,
  schema: AuditedSchema,
  when: string,
): Promise<void> {
  expect(await faultsOf(reader, channel, { schema }), when).toEqual([]);
  const records = (await listedRecords(reader, channel, schema)) ?? [];
  expect(records.length, when).toBeGreaterThanOrEqual(LEAST_LISTED);
  const repodata = JSON.parse(String(await publishedRepodata(reader, channel, schema))) as Record<
    string,
    Record<string, { attestations_sha256?: string }>
  >;
  const sidecars = schema === 'v0' ? 'attestations.sigs' : 'msigs';
  for (const { attestations_sha256: sha256 } of Object.values({
    ...repodata['packages'],
    ...repodata['packages.conda'],
  })) {
    if (sha256 === undefined) continue;
    const manifest = await reader.manifest(`${channel}/${sidecars}`, sha256);
    expect(manifest?.layers[0]?.digest, when).toBe(`sha256:${sha256}`);
    expect(await reader.blob(`${channel}/${sidecars}`, `sha256:${sha256}`), when).toBeDefined();
  }
  const m = schema === 'v0' ? '' : 'm';
  for (const file of [`${m}run_exports.json`, '../channeldata.json']) {
    const repository = file.startsWith('../')
      ? channel.replace(/noarch$/, file.slice(3))
      : `${channel}/${file}`;
    const manifest = await reader.manifest(repository, 'latest');
    expect(manifest, `${file} ${when}`).toBeDefined();
    for (const { digest } of manifest?.layers ?? [])
      expect(await reader.blob(repository, digest), `${file} ${when}`).toBeDefined();
  }
}

async function offer(folder: string, archives: ReturnType<typeof packages>): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await writeChannel(folder, { noarch: archives }, { companions: true });
  for (const { filename, sidecar } of archives)
    if (sidecar !== undefined)
      await writeFile(join(folder, 'noarch', `${filename}.sigs.${hex(sidecar)}`), sidecar);
}

/** Archives under a third as many names; some are `.tar.bz2`, some have a twin that comes later, some a sidecar. */
function packages(count: number, generation: 'first' | 'second') {
  return Array.from({ length: count }, (_, i) => {
    const isReplaced = i < 100 && i % 10 === 0;
    const spec = {
      name: `many-${Math.floor(i / 3)}`,
      version: '1.0',
      build: String(i % 3),
      subdir: 'noarch',
      index: { noarch: 'generic' },
      runExports: { weak: ['x'] },
      payloadFiles: { 'share/text': isReplaced ? generation : String(i) },
    } as const;
    const archive = i % 7 === 6 ? tarBz2Package(spec) : condaPackage({ ...spec, zip: { level: 1 } });
    const sidecar = i % 9 === 4 ? `["${archive.filename}"]` : undefined;
    const record = sidecar === undefined ? {} : { record: { attestations_sha256: hex(sidecar) } };
    const one = { ...archive, ...record, sidecar };
    if (generation === 'first' || i % 8 !== 6) return [one];
    const twin = i % 7 === 6 ? condaPackage({ ...spec, zip: { level: 1 } }) : tarBz2Package(spec);
    return [one, { ...twin, sidecar: undefined }];
  }).flat();
}

function hex(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}

async function runToEnd(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'pipe'], cwd: ROOT });
  const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')]);
  return { code: child.exitCode, stderr };
}

/** Runs the mirror and kills it after a while. @returns whether it had ended by itself */
async function killedAfter(args: readonly string[], ms: number): Promise<boolean> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'ignore', cwd: ROOT });
  const exited = once(child, 'exit');
  const killed = await Promise.race([delay(ms).then(() => true), exited.then(() => false)]);
  if (killed) child.kill('SIGKILL');
  await exited;
  return !killed;
}

/** Waits until the registry has answered what the killed client had sent. */
async function quiet(registry: StartedRegistry): Promise<void> {
  let before = -1;
  for (;;) {
    const { length } = await registry.accessLog();
    if (length === before) return;
    before = length;
    await delay(100);
  }
}
