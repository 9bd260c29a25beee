/** Servers for benchmarks, as processes of their own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * A process that listens on `host`; disposing ends it.
 * @typedef {AsyncDisposable & { readonly host: string, readonly pid?: number | undefined }} BenchServer
 */

/**
 * Lends a server to some work, and ends it afterwards.
 * @template T
 * @param {Promise<BenchServer>} starting
 * @param {(server: BenchServer) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withServer(starting, work) {
  const server = await starting;
  try {
    return await work(server);
  } finally {
    await server[Symbol.asyncDispose]();
  }
}

/**
 * Starts docker-registry. In memory it finds content more slowly the more it has.
 * @param {'memory' | 'disk'} storage
 * @param {string} [logFile] where it writes what it was asked
 * @returns {Promise<BenchServer>}
 */
export async function startRegistry(storage = 'memory', logFile) {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  const host = `127.0.0.1:${String(await freePort())}`;
  const config = join(folder, 'config.yml');
  await writeFile(
    config,
    `version: 0.1
log: {level: error, accesslog: {disabled: ${String(logFile === undefined)}}}
storage: {${storage === 'memory' ? 'inmemory: {}' : `filesystem: {rootdirectory: ${join(folder, 'data')}}`}, maintenance: {uploadpurging: {enabled: false}}}
http: {addr: "${host}", secret: bench}
`,
  );
  const server = await startProcess('docker-registry', ['serve', config], host, '/v2/', { logFile });
  return {
    host,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

/**
 * Starts redis-server as a queue wants it: with its append-only file, and nothing evicted.
 * @returns {Promise<BenchServer>}
 */
export async function startRedis() {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  const port = await freePort();
  const child = spawn(
    'redis-server',
    [
      ...['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--save', ''],
      ...['--appendonly', 'yes', '--appendfsync', 'everysec'],
    ],
    { stdio: 'ignore' },
  );
  await once(child, 'spawn');
  const exited = once(child, 'exit');
  while (!(await isOpen(port))) {
    if (child.exitCode !== null) throw new Error('redis-server did not start');
    await delay(20);
  }
  return {
    host: `127.0.0.1:${String(port)}`,
    pid: child.pid,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}

/** @param {number} port */
async function isOpen(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * Serves a folder over HTTP.
 * @param {string} folder
 * @returns {Promise<BenchServer>}
 */
export async function startFileServer(folder) {
  const port = await freePort();
  const script = join(import.meta.dirname, 'file-server.mjs');
  return startProcess(execPath, [script, folder, String(port)], `127.0.0.1:${String(port)}`, '/');
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} host
 * @param {string} path one that is answered as soon as the server is up
 * @param {{ signal?: NodeJS.Signals, logFile?: string | undefined }} [options] what ends it, with processes of its own;
 * where its output goes
 * @returns {Promise<BenchServer>}
 */
export async function startProcess(program, args, host, path, { signal = 'SIGKILL', logFile } = {}) {
  const log = logFile === undefined ? undefined : await open(logFile, 'a');
  const child = spawn(program, args, { stdio: ['ignore', log?.fd ?? 'ignore', 'ignore'] });
  await log?.close();
  const exited = once(child, 'exit');
  for (;;) {
    const answer = await fetch(`http://${host}${path}`).catch(() => undefined);
    if (answer !== undefined) {
      await answer.body?.cancel();
      break;
    }
    if (child.exitCode !== null) throw new Error(`${program} did not start; is it installed?`);
    await delay(20);
  }
  return {
    host,
    pid: child.pid,
    [Symbol.asyncDispose]: async () => {
      child.kill(signal);
      await exited;
    },
  };
}

/** @returns {Promise<number>} */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
