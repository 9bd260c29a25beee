/**
 * `check` of a channel of 10,000 artifacts in a registry, against the bare loop that fetches the same manifests: with
 * the same connections, and nothing else. Interleaved pairs on one registry; the bare loop at its best of four
 * concurrencies. Memory is the largest resident set of the process that checks.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { execPath, stderr } from 'node:process';
import { promisify } from 'node:util';
import { benchPackages, fillChannel } from './check-channel.mjs';
import { startRegistry, withServer } from './servers.mjs';

const run = promisify(execFile);

const ARTIFACTS = 10_000;
const BUILDS_PER_NAME = 20;
const PAIRS = 3;
const CONCURRENCIES = [4, 8, 16, 32];
const TARGET = 0.5;

/** One run as its process reports it. @typedef {{ seconds: number, requests: number, residentBytes: number }} Sample */

/** @returns {Promise<object>} */
export async function benchCheck() {
  return withServer(startRegistry('disk'), async ({ host }) => {
    await fillChannel(host, benchPackages(ARTIFACTS, BUILDS_PER_NAME));
    const size = [String(ARTIFACTS), String(BUILDS_PER_NAME)];
    const calibration = [];
    for (const concurrency of CONCURRENCIES) {
      const { seconds } = await runOnce('check-bare.mjs', [host, String(concurrency), ...size]);
      calibration.push({ concurrency, seconds });
    }
    const best = calibration.reduce((a, b) => (b.seconds < a.seconds ? b : a)).concurrency;
    const samples = [];
    for (let pair = 1; pair <= PAIRS; pair += 1) {
      const ours = await runOnce('check-ours.mjs', [host]);
      const bare = await runOnce('check-bare.mjs', [host, String(best), ...size]);
      stderr.write(
        `  pair ${String(pair)}: ours ${ours.seconds.toFixed(2)} s, bare ${bare.seconds.toFixed(2)} s\n`,
      );
      samples.push({ ours, bare, ratio: bare.seconds / ours.seconds });
    }
    // The registry has twice the requests then, and blobs cost it more than manifests.
    const withIndex = await runOnce('check-ours.mjs', [host, 'index']);
    const ratio = median(samples.map((sample) => sample.ratio));
    return {
      what: `check of ${String(ARTIFACTS)} artifacts, ${String(BUILDS_PER_NAME)} builds a name: manifests and tags`,
      unit: 'artifacts per second',
      ours: ARTIFACTS / median(samples.map(({ ours }) => ours.seconds)),
      limit: ARTIFACTS / median(samples.map(({ bare }) => bare.seconds)),
      ratio,
      target: TARGET,
      isMet: ratio >= TARGET,
      residentBytes: Math.max(...samples.map(({ ours }) => ours.residentBytes)),
      withIndex,
      bareConcurrency: best,
      calibration,
      samples,
    };
  });
}

/**
 * @param {string} script
 * @param {readonly string[]} args
 * @returns {Promise<Sample>}
 */
async function runOnce(script, args) {
  const { stdout } = await run(execPath, [join(import.meta.dirname, script), ...args]);
  return JSON.parse(stdout);
}

/** @param {readonly number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
