import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import {
  faultsOf,
  listedRecords,
  placeOf,
  publishedRepodata,
  registryReader,
  sha256,
  type StoreReader,
} from './audit.js';
import { serveChannel } from './channel-server.js';
import { ROOT, testEnvironment } from './ferry.js';
import { randomOf } from './random.js';
import { startRedis, type StartedRedis } from './redis.js';
import { startMemoryRegistry } from './registries/docker.js';
import { sentAgain } from './sent-again.js';
import { tempFolder } from './temp.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const COORDINATOR = join(ROOT, 'test', 'long', 'queue-coordinator.mjs');
const SINGLE = join(ROOT, 'test', 'long', 'mirror-process.mjs');
const WORKERS = 4;
const WORKER_CONCURRENCY = 4;
/** Between two looks at what is listed. */
const AUDIT_PAUSE_MS = 100;
/** How long Redis stays away. */
const REDIS_AWAY_MS = 3000;

/** What befalls a mirror by queue. */
export interface QueueStormOptions {
  readonly seed: number;
  /** Without twins that come beside them. */
  readonly archives: number;
  /** Each archive takes the source so long. */
  readonly archiveDelayMs: number;
  /** Times of kills after the start, in milliseconds; those of workers strike one at random. */
  readonly kills: {
    readonly workers: readonly number[];
    readonly coordinator: readonly number[];
    readonly redis: readonly number[];
  };
}

/** What of it is worth telling. */
export interface QueueStormReport {
  readonly seconds: number;
  readonly kills: number;
  /** How often all that was listed was looked for. */
  readonly audits: number;
  /** Different repodata that was seen. */
  readonly generations: number;
}

/**
 * Mirrors a channel by queue while workers, the coordinator and Redis are killed, and checks from the registry's side that what
 * is listed is there at every moment, that nothing accepted is sent again, and that the end is that of a single run.
 */
export async function stormQueue(options: QueueStormOptions): Promise<QueueStormReport> {
  const folder = await tempFolder();
  let isSlow = false;
  await using server = await serveChannel(folder, {
    intercept: (request, response) => {
      if (!isSlow || request.url?.includes('many-') !== true) return false;
      void delay(options.archiveDelayMs).then(() => server.answer(request, response));
      return true;
    },
  });
  await using registry = await startMemoryRegistry();
  await using redis = await startRedis();
  const reader = registryReader(registry.host);
  const [path, single] = [`${registry.prefix}/queue`, `${registry.prefix}/single`];
  await offer(folder, packages(options.archives / 3, 'first'));
  for (const place of [path, single]) await mirrorAlone(server.url, registry.host, place);
  // Three times as many archives, and every tenth of the first ones has other bytes under its name.
  await offer(folder, packages(options.archives, 'second'));
  await mirrorAlone(server.url, registry.host, single);

  isSlow = true;
  await using fleet = new Fleet(redis, [server.url, registry.host, path, redis.url], options.seed);
  const startedAt = performance.now();
  const ended = fleet.start();
  const killing = fleet.strike(options.kills, ended);
  const [audit, kills] = await Promise.all([auditUntil(reader, `${path}/noarch`, ended), killing]);
  const { code, stderr } = await ended;
  const seconds = (performance.now() - startedAt) / 1000;
  expect(code, stderr).toBe(0);
  expect(fleet.gone, 'workers that ended by themselves').toBe(0);

  const channel = `${path}/noarch`;
  expect(await faultsOf(reader, channel)).toEqual([]);
  const published = await publishedRepodata(reader, channel);
  expect(published?.equals((await publishedRepodata(reader, `${single}/noarch`)) ?? Buffer.alloc(0))).toBe(
    true,
  );
  for (const record of (await listedRecords(reader, channel)) ?? []) {
    const [mine, theirs] = [channel, `${single}/noarch`].map((at) => placeOf(at, record));
    const digests = await Promise.all(
      [mine, theirs].map(async (at) => at && (await reader.manifest(at.repository, at.tag))?.digest),
    );
    expect(digests[0], record.filename).toBe(digests[1]);
  }
  expect(await sentAgain(await registry.accessLog(), reader, channel)).toEqual([]);
  return { seconds, kills, ...audit };
}

/** Workers and a coordinator that come back when they are killed. */
class Fleet implements AsyncDisposable {
  readonly #redis: StartedRedis;
  readonly #args: readonly string[];
  readonly #random: () => number;
  readonly #workers: ChildProcess[] = [];
  #coordinator: ChildProcess | undefined;
  #isOver = false;

  constructor(redis: StartedRedis, args: readonly string[], seed: number) {
    this.#redis = redis;
    this.#args = args;
    this.#random = randomOf(seed);
  }

  /** Workers that are not there although nobody killed them. */
  get gone(): number {
    return this.#workers.filter(({ exitCode }) => exitCode !== null).length;
  }

