/**
 * The gateway against nginx, in one run on this machine: bytes per second of 300 files of 1 MB and of 300 files of 10 MB,
 * requests per second of a small `repodata.json`. Ours is the command itself over two folders, with everything in its cache.
 * wrk asks both in turns. nginx has sendfile and a worker for each core; its file cache is the kernel's, as ours is.
 *
 * Asks for nginx and wrk (`apt-get install nginx-light wrk`).
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath, getuid, stderr } from 'node:process';
import { promisify } from 'node:util';
import { freePort, startProcess } from './servers.mjs';

const run = promisify(execFile);

const FILES = 300;
const SMALL_BYTES = 8 * 1024;
const MB = 1_000_000;
const ROUNDS = 5;
const SECONDS = 4;
const CONNECTIONS = 32;
const TARGET = 0.5;

/** What the gateway may have resident; the files are ten times that. */
const MEMORY_BYTES = 300 * 1024 * 1024;

/** What wrk asks for: one path, or one for each number of a file. */
const KINDS = {
  '1 MB': { before: '/large/noarch/m', after: '-1-0.conda', unit: 'bytes' },
  '10 MB': { before: '/large/noarch/t', after: '-1-0.conda', unit: 'bytes' },
  small: { before: '/small/noarch/repodata.json', after: undefined, unit: 'requests' },
};

/**
 * One go of wrk. Latencies in milliseconds.
 * @typedef {{ requests: number, bytes: number, seconds: number, errors: number, p50: number, p99: number }} Sample
 */

