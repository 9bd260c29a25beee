import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ask } from './ask.js';
import { ROOT, testEnvironment } from './ferry.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const POLL_MS = 50;
const POLLS = 600;

/** A line of the gateway's access log. */
export interface LoggedRequest {
  readonly method: string;
  /** As the client sent it, without a query. */
  readonly path: string;
  readonly status: number;
}

/** A running `conda-ferry serve`. */
export interface Gateway extends AsyncDisposable {
  /** Such as `http://127.0.0.1:34567`. */
  readonly url: string;
  /** Requests of others so far, oldest first; `take` forgets them. */
  take(): Promise<readonly LoggedRequest[]>;
  /** All that it wrote to stderr. */
  said(): string;
  /** Waits until each of these subdirs has its shards, and forgets that it asked. */
  whenSharded(subdirs: readonly string[]): Promise<void>;
}

/** Starts the built command on a free port of 127.0.0.1 and waits until it is ready. */
export async function startGateway(
  channels: readonly string[],
  flags: readonly string[] = [],
): Promise<Gateway> {
  const host = `127.0.0.1:${await freePort()}`;
  const url = `http://${host}`;
  const args = ['serve', ...channels, '--listen', host, ...flags];
  const child = spawn(process.execPath, [MAIN, ...args], { env: testEnvironment(), cwd: ROOT });
  const heard = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => (heard[name] += text));
  let taken = 0;
  const requests = (): readonly LoggedRequest[] => parseAccessLog(heard.stderr);
  const gateway: Gateway = {
    url,
    take: async () => {
      // What is answered last is logged last: a request of ours marks the end.
      const mark = `/mark-${taken}-${Date.now()}`;
      await ask(`${url}${mark}`);
      const end = await until(() => {
        const index = requests().findIndex(({ path }) => path === mark);
        return index === -1 ? undefined : index;
      }, 'the access log names no request');
      const found = requests().slice(taken, end);
      taken = end + 1;
      return found;
    },
    said: () => heard.stderr,
    whenSharded: async (subdirs) => {
      for (const subdir of subdirs) {
        await until(async () => {
          const { status } = await ask(`${url}/${subdir}/repodata_shards.msgpack.zst`);
          return status === 200 ? status : undefined;
        }, `no shards of ${subdir}`);
      }
      await gateway.take();
    },
    [Symbol.asyncDispose]: async () => stop(child),
  };
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
      const reply = await ask(`${url}/healthz`).catch(() => undefined);
      return reply?.status === 200 ? true : undefined;
    }, 'no answer');
    await gateway.take();
    return gateway;
  } catch (error) {
    await stop(child);
    throw new Error(`the gateway did not come up: ${heard.stdout}${heard.stderr}`, { cause: error });
  }
}

async function until<T>(look: () => T | undefined | Promise<T | undefined>, otherwise: string): Promise<T> {
  for (let poll = 0; poll < POLLS; poll += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`${otherwise} after ${(POLLS * POLL_MS) / 1000} s`);
}

/** Lines of the access log are JSON documents; others are talk. */
export function parseAccessLog(text: string): LoggedRequest[] {
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith('{') || !line.endsWith('}')) return [];
    const { method, path, url, status } = JSON.parse(line) as {
      method?: string;
      path?: string;
      url?: string;
      status?: number;
    };
    const target = path ?? url;
    if (method === undefined || target === undefined || status === undefined) return [];
    return [{ method, path: target.replace(/\?.*$/, ''), status }];
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await once(child, 'exit');
  clearTimeout(timer);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
