/**
 * The mirror by queue. Its rate: 2,000 archives by one process and by four worker processes with a coordinator and a Redis
 * beside them, all on this machine, where there is nothing to win and should be little to lose. Its memory: that of a process
 * that puts a million archives into Redis, that of Redis, and that of a coordinator which plans them first.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, execPath, stderr } from 'node:process';
import { promisify } from 'node:util';
import { condaPackage } from '../fixtures/build/archive.mjs';
import { incompressible } from '../fixtures/build/bytes.mjs';
import { writeChannel } from '../fixtures/build/channel.mjs';
import { measureQueueMemory } from './queue-memory.mjs';
import { startFileServer, startRedis, startRegistry, withServer } from './servers.mjs';

const run = promisify(execFile);

const ARCHIVES = Number(env['FERRY_BENCH_ARCHIVES'] ?? 2000);
const WARM_ARCHIVES = Number(env['FERRY_BENCH_WARM'] ?? 200);
const ARCHIVE_BYTES = 100_000;
const BUILDS_PER_NAME = 4;
const PAIRS = Number(env['FERRY_BENCH_PAIRS'] ?? 5);
const WORKERS = 4;
/** As many archives under way as the single process has by default, all workers together. */
const WORKER_CONCURRENCY = Number(env['FERRY_BENCH_CONCURRENCY'] ?? 4);
const TARGET = 0.9;
const MAIN = join(import.meta.dirname, '..', 'dist', 'cli', 'main.js');
const ACCEPT = 'application/vnd.oci.image.manifest.v1+json';

/**
 * One run, and what the registry has of it: digests by repository and tag.
 * @typedef {{ seconds: number, stored: ReadonlyMap<string, string> }} Sample
 */

/** @returns {Promise<object>} */
export async function benchQueue() {
  const rate = await benchRate();
  const memory = await measureQueueMemory();
  return { ...rate, isMet: rate.isMet && memory.isMet, memory };
}