  /** Starts all, and waits for the end of the coordinator that is not killed. */
  async start(): Promise<{ code: number | null; stderr: string }> {
    for (let i = 0; i < WORKERS; i += 1) this.#workers.push(this.#startWorker());
    for (;;) {
      // Each of them is on another machine: it finds nothing of the one before but what Redis and the registry hold.
      const child = spawn(process.execPath, [COORDINATOR, ...this.#args], {
        cwd: ROOT,
        env: testEnvironment(await tempFolder()),
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      this.#coordinator = child;
      const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')]);
      if (child.signalCode === null || this.#isOver) return { code: child.exitCode, stderr };
    }
  }

  /** Kills whatever is due at its time. @returns how many */
  async strike(kills: QueueStormOptions['kills'], ended: Promise<unknown>): Promise<number> {
    const due = [
      ...kills.workers.map((at) => ({ at, what: 'worker' as const })),
      ...kills.coordinator.map((at) => ({ at, what: 'coordinator' as const })),
      ...kills.redis.map((at) => ({ at, what: 'redis' as const })),
    ].sort((a, b) => a.at - b.at);
    const startedAt = performance.now();
    const over = ended.then(
      () => true,
      () => true,
    );
    let killed = 0;
    for (const { at, what } of due) {
      const wait = delay(Math.max(0, startedAt + at - performance.now())).then(() => false);
      if (await Promise.race([over, wait])) break;
      killed += 1;
      await this.#kill(what);
    }
    return killed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    for (const child of [this.#coordinator, ...this.#workers]) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }

  async #kill(what: 'worker' | 'coordinator' | 'redis'): Promise<void> {
    if (what === 'coordinator') {
      this.#coordinator?.kill('SIGKILL');
    } else if (what === 'redis') {
      await this.#redis.kill();
      await delay(REDIS_AWAY_MS);
      await this.#redis.restart();
    } else {
      const place = Math.floor(this.#random() * WORKERS);
      const child = this.#workers[place];
      // One that ended by itself is a failure, and not brought back.
      if (child?.exitCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
      this.#workers[place] = this.#startWorker();
    }
  }

  #startWorker(): ChildProcess {
    const [, , , url = ''] = this.#args;
    const args = ['worker', '--queue', url, '--concurrency', String(WORKER_CONCURRENCY)];
    return spawn(process.execPath, [MAIN, ...args, '--quiet'], {
      cwd: ROOT,
      env: testEnvironment(),
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
}

/** Looks again and again whether all that is listed is there. */
async function auditUntil(
  reader: StoreReader,
  channel: string,
  ended: Promise<unknown>,
): Promise<{ audits: number; generations: number }> {
  const seen = new Set<string>();
  const over = new AbortController();
  const end = (): void => {
    over.abort();
  };
  const ending = ended.then(end, end);
  let audits = 0;
  while (!over.signal.aborted) {
    const bytes = await publishedRepodata(reader, channel);
    seen.add(sha256(bytes ?? Buffer.alloc(0)));
    const before = await listing(reader, channel);
    const faults = await faultsOf(reader, channel, { readBlobs: false });
    const after = faults.length === 0 ? before : await listing(reader, channel);
    // What is replaced goes from the repodata first: who has read it before that looks for what is listed no more.
    const real = faults.filter((fault) => {
      const [filename = ''] = fault.split(':', 1);
      const now = after.get(filename);
      return now !== undefined && (before.get(filename) ?? now) === now;
    });
    expect(real).toEqual([]);
    audits += 1;
    await Promise.race([ending, delay(AUDIT_PAUSE_MS)]);
  }
  return { audits, generations: seen.size };
}

async function listing(reader: StoreReader, channel: string): Promise<ReadonlyMap<string, string>> {
  return new Map(
    ((await listedRecords(reader, channel)) ?? []).map(({ filename, sha256: hex }) => [filename, hex]),
  );
}

async function offer(folder: string, archives: ReturnType<typeof packages>): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await writeChannel(folder, { noarch: archives });
}

/** Archives under a third as many names; some are `.tar.bz2`, some have a twin that comes later. */
function packages(count: number, generation: 'first' | 'second') {
  return Array.from({ length: count }, (_, i) => {
    const isReplaced = i % 10 === 0;
    const spec = {
      name: `many-${Math.floor(i / 3)}`,
      version: '1.0',
      build: String(i % 3),
      subdir: 'noarch',
      index: { noarch: 'generic' },
      payloadFiles: { 'share/text': isReplaced ? generation : String(i) },
    } as const;
    const [conda, tarBz2] = [condaPackage({ ...spec, zip: { level: 1 } }), tarBz2Package(spec)];
    if (generation === 'second' && i % 8 === 6) return [conda, tarBz2];
    return [i % 7 === 6 ? tarBz2 : conda];
  }).flat();
}

async function mirrorAlone(source: string, host: string, path: string): Promise<void> {
  const child = spawn(process.execPath, [SINGLE, source, host, path, 'v0'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')]);
  expect(child.exitCode, stderr).toBe(0);
}
