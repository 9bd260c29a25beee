// Which way of unpacking bzip2 is fast? Prints JSON: MB/s of output, the best of a few rounds that go through all ways
// in turn; and by how many MB a process of its own grows. `ratio` is ours to libbzip2 on the whole buffer, the limit.
// Use: node bench/bzip2.mjs [FILE.bz2]; without a file it packs a sample. Ways that are not installed are left out:
// unbzip2-stream and seek-bzip are looked for here and in NODE_PATH.
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { bzip2 } from '../fixtures/build/bzip2.mjs';

const ROUNDS = 3;
const SAMPLE_BYTES = 48 * 1024 * 1024;
const require = createRequire(import.meta.url);

/**
 * @typedef {import('bzip2-wasm').Bzip2Heap & {
 *   _BZ2_bzBuffToBuffDecompress(
 *     destination: number, destinationLength: number, source: number, sourceLength: number, small: number, verbosity: number,
 *   ): number }} DecompressingHeap
 */

/** @typedef {(path: string, size: number) => Promise<number>} Way reads a file and returns the unpacked bytes */

/** @param {string} name @returns {unknown} */
function optional(name) {
  try {
    return /** @type {unknown} */ (require(name));
  } catch {
    return undefined;
  }
}

/** @param {AsyncIterable<Uint8Array>} chunks */
async function count(chunks) {
  let size = 0;
  for await (const chunk of chunks) size += chunk.byteLength;
  return size;
}

/** @returns {Promise<Record<string, Way>>} */
async function ways() {
  /** @type {Record<string, Way>} */
  const found = {};
  const { decompressBzip2 } = await import('#ferry/conda/archive/bzip2.js');
  found['chosen'] = (path) => count(decompressBzip2(createReadStream(path, { highWaterMark: 256 * 1024 })));
  const unbzip2 = /** @type {(() => NodeJS.ReadWriteStream) | undefined} */ (optional('unbzip2-stream'));
  if (unbzip2) {
    found['unbzip2-stream'] = async (path) => {
      const unpacked = createReadStream(path).pipe(unbzip2());
      let size = 0;
      unpacked.on('data', (/** @type {Uint8Array} */ chunk) => (size += chunk.byteLength));
      await once(unpacked, 'end');
      return size;
    };
  }
  const seekBzip = /** @type {{ decode(packed: Uint8Array): Uint8Array } | undefined} */ (
    optional('seek-bzip')
  );
  if (seekBzip) {
    found['seek-bzip'] = (path) => Promise.resolve(seekBzip.decode(readFileSync(path)).byteLength);
  }
  found['bzip2-wasm whole'] = wholeBuffer;
  if (spawnSync('bzip2', ['--help']).status === 0) {
    found['bzip2 program'] = async (path, size) => {
      await promisify(execFile)('sh', ['-c', 'exec bzip2 -dc < "$0" > /dev/null', path]);
      return size;
    };
  }
  return found;
}

/** The library at its best: memory for the result is taken before, so that it need not grow within a call. @type {Way} */
async function wholeBuffer(path, size) {
  const { default: BZip2 } = await import('bzip2-wasm');
  const library = new BZip2();
  await library.init();
  const heap = /** @type {DecompressingHeap} */ (library.wasmModule);
  const packed = readFileSync(path);
  const input = heap._malloc(packed.byteLength);
  const output = heap._malloc(size);
  const length = heap._malloc(4);
  heap.HEAPU8.set(packed, input);
  heap.setValue(length, size, 'i32');
  const result = heap._BZ2_bzBuffToBuffDecompress(output, length, input, packed.byteLength, 0, 0);
  if (result !== 0) throw new Error(`bzip2-wasm: ${result}`);
  return heap.getValue(length, 'i32');
}

/** Text-like and binary-like bytes in turn, the same on each run. */
function sample() {
  const bytes = Buffer.alloc(SAMPLE_BYTES);
  let state = 1;
  const words = ['conda', 'package', ' = ', '\n', 'return', ' self.', 'import ', '"version"', ', ', '0x'];
  for (let at = 0; at < bytes.byteLength;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    if ((at & 0x1fffff) < 0x140000) at += bytes.write(words[(state >>> 24) % words.length] ?? '', at);
    else at = bytes.writeUInt8((state >>> 24) & (state >>> 16), at);
  }
  return bytes;
}

/** @param {string} path */
async function measure(path) {
  const all = await ways();
  const size = (await all['chosen']?.(path, 0)) ?? 0;
  /** @type {Record<string, number>} */
  const best = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, way] of Object.entries(all)) {
      const start = performance.now();
      const got = await way(path, size);
      if (got !== size) throw new Error(`${name} unpacked ${got} bytes instead of ${size}`);
      best[name] = Math.max(best[name] ?? 0, size / 1000 / (performance.now() - start));
    }
  }
  /** @type {Record<string, number>} */
  const memory = {};
  for (const name of Object.keys(all).filter((key) => key !== 'bzip2 program')) {
    memory[name] = Number(
      execFileSync(process.execPath, [fileURLToPath(import.meta.url), '--memory', name, path, `${size}`]),
    );
  }
  const rates = Object.fromEntries(
    Object.entries(best).map(([name, rate]) => [name, Math.round(rate * 10) / 10]),
  );
  return {
    packedBytes: statSync(path).size,
    unpackedBytes: size,
    megabytesPerSecond: rates,
    residentMegabytes: memory,
    ratio: Math.round((100 * (best['chosen'] ?? 0)) / (best['bzip2-wasm whole'] ?? 1)) / 100,
  };
}

/** @param {string} name @param {string} path @param {number} size */
async function measureMemory(name, path, size) {
  const way = (await ways())[name];
  const start = process.memoryUsage().rss;
  await way?.(path, size);
  return Math.round((process.resourceUsage().maxRSS * 1024 - start) / 1e6);
}

const [first, name = '', file = '', size = '0'] = process.argv.slice(2);
if (first === '--memory') {
  console.log(await measureMemory(name, file, Number(size)));
} else {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-bench-'));
  try {
    let path = first;
    if (path === undefined) {
      path = join(folder, 'sample.bz2');
      writeFileSync(path, bzip2(sample()));
    }
    console.log(JSON.stringify(await measure(path), null, 2));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
