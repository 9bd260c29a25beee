/**
 * `node scanner-run.mjs scan|digest|order|plan|parse PATH`: one run, timed from within. `scan` reads plain repodata, `digest`
 * hashes it too, `order` reads `.zst`, decompressing in a worker, and goes through all records in the order of a plan, `plan`
 * plans the mirror of a channel into an empty one, `parse` gives the same text as `scan` has to JSON.parse.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { argv, cpuUsage, resourceUsage, stdout } from 'node:process';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { letHeapGrow } from '#ferry/cli/heap-growth.js';
import { Repodata } from '#ferry/conda/repodata/repodata.js';
import { ChannelStore, DirectoryChannel, oci, planMirror, schemaV0 } from '../dist/index.js';

/** As if somebody else had hashed the text. @type {import('../dist/io/digest.js').Digest} */
const NO_DIGEST = `sha256:${'0'.repeat(64)}`;
const SUBDIR = 'linux-64';
/** Pieces that JSON.parse gets: a whole file is longer than a string can be. */
const PARSED_BYTES = 64 * 1024 * 1024;
const READ_BYTES = 512 * 1024;
const LIMIT = 16 * 1024 ** 3;

const [way = 'scan', file = ''] = argv.slice(2);
/** @type {Readonly<Record<string, () => Promise<object>>>} */
const ways = { scan: () => scan(), digest, order, plan, parse };

/**
 * Reads into the same memory again and again: whoever takes a piece is done with it when it asks for the next.
 * @type {import('../dist/io/bytes.js').OpenBytes}
 */
async function* openFile(options = {}) {
  const handle = await open(file);
  try {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    for (let at = options.offset ?? 0; ;) {
      const { bytesRead } = await handle.read(buffer, 0, READ_BYTES, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

/** @param {() => unknown} work */
async function timed(work) {
  const before = cpuUsage();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = cpuUsage(before);
  return { seconds, cpuSeconds: (user + system) / 1e6 };
}

async function digest() {
  return scan({});
}

/** @param {import('../dist/conda/repodata/repodata.js').ReadRepodataOptions} options */
async function scan(options = { digest: () => NO_DIGEST }) {
  /** @type {Repodata | undefined} */
  let repodata;
  const time = await timed(async () => {
    repodata = await Repodata.read(openFile, SUBDIR, options);
  });
  return { ...time, bytes: repodata?.size, records: repodata?.recordCount };
}

async function order() {
  const pool = new WorkerPool(1);
  let records = 0;
  let bytes = 0;
  const time = await timed(async () => {
    /** @type {import('../dist/io/digest.js').Digest | undefined} */
    let digest;
    const onDigest = (/** @type {import('../dist/io/digest.js').Digest} */ told) => (digest = told);
    const openPlain = pool.decompressing(openFile, { maxBytes: LIMIT, what: 'the repodata', onDigest });
    const repodata = await Repodata.read(openPlain, SUBDIR, { digest: () => digest });
    bytes = repodata.size;
    for (const { records: ofName } of repodata.packages()) records += ofName.length;
  });
  await pool[Symbol.asyncDispose]();
  return { ...time, bytes, records };
}

async function plan() {
  letHeapGrow();
  let records = 0;
  const destination = new ChannelStore(new oci.MemoryRegistry(), 'bench', schemaV0);
  const time = await timed(async () => {
    const planned = await planMirror({ source: new DirectoryChannel(file), destination });
    for (const subdir of planned.subdirs) {
      if (subdir.status !== 'planned') throw new Error(`the plan ended as ${subdir.status}`);
      records += subdir.plan.listed;
    }
  });
  return { ...time, records };
}

async function parse() {
  let bytes = 0;
  let records = 0;
  const parsing = { seconds: 0, cpuSeconds: 0 };
  const decoding = { seconds: 0, cpuSeconds: 0 };
  for (const piece of pieces()) {
    let text = '';
    const decoded = await timed(() => (text = piece.toString('utf8')));
    /** @type {object} */
    let value = {};
    const parsed = await timed(() => (value = JSON.parse(text)));
    bytes += piece.byteLength;
    records += Object.keys(value).length;
    parsing.seconds += parsed.seconds;
    parsing.cpuSeconds += parsed.cpuSeconds;
    decoding.seconds += decoded.seconds;
    decoding.cpuSeconds += decoded.cpuSeconds;
  }
  return { ...parsing, decoding, bytes, records };
}

/** The records in documents of their own. */
function* pieces() {
  const handle = openSync(file, 'r');
  const size = statSync(file).size;
  const buffer = Buffer.alloc(PARSED_BYTES);
  let at = 0;
  while (at < size) {
    const length = readSync(handle, buffer, 0, PARSED_BYTES, at);
    const text = buffer.subarray(0, length);
    const first = at === 0 ? text.indexOf('"packages":{') + 12 : 0;
    const isLast = at + length === size;
    const end = isLast ? text.lastIndexOf('},"removed"') : text.lastIndexOf('},"') + 1;
    const parts = [Buffer.from('{'), text.subarray(first, end), Buffer.from('}')];
    const border = text.subarray(first, end).indexOf('},"packages.conda":{');
    if (border >= 0) {
      const body = text.subarray(first, end);
      parts.splice(1, 1, body.subarray(0, border), Buffer.from(','), body.subarray(border + 20));
    }
    yield Buffer.concat(parts);
    // The comma stays behind.
    at += isLast ? length : end + 1;
  }
  closeSync(handle);
}

const run = ways[way];
if (run === undefined) throw new Error(`there is no way ${way}`);
const result = await run();
stdout.write(JSON.stringify({ ...result, residentBytes: resourceUsage().maxRSS * 1024 }));