/** @returns {Promise<{ isMet: boolean } & Record<string, unknown>>} */
async function benchRate() {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  try {
    await writeChannel(join(folder, 'warm'), { noarch: packages('warm', WARM_ARCHIVES) });
    await writeChannel(join(folder, 'main'), { noarch: packages('small', ARCHIVES) });
    return await withServer(startFileServer(folder), (source) => compare(source.host));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param {string} sourceHost */
async function compare(sourceHost) {
  const samples = [];
  for (let pair = 1; pair <= PAIRS; pair += 1) {
    const single = await runSingle(sourceHost);
    const queue = await runQueue(sourceHost);
    checkSame(single.stored, queue.stored);
    const ratio = single.seconds / queue.seconds;
    stderr.write(
      `  pair ${String(pair)}: single ${single.seconds.toFixed(2)} s, queue ${queue.seconds.toFixed(2)} s, ratio ${ratio.toFixed(2)}\n`,
    );
    samples.push({ single: single.seconds, queue: queue.seconds, ratio });
  }
  const ratio = median(samples.map((sample) => sample.ratio));
  return {
    what: `mirror of ${String(ARCHIVES)} archives of ${String(ARCHIVE_BYTES)} bytes by ${String(WORKERS)} workers, against one process`,
    unit: 'archives per second',
    ours: ARCHIVES / median(samples.map(({ queue }) => queue)),
    limit: ARCHIVES / median(samples.map(({ single }) => single)),
    ratio,
    target: TARGET,
    isMet: ratio >= TARGET,
    samples,
  };
}

/**
 * @param {string} name
 * @param {number} count
 */
function packages(name, count) {
  return Array.from({ length: count }, (_, i) =>
    condaPackage({
      name: `${name}-${String(Math.floor(i / BUILDS_PER_NAME))}`,
      version: '1.0',
      build: String(i % BUILDS_PER_NAME),
      subdir: 'noarch',
      index: { noarch: 'generic' },
      payloadFiles: { 'share/noise': incompressible(ARCHIVE_BYTES, i + 1) },
      zip: { level: 1 },
    }),
  );
}

/** @param {string} sourceHost */
async function runSingle(sourceHost) {
  return atRegistry((host) => runTimed([host, sourceHost]));
}

/** @param {string} sourceHost */
async function runQueue(sourceHost) {
  return atRegistry((host) =>
    withServer(startRedis(), async (redis) => {
      const url = `redis://${redis.host}`;
      const workers = Array.from({ length: WORKERS }, () => startWorker(url));
      const gone = workers.map((worker) => once(worker, 'exit'));
      try {
        return await runTimed([host, sourceHost, url, String(WORKERS)]);
      } finally {
        for (const worker of workers) worker.kill('SIGKILL');
        await Promise.all(gone);
      }
    }),
  );
}

/** @param {string} url */
function startWorker(url) {
  const args = ['worker', '--queue', url, '--concurrency', String(WORKER_CONCURRENCY), '--quiet'];
  return spawn(execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/**
 * @param {readonly string[]} args
 * @returns {Promise<{ seconds: number }>}
 */
async function runTimed(args) {
  const { stdout } = await run(execPath, [join(import.meta.dirname, 'queue-run.mjs'), ...args]);
  return JSON.parse(stdout);
}

/**
 * Lends a fresh registry to a run, and sees that it holds all, none of it sent twice.
 * @param {(host: string) => Promise<{ seconds: number }>} work
 * @returns {Promise<Sample>}
 */
async function atRegistry(work) {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  try {
    const logFile = join(folder, 'access.log');
    // In memory, as for one process: on disk, it is the disk that both wait for.
    return await withServer(startRegistry('memory', logFile), async ({ host }) => {
      const times = await work(host);
      checkSentOnce(await readFile(logFile, 'utf8'));
      return { ...times, stored: await readStored(host) };
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** @param {string} log of the registry: `… "PUT /v2/… HTTP/1.1" 201 …` */
function checkSentOnce(log) {
  const seen = new Set();
  let archives = 0;
  for (const [, method, path = ''] of log.matchAll(/"(PUT|POST) (\/v2\/bench\/main\/\S+) HTTP\/1\.1" 201/g)) {
    const digest = /[?&]digest=([^&]+)/.exec(path)?.[1];
    const isTag = method === 'PUT' && /\/manifests\/1\.0-/.test(path);
    if (digest === undefined && !isTag) continue;
    // Repodata and ledger are written more than once; archives and their tags are not.
    const [repository = ''] = path.split(/\/(?:blobs|manifests)\//);
    if (/\.json$/.test(repository)) continue;
    const what = `${repository} ${digest ?? path}`;
    if (seen.has(what)) throw new Error(`${what} was sent twice`);
    seen.add(what);
    if (isTag) archives += 1;
  }
  if (archives !== ARCHIVES) throw new Error(`the registry took ${String(archives)} artifacts`);
}

/**
 * Digests of all artifacts, and of the published repodata's layers.
 * @param {string} host
 * @returns {Promise<ReadonlyMap<string, string>>}
 */
async function readStored(host) {
  /** @type {Map<string, string>} */
  const stored = new Map();
  /** @type {{ layers: unknown }} */
  const { layers } = JSON.parse(await ask(host, 'repodata.json', 'latest'));
  stored.set('repodata', JSON.stringify(layers));
  for (let i = 0; i < ARCHIVES; i += 1) {
    const name = `small-${String(Math.floor(i / BUILDS_PER_NAME))}`;
    const tag = `1.0-${String(i % BUILDS_PER_NAME)}`;
    stored.set(`${name}:${tag}`, await ask(host, name, tag));
  }
  return stored;
}

/**
 * @param {string} host
 * @param {string} name
 * @param {string} tag
 */
async function ask(host, name, tag) {
  const url = `http://${host}/v2/bench/main/noarch/${name}/manifests/${tag}`;
  const answer = await fetch(url, { headers: { accept: ACCEPT } });
  if (!answer.ok) throw new Error(`${url} answered ${String(answer.status)}`);
  return answer.text();
}

/**
 * @param {ReadonlyMap<string, string>} single
 * @param {ReadonlyMap<string, string>} queue
 */
function checkSame(single, queue) {
  for (const [what, content] of single)
    if (queue.get(what) !== content) throw new Error(`${what} differs between the two`);
}

/** @param {readonly number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
