/**
 * The repodata scanner on a million records against JSON.parse of the same text, and the whole plan of a first mirror of
 * them, from `.zst`. Interleaved runs in processes of their own; seconds of the processor are told too, since they suffer less
 * from whatever else the machine does.
 */
import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { env, execPath, stderr } from 'node:process';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { compressZstdStream } from '#ferry/io/zstd-stream.js';
import { writeRepodata } from './repodata-generator.mjs';

const run = promisify(execFile);

const RECORDS = Number(env['FERRY_BENCH_RECORDS'] ?? 1_000_000);
const PAIRS = 5;
const SCANNER_TARGET = 2.5;
const PLAN_TARGET = 1.5;
const MAX_RESIDENT_BYTES = 600 * 1024 * 1024;
const LEVEL = 5;

/**
 * One run as its process reports it.
 * @typedef {{ seconds: number, cpuSeconds: number }} Time
 * @typedef {Time & { bytes: number, records: number, residentBytes: number }} Sample
 * @typedef {Sample & { decoding: Time }} ParseSample
 */

/** @returns {Promise<object>} */
export async function benchScanner() {
  return withRepodata(async ({ plain }) => {
    const { samples, ...result } = await compare('scan', plain, plain);
    const withDigest = /** @type {Sample} */ (await runOnce('digest', plain));
    return {
      what: `scanning ${String(RECORDS)} records of plain repodata, against JSON.parse of the same text`,
      unit: 'bytes per second',
      ...result,
      target: SCANNER_TARGET,
      isMet: result.ratio >= SCANNER_TARGET,
      withDigest,
      samples,
    };
  });
}

/** @returns {Promise<object>} */
export async function benchPlan() {
  return withRepodata(async ({ plain, packed, channel }) => {
    const { samples, ...result } = await compare('plan', channel, plain);
    const orderOnly = /** @type {Sample} */ (await runOnce('order', packed));
    return {
      what: `plan of a first mirror of ${String(RECORDS)} records from .zst, decompressed in a worker`,
      unit: 'bytes of plain text per second',
      ...result,
      orderOnly,
      target: PLAN_TARGET,
      isMet: result.ratio >= PLAN_TARGET && result.residentBytes <= MAX_RESIDENT_BYTES,
      samples,
    };
  });
}

/**
 * @param {string} way
 * @param {string} file
 * @param {string} plain
 */
async function compare(way, file, plain) {
  const { size } = await stat(plain);
  const samples = [];
  for (let pair = 1; pair <= PAIRS; pair += 1) {
    const ours = { .../** @type {Sample} */ (await runOnce(way, file)), bytes: size };
    if (ours.records !== RECORDS) throw new Error(`found ${String(ours.records)} records`);
    const parse = /** @type {ParseSample} */ (await runOnce('parse', plain));
    const ratio = rate(ours) / rate(parse);
    const cpuRatio = ours.bytes / ours.cpuSeconds / (parse.bytes / parse.cpuSeconds);
    const fromBytes = parse.seconds + parse.decoding.seconds;
    const ratioFromBytes = rate(ours) / (parse.bytes / fromBytes);
    stderr.write(
      `  pair ${String(pair)}: ratio ${ratio.toFixed(2)}, of processor time ${cpuRatio.toFixed(2)}\n`,
    );
    samples.push({ ours, parse, ratio, cpuRatio, ratioFromBytes });
  }
  return {
    ours: median(samples.map(({ ours }) => rate(ours))),
    limit: median(samples.map(({ parse }) => rate(parse))),
    ratio: median(samples.map(({ ratio }) => ratio)),
    cpuRatio: median(samples.map(({ cpuRatio }) => cpuRatio)),
    ratioFromBytes: median(samples.map(({ ratioFromBytes }) => ratioFromBytes)),
    residentBytes: Math.max(...samples.map(({ ours }) => ours.residentBytes)),
    samples,
  };
}

/**
 * @template T
 * @param {(files: { plain: string, packed: string, channel: string }) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function withRepodata(work) {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  try {
    const plain = join(folder, 'repodata.json');
    const channel = join(folder, 'channel');
    const packed = join(channel, 'linux-64', 'repodata.json.zst');
    await mkdir(dirname(packed), { recursive: true });
    await writeRepodata(plain, { records: RECORDS });
    await pipeline(compressZstdStream(createReadStream(plain), { level: LEVEL }), createWriteStream(packed));
    return await work({ plain, packed, channel });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/**
 * @param {string} way
 * @param {string} file
 * @returns {Promise<unknown>}
 */
async function runOnce(way, file) {
  const { stdout } = await run(execPath, [join(import.meta.dirname, 'scanner-run.mjs'), way, file]);
  return JSON.parse(stdout);
}

/** @param {Sample} sample */
function rate({ bytes, seconds }) {
  return bytes / seconds;
}

/** @param {readonly number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
