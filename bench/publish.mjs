/**
 * One push of one archive into a channel of 100,000 records, as a process of its own, beside the time that the registry
 * takes for the same bytes in the same requests.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath, stderr } from 'node:process';
import { promisify } from 'node:util';
import { condaPackage } from '../fixtures/build/archive.mjs';
import { startRegistry, withServer } from './servers.mjs';

const run = promisify(execFile);

const RECORDS = 100_000;
const PUSHES = 5;
const TARGET_SECONDS = 3;
const TARGET_BYTES = 400 * 1024 * 1024;
const MAIN = join(import.meta.dirname, '..', 'dist', 'cli', 'main.js');
const POLL_MS = 10;

/** @returns {Promise<object>} */
export async function benchPublish() {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  try {
    return await withServer(startRegistry('disk'), ({ host }) => measure(host, folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} host
 * @param {string} folder
 */
async function measure(host, folder) {
  const prepared = await run(execPath, [script('publish-prepare.mjs'), host, String(RECORDS)]);
  /** @type {{ readonly jsonBytes: number, readonly zstBytes: number }} */
  const sizes = JSON.parse(prepared.stdout);
  const samples = [];
  for (let i = 0; i < PUSHES; i += 1) {
    const { filename, bytes } = condaPackage({
      name: `published-${String(i)}`,
      version: '1.0',
      build: '0',
      subdir: 'linux-64',
      zip: { level: 1 },
    });
    const path = join(folder, filename);
    await writeFile(path, bytes);
    /** @type {{ readonly seconds: number }} */
    const bare = JSON.parse((await run(execPath, [script('publish-bare.mjs'), host])).stdout);
    const ours = await push(path, `oci://${host}/bench/publish`);
    const beside = ours.seconds - bare.seconds;
    stderr.write(
      `  push ${ours.seconds.toFixed(2)} s, registry ${bare.seconds.toFixed(2)} s, ${String(Math.round(ours.residentBytes / 2 ** 20))} MiB\n`,
    );
    samples.push({ ours, bare, beside });
  }
  const ours = median(samples.map((sample) => sample.ours.seconds));
  const limit = median(samples.map((sample) => sample.bare.seconds));
  const beside = median(samples.map((sample) => sample.beside));
  const residentBytes = Math.max(...samples.map((sample) => sample.ours.residentBytes));
  return {
    what: `push of one archive into a channel of ${String(RECORDS)} records`,
    unit: 'seconds',
    ours,
    limit,
    ratio: limit / ours,
    beside,
    target: TARGET_SECONDS,
    residentBytes,
    targetBytes: TARGET_BYTES,
    isMet: beside <= TARGET_SECONDS && residentBytes <= TARGET_BYTES,
    ...sizes,
    samples,
  };
}

/** @param {string} name */
function script(name) {
  return join(import.meta.dirname, name);
}

/**
 * The command as people run it, from its start to its end. What it takes of memory is looked up as long as it lives.
 * @param {string} path
 * @param {string} channel
 */
async function push(path, channel) {
  const start = performance.now();
  const child = spawn(execPath, [MAIN, 'push', path, channel, '--quiet'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  let residentBytes = 0;
  const timer = setInterval(() => {
    void readFile(`/proc/${String(child.pid)}/status`, 'utf8').then(
      (status) => {
        const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
        residentBytes = Math.max(residentBytes, Number(peak ?? 0) * 1024);
      },
      () => undefined,
    );
  }, POLL_MS);
  const [code] = await once(child, 'exit');
  clearInterval(timer);
  if (code !== 0) throw new Error(`push ended with ${String(code)}`);
  return { seconds: (performance.now() - start) / 1000, residentBytes };
}

/** @param {readonly number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
