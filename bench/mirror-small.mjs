/**
 * First mirror of 1,000 archives of 100 KB from an HTTP channel into a registry, all on one machine, against the bare
 * loop: the same blobs, computed beforehand, in the same number of requests, with the same connections, and nothing
 * else. Five interleaved pairs, each with a registry of its own; the bare loop at its best of four concurrencies.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath, stderr } from 'node:process';
import { promisify } from 'node:util';
import { condaPackage } from '../fixtures/build/archive.mjs';
import { incompressible } from '../fixtures/build/bytes.mjs';
import { writeChannel } from '../fixtures/build/channel.mjs';
import { startFileServer, startRegistry, withServer } from './servers.mjs';

const run = promisify(execFile);

const ARCHIVES = 1000;
const ARCHIVE_BYTES = 100_000;
const BUILDS_PER_NAME = 4;
const PAIRS = 5;
const CONCURRENCIES = [4, 8, 16, 32];
const TARGET = 0.8;

/** One run as its process reports it. @typedef {{ seconds: number, cpuSeconds: number, requests: number }} Sample */

/** @returns {Promise<object>} */
export async function benchMirrorSmall() {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  try {
    await writeChannel(folder, { noarch: packages() });
    return await withServer(startFileServer(folder), (source) => compare(folder, source.host));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} folder
 * @param {string} sourceHost
 */
async function compare(folder, sourceHost) {
  const calibration = await calibrate(folder);
  const best = calibration.reduce((a, b) => (b.seconds < a.seconds ? b : a)).concurrency;
  const samples = [];
  for (let pair = 1; pair <= PAIRS; pair += 1) {
    const ours = await runOnce('mirror-small-ours.mjs', [`http://${sourceHost}`]);
    const bare = await runOnce('mirror-small-bare.mjs', [folder, String(best)]);
    stderr.write(
      `  pair ${String(pair)}: ours ${ours.seconds.toFixed(2)} s, bare ${bare.seconds.toFixed(2)} s\n`,
    );
    samples.push({ ours, bare, ratio: bare.seconds / ours.seconds });
  }
  const ratio = median(samples.map((sample) => sample.ratio));
  const requests = samples[0]?.ours.requests ?? 0;
  return {
    what: `mirror of ${String(ARCHIVES)} archives of ${String(ARCHIVE_BYTES)} bytes, ${String(BUILDS_PER_NAME)} builds a name`,
    unit: 'archives per second',
    ours: ARCHIVES / median(samples.map(({ ours }) => ours.seconds)),
    limit: ARCHIVES / median(samples.map(({ bare }) => bare.seconds)),
    ratio,
    target: TARGET,
    isMet: ratio >= TARGET,
    requestsPerArchive: requests / ARCHIVES,
    bareConcurrency: best,
    calibration,
    samples,
  };
}

function packages() {
  return Array.from({ length: ARCHIVES }, (_, i) =>
    condaPackage({
      name: `small-${String(Math.floor(i / BUILDS_PER_NAME))}`,
      version: '1.0',
      build: String(i % BUILDS_PER_NAME),
      subdir: 'noarch',
      index: { noarch: 'generic' },
      payloadFiles: { 'share/noise': incompressible(ARCHIVE_BYTES, i + 1) },
      zip: { level: 1 },
    }),
  );
}

/** @param {string} folder */
async function calibrate(folder) {
  const runs = [];
  for (const concurrency of CONCURRENCIES) {
    const { seconds } = await runOnce('mirror-small-bare.mjs', [folder, String(concurrency)]);
    runs.push({ concurrency, seconds });
  }
  return runs;
}

/**
 * @param {string} script
 * @param {readonly string[]} args
 * @returns {Promise<Sample>}
 */
async function runOnce(script, args) {
  const { stdout } = await withServer(startRegistry(), ({ host }) =>
    run(execPath, [join(import.meta.dirname, script), host, ...args]),
  );
  return JSON.parse(stdout);
}

/** @param {readonly number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
