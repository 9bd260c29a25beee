/**
 * One archive of 1 GiB from an HTTP file server into docker-registry on disk, against `curl` down piped to `curl` up: the
 * same bytes into an upload session, by one POST and one PUT whose length and digest are known beforehand. Interleaved
 * pairs, each into a registry of its own; the median of their ratios, and the most memory that ours had.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath, stderr } from 'node:process';
import { promisify } from 'node:util';
import { condaPackage } from '../fixtures/build/archive.mjs';
import { writeChannel } from '../fixtures/build/channel.mjs';
import { startFileServer, startRegistry, withServer } from './servers.mjs';

const run = promisify(execFile);

const ARCHIVE_BYTES = 1024 ** 3;
const PAIRS = 5;
const TARGET = 0.8;
const TARGET_RESIDENT_BYTES = 250 * 1024 ** 2;

/** One run. @typedef {{ seconds: number, cpuSeconds: number, residentBytes: number }} Sample */

/** @returns {Promise<object>} */
export async function benchMirrorLarge() {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  try {
    await run(execPath, [import.meta.filename, folder]);
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
  const file = (await readdir(join(folder, 'noarch'))).find((name) => name.endsWith('.conda')) ?? '';
  const { size } = await stat(join(folder, 'noarch', file));
  const digest = await digestOf(join(folder, 'noarch', file));
  const samples = [];
  for (let pair = 1; pair <= PAIRS; pair += 1) {
    /** @type {Sample} */
    const ours = await withServer(startRegistry('disk'), ({ host }) => mirror(host, sourceHost));
    /** @type {{ seconds: number }} */
    const curl = await withServer(startRegistry('disk'), ({ host }) =>
      pipe(host, `http://${sourceHost}/noarch/${file}`, size, digest),
    );
    stderr.write(
      `  pair ${String(pair)}: ours ${ours.seconds.toFixed(2)} s, curl ${curl.seconds.toFixed(2)} s\n`,
    );
    samples.push({ ours, curl, ratio: curl.seconds / ours.seconds });
  }
  const ratio = median(samples.map((sample) => sample.ratio));
  const residentBytes = Math.max(...samples.map(({ ours }) => ours.residentBytes));
  return {
    what: `one archive of ${String(size)} bytes into a registry on disk, against curl down piped to up`,
    unit: 'MiB per second',
    ours: size / 1024 ** 2 / median(samples.map(({ ours }) => ours.seconds)),
    limit: size / 1024 ** 2 / median(samples.map(({ curl }) => curl.seconds)),
    ratio,
    target: TARGET,
    residentBytes,
    targetResidentBytes: TARGET_RESIDENT_BYTES,
    isMet: ratio >= TARGET && residentBytes <= TARGET_RESIDENT_BYTES,
    samples,
  };
}

/**
 * @param {string} host
 * @param {string} sourceHost
 * @returns {Promise<Sample>}
 */
async function mirror(host, sourceHost) {
  const script = join(import.meta.dirname, 'mirror-small-ours.mjs');
  const { stdout } = await run(execPath, [script, host, `http://${sourceHost}`]);
  return JSON.parse(stdout);
}

/**
 * @param {string} host
 * @param {string} url
 * @param {number} size
 * @param {string} digest
 * @returns {Promise<{ seconds: number }>}
 */
async function pipe(host, url, size, digest) {
  const uploads = `http://${host}/v2/bench/curl/blobs/uploads/`;
  const start = performance.now();
  const session = await fetch(uploads, { method: 'POST' });
  const location = `${session.headers.get('location') ?? ''}&digest=${encodeURIComponent(digest)}`;
  const upload = [
    'curl -sf -X PUT -T - -H "expect:" -H "transfer-encoding:" -H "content-type: application/octet-stream"',
    `-H "content-length: ${String(size)}" "$2"`,
  ].join(' ');
  await run('sh', ['-c', `curl -sf "$1" | ${upload}`, 'sh', url, location]);
  const seconds = (performance.now() - start) / 1000;
  const stored = await fetch(`http://${host}/v2/bench/curl/blobs/${digest}`, { method: 'HEAD' });
  if (!stored.ok) throw new Error('curl stored nothing');
  return { seconds };
}

/** @param {string} file */
async function digestOf(file) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** Writes the channel, in a process of its own: its memory would be held otherwise. @param {string} folder */
async function writeLargeChannel(folder) {
  const noise = Buffer.alloc(ARCHIVE_BYTES);
  const { randomFillSync } = await import('node:crypto');
  randomFillSync(noise);
  const archive = condaPackage({
    name: 'large',
    version: '1.0',
    build: '0',
    subdir: 'noarch',
    index: { noarch: 'generic' },
    payloadFiles: { 'share/noise': noise },
    zip: { level: 1 },
  });
  await writeChannel(folder, { noarch: [archive] });
}

/** @param {readonly number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

if (process.argv[1] === import.meta.filename) await writeLargeChannel(process.argv[2] ?? '');