/** @returns {Promise<object>} */
export async function benchGateway() {
  for (const program of ['nginx', 'wrk']) await mustHave(program);
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  try {
    await fillChannels(folder);
    const ours = await startOurs(folder);
    try {
      await warmUp(ours.host);
      const nginx = await startNginx(folder);
      try {
        return await compare(folder, ours, nginx);
      } finally {
        await nginx[Symbol.asyncDispose]();
      }
    } finally {
      await ours[Symbol.asyncDispose]();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} folder
 * @param {import('./servers.mjs').BenchServer} ours
 * @param {import('./servers.mjs').BenchServer} nginx
 */
async function compare(folder, ours, nginx) {
  /** @type {Record<string, object>} */
  const results = {};
  let isMet = true;
  for (const [name, kind] of Object.entries(KINDS)) {
    const script = join(folder, 'wrk.lua');
    await writeFile(script, wrkScript(kind.before, kind.after));
    const samples = [];
    // Once each without counting, so that neither pays for the first read from disk.
    for (const { host } of [nginx, ours]) await ask(host, script);
    for (let round = 1; round <= ROUNDS; round += 1) {
      const limit = await ask(nginx.host, script);
      const own = await ask(ours.host, script);
      const ratio = rate(own, kind.unit) / rate(limit, kind.unit);
      samples.push({ ours: own, limit, ratio });
      stderr.write(`  ${name}, round ${String(round)}: ${ratio.toFixed(2)} of nginx\n`);
    }
    const ratio = median(samples.map((sample) => sample.ratio));
    isMet &&= ratio >= TARGET;
    results[name] = {
      unit: `${kind.unit} per second`,
      ours: median(samples.map((sample) => rate(sample.ours, kind.unit))),
      limit: median(samples.map((sample) => rate(sample.limit, kind.unit))),
      ratio,
      isMet: ratio >= TARGET,
      latencyMs: latencies(samples.map((sample) => sample.ours)),
      limitLatencyMs: latencies(samples.map((sample) => sample.limit)),
      samples,
    };
  }
  const residentBytes = ours.pid === undefined ? undefined : await peakMemory(ours.pid);
  return {
    what: `${String(FILES)} files of 1 MB and of 10 MB, and a repodata.json of ${String(SMALL_BYTES)} bytes, by wrk with ${String(CONNECTIONS)} connections`,
    limitIs: 'nginx, sendfile, a worker for each core',
    ratio: Math.min(
      ...Object.values(results).map((result) => ('ratio' in result ? Number(result.ratio) : 0)),
    ),
    target: TARGET,
    isMet: isMet && (residentBytes === undefined || residentBytes <= MEMORY_BYTES),
    residentBytes,
    residentLimitBytes: MEMORY_BYTES,
    ...results,
  };
}

/** @param {readonly Sample[]} samples */
function latencies(samples) {
  return { p50: median(samples.map(({ p50 }) => p50)), p99: median(samples.map(({ p99 }) => p99)) };
}

/**
 * @param {Sample} sample
 * @param {string} unit
 */
function rate(sample, unit) {
  return (unit === 'bytes' ? sample.bytes : sample.requests) / sample.seconds;
}

/**
 * Two channels: one of large archives, and one whose repodata has {@link SMALL_BYTES}.
 * @param {string} folder
 */
async function fillChannels(folder) {
  const large = join(folder, 'large', 'noarch');
  const small = join(folder, 'small', 'noarch');
  for (const subdir of [large, small]) await mkdir(subdir, { recursive: true });
  const bytes = randomBytes(10 * MB);
  /** @type {Record<string, object>} */
  const records = {};
  for (let index = 0; index < FILES; index += 1) {
    bytes.writeUInt32BE(index);
    for (const [letter, size] of /** @type {const} */ ([
      ['m', MB],
      ['t', 10 * MB],
    ])) {
      const name = `${letter}${String(index)}`;
      const archive = bytes.subarray(0, size);
      records[`${name}-1-0.conda`] = benchRecord(name, archive);
      await writeFile(join(large, `${name}-1-0.conda`), archive);
    }
  }
  await writeFile(join(large, 'repodata.json'), repodata(records));
  /** @type {Record<string, object>} */
  const few = {};
  while (repodata(few).length < SMALL_BYTES) {
    const name = `p${String(Object.keys(few).length)}`;
    few[`${name}-1-0.conda`] = benchRecord(name, bytes.subarray(0, 10));
  }
  await writeFile(join(small, 'repodata.json'), repodata(few));
}

/**
 * @param {string} name
 * @param {Uint8Array} archive
 */
function benchRecord(name, archive) {
  const sha256 = createHash('sha256').update(archive).digest('hex');
  const of = { name, version: '1', build: '0', build_number: 0, depends: [], subdir: 'noarch' };
  return { ...of, sha256, size: archive.byteLength };
}

/** @param {Record<string, object>} records */
function repodata(records) {
  return JSON.stringify({ info: { subdir: 'noarch' }, packages: {}, 'packages.conda': records });
}

/**
 * @param {string} before
 * @param {string | undefined} after
 */
function wrkScript(before, after) {
  const path = after === undefined ? `"${before}"` : `"${before}" .. (next % ${String(FILES)}) .. "${after}"`;
  return `local next = 0
request = function()
  next = next + 1
  return wrk.format("GET", ${path})
end
done = function(summary, latency)
  local errors = summary.errors
  local wrong = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\\n{"requests":%d,"bytes":%d,"seconds":%f,"errors":%d,"p50":%f,"p99":%f}\\n', summary.requests,
    summary.bytes, summary.duration / 1e6, wrong, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
`;
}

/**
 * @param {string} host
 * @param {string} script
 * @returns {Promise<Sample>}
 */
async function ask(host, script) {
  const args = ['-t1', `-c${String(CONNECTIONS)}`, `-d${String(SECONDS)}s`, '--latency', '-s', script];
  const { stdout } = await run('wrk', [...args, `http://${host}`]);
  /** @type {Sample} */
  const sample = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  if (sample.errors > 0) throw new Error(`${host} gave ${String(sample.errors)} wrong answers`);
  return sample;
}

/** @param {string} folder */
async function startOurs(folder) {
  const host = `127.0.0.1:${String(await freePort())}`;
  const program = join(import.meta.dirname, '..', 'dist', 'cli', 'main.js');
  const channels = [`large=${join(folder, 'large')}`, `small=${join(folder, 'small')}`];
  const options = ['--listen', host, '--cache-dir', join(folder, 'cache'), '--quiet'];
  return startProcess(execPath, [program, 'serve', ...channels, ...options], host, '/healthz');
}

/**
 * Has everything asked for once, so that it is checked, and in the cache.
 * @param {string} host
 */
async function warmUp(host) {
  for (const { before, after } of Object.values(KINDS)) {
    for (let index = 0; index < (after === undefined ? 1 : FILES); index += 1) {
      const path = after === undefined ? before : `${before}${String(index)}${after}`;
      const answer = await fetch(`http://${host}${path}`);
      if (!answer.ok) throw new Error(`${path} is answered ${String(answer.status)}`);
      await answer.body?.pipeTo(new WritableStream());
    }
  }
}

/** @param {string} folder */
async function startNginx(folder) {
  const host = `127.0.0.1:${String(await freePort())}`;
  const config = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  await writeFile(
    config,
    `daemon off;
${getuid?.() === 0 ? 'user root;' : ''}
worker_processes auto;
pid ${join(folder, 'nginx.pid')};
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  ${temporary.map((name) => `${name}_temp_path ${join(folder, name)};`).join('\n  ')}
  server {
    listen ${host};
    root ${folder};
  }
}
`,
  );
  return startProcess('nginx', ['-e', 'stderr', '-c', config], host, '/small/noarch/repodata.json', {
    signal: 'SIGTERM',
  });
}

/** @param {string} program */
async function mustHave(program) {
  await run(program, ['-v']).catch((/** @type {unknown} */ error) => {
    // wrk has no answer to that which would be a success.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new Error(`${program} is not there: apt-get install nginx-light wrk`);
    }
  });
}

/**
 * The largest resident set that a process had, in bytes; `undefined` where the system does not tell.
 * @param {number} pid
 */
async function peakMemory(pid) {
  const status = await readFile(`/proc/${String(pid)}/status`, 'utf8').catch(() => '');
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return kib === undefined ? undefined : Number(kib) * 1024;
}

/** @param {readonly number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
