/** Servers for benchmarks, as processes of their own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
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
 * @returns {Promise<BenchServer>}
 */
export async function startRegistry(storage = 'memory') {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-bench-'));
  const host = `127.0.0.1:${String(await freePort())}`;
  const config = join(folder, 'config.yml');
  await writeFile(
    config,
    `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {${storage === 'memory' ? 'inmemory: {}' : `filesystem: {rootdirectory: ${join(folder, 'data')}}`}, maintenance: {uploadpurging: {enabled: false}}}
http: {addr: "${host}", secret: bench}
`,
  );
  const server = await startProcess('docker-registry', ['serve', config], host, '/v2/');
  return {
    host,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
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
 * @param {NodeJS.Signals} signal what ends it, with processes of its own
 * @returns {Promise<BenchServer>}
 */
export async function startProcess(program, args, host, path, signal = 'SIGKILL') {
  const child = spawn(program, args, { stdio: 'ignore' });
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
