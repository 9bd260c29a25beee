import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ask } from './ask.js';
import { ROOT, testEnvironment } from './ferry.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const POLL_MS = 50;
const POLLS = 600;
const STOP_MS = 20_000;

/** A request and how it was answered. */
export interface SeenByGateway {
  readonly method: string;
  /** As the client sent it, without a query. */
  readonly path: string;
  readonly status: number;
}

/** A running `conda-ferry serve`, with somebody in front of it who keeps count. */
export interface Gateway extends AsyncDisposable {
  /** Where clients reach it, such as `http://127.0.0.1:34567`. */
  readonly url: string;
  /** Requests since the last time that this was asked, in the order of their answers. */
  take(): readonly SeenByGateway[];
  /** All that its own access log has, once that has as much as was seen from outside. */
  logged(): Promise<{ readonly log: readonly SeenByGateway[]; readonly seen: readonly SeenByGateway[] }>;
  /** Waits until each of these, such as `tools/noarch`, has its shards, and forgets that it asked. */
  whenSharded(subdirs: readonly string[]): Promise<void>;
  /** Stops it in order and gives its exit status; `undefined` where it had to be killed. */
  stop(): Promise<number | undefined>;
}

/** Starts the built command on a free port of 127.0.0.1 with a cache of its own. */
export async function startGateway(
  channels: readonly string[],
  flags: readonly string[] = [],
): Promise<Gateway> {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-gateway-'));
  const logFile = join(folder, 'access.log');
  const files = ['--cache-dir', join(folder, 'cache'), '--access-log', logFile];
  const args = ['serve', ...channels, '--listen', '127.0.0.1:0', ...files, ...flags];
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: testEnvironment(),
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const heard = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => (heard[name] += text));
  let recorder: Recorder | undefined;
  const stop = async (): Promise<number | undefined> => {
    await recorder?.[Symbol.asyncDispose]();
    const status = await stopChild(child);
    await rm(folder, { recursive: true, force: true });
    return status;
  };
  try {
    const own = await until(() => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
      return /^serving at (\S+)$/m.exec(heard.stdout)?.[1];
    }, 'it says nothing');
    recorder = await startRecorder(new URL(own));
  } catch (error) {
    await stop();
    throw new Error(`the gateway did not come up: ${heard.stdout}${heard.stderr}`, { cause: error });
  }
  const { url, seen, all } = recorder;
  return {
    url,
    take: () => seen.splice(0),
    logged: () =>
      until(async () => {
        const log = parseAccessLog(await readFile(logFile, 'utf8'));
        return log.length >= all.length ? { log, seen: [...all] } : undefined;
      }, 'the access log lacks requests'),
    whenSharded: async (subdirs) => {
      for (const subdir of subdirs) {
        await until(async () => {
          const { status } = await ask(`${url}/${subdir}/repodata_shards.msgpack.zst`);
          return status === 200 ? status : undefined;
        }, `no shards of ${subdir}`);
      }
      seen.length = 0;
    },
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
    },
  };
}

function parseAccessLog(text: string): SeenByGateway[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const { method, path, status } = JSON.parse(line) as SeenByGateway;
    return { method, path: path.replace(/\?.*$/, ''), status };
  });
}

interface Recorder extends AsyncDisposable {
  readonly url: string;
  /** Since somebody emptied it, and from the beginning on. */
  readonly seen: SeenByGateway[];
  readonly all: SeenByGateway[];
}

/** Hands everything on, as it is, and notes what was asked and how it was answered. */
async function startRecorder(target: URL): Promise<Recorder> {
  const seen: SeenByGateway[] = [];
  const all: SeenByGateway[] = [];
  const server = createServer((incoming, response) => {
    const { method = '', url = '', headers } = incoming;
    const options = { host: target.hostname, port: target.port, path: url, method, headers };
    const onward = httpRequest(options, (answer) => {
      const status = answer.statusCode ?? 0;
      const request = { method, path: url.replace(/\?.*$/, ''), status };
      seen.push(request);
      all.push(request);
      response.writeHead(status, answer.rawHeaders);
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => {
      if (!response.writableFinished) onward.destroy();
    });
    incoming.pipe(onward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    all,
    [Symbol.asyncDispose]: async () => {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function until<T>(look: () => T | undefined | Promise<T | undefined>, otherwise: string): Promise<T> {
  for (let poll = 0; poll < POLLS; poll += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`${otherwise} after ${(POLLS * POLL_MS) / 1000} s`);
}

async function stopChild(child: ChildProcessByStdio<null, Readable, Readable>): Promise<number | undefined> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await once(child, 'exit');
    clearTimeout(timer);
  }
  return child.exitCode ?? undefined;
}
