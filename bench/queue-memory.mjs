/** What a million archives in a queue take of memory: in the process that puts them there, and in Redis. */
import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, execPath, stderr } from 'node:process';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { compressZstdStream } from '#ferry/io/zstd-stream.js';
import { writeRepodata } from './repodata-generator.mjs';
import { startRedis, withServer } from './servers.mjs';

const run = promisify(execFile);

const QUEUED = Number(env['FERRY_BENCH_QUEUED'] ?? 1_000_000);
const MIB = 1024 * 1024;
const MAX_RESIDENT_BYTES = 300 * MIB;
const MAX_BYTES_PER_ARCHIVE = 1024;
const LEVEL = 5;

/**
 * One run as its process reports it; `residentBytes` is its peak.
 * @typedef {{ archives: number, jobs: number, seconds: number, residentBytes: number, redisBytesPerArchive: number }} Sample
 */

/**
 * Fills queues that nobody empties: with a plan that is made up, one archive a job and many, and with that of a coordinator,
 * which holds repodata of as many records and has no target.
 */
export async function measureQueueMemory() {
  const items = await fill('items');
  const lone = await fill('lone');
  const isMet = [items, lone].every(
    ({ residentBytes, redisBytesPerArchive }) =>
      residentBytes <= MAX_RESIDENT_BYTES && redisBytesPerArchive <= MAX_BYTES_PER_ARCHIVE,
  );
  return {
    what: `${String(QUEUED)} archives put into Redis`,
    maxResidentBytes: MAX_RESIDENT_BYTES,
    maxBytesPerArchive: MAX_BYTES_PER_ARCHIVE,
    isMet,
    items,
    lone,
    coordinator: await fillByCoordinator(),
  };
}

async function fillByCoordinator() {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  try {
    const plain = join(folder, 'repodata.json');
    const subdir = join(folder, 'channel', 'linux-64');
    await mkdir(subdir, { recursive: true });
    await writeRepodata(plain, { records: QUEUED });
    const packed = join(subdir, 'repodata.json.zst');
    await pipeline(compressZstdStream(createReadStream(plain), { level: LEVEL }), createWriteStream(packed));
    return await fill('plan', join(folder, 'channel'));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/**
 * @param {string} way
 * @param {readonly string[]} more
 * @returns {Promise<Sample>}
 */
async function fill(way, ...more) {
  const script = join(import.meta.dirname, 'queue-enqueue.mjs');
  return withServer(startRedis(), async ({ host }) => {
    const args = [script, way, `redis://${host}`, String(QUEUED), ...more];
    const { stdout } = await run(execPath, args);
    /** @type {Sample} */
    const sample = JSON.parse(stdout);
    const { residentBytes, redisBytesPerArchive } = sample;
    stderr.write(
      `  ${way}: ${(residentBytes / MIB).toFixed(0)} MiB resident, ${redisBytesPerArchive.toFixed(0)} bytes of Redis an archive\n`,
    );
    return sample;
  });
}
