import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const POLL_MS = 20;
const POLLS = 500;
const START_ATTEMPTS = 5;

/** A Redis of the test's own, on a free port of 127.0.0.1, with its data on disk. */
export interface StartedRedis extends AsyncDisposable {
  readonly port: number;
  /** Such as `redis://127.0.0.1:34567`, with the password where there is one. */
  readonly url: string;
  /** Ends it with no time to write anything; {@link restart} brings it back with what the disk has. */
  kill(): Promise<void>;
  /** Starts it again on the same port, with what the disk has. */
  restart(): Promise<void>;
}

/** Options of {@link startRedis}. */
export interface RedisOptions {
  readonly password?: string;
  /** Whether each write goes to a file, as a queue wants it. @defaultValue true */
  readonly appendOnly?: boolean;
  /** More flags, such as `['--maxmemory', '4mb']`. */
  readonly flags?: readonly string[];
}

/** Starts Debian's `redis-server`. */
export async function startRedis(options: RedisOptions = {}): Promise<StartedRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-redis-'));
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      let child = await start(folder, port, options);
      const kill = async (): Promise<void> => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGKILL');
        await once(child, 'exit');
      };
      return {
        port,
        url: `redis://${options.password === undefined ? '' : `:${options.password}@`}127.0.0.1:${port}`,
        kill,
        restart: async () => {
          await kill();
          child = await start(folder, port, options);
        },
        [Symbol.asyncDispose]: async () => {
          await kill();
          await rm(folder, { recursive: true, force: true });
        },
      };
    } catch (error) {
      // Somebody else may have taken the port in the meantime.
      if (attempt < START_ATTEMPTS && !(error instanceof Error && 'code' in error)) continue;
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }
}

async function start(folder: string, port: number, options: RedisOptions): Promise<ChildProcess> {
  const { password, appendOnly = true, flags = [] } = options;
  const logFile = join(folder, 'redis.log');
  const args = [
    ...['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--logfile', logFile, '--save', ''],
    ...['--appendonly', appendOnly ? 'yes' : 'no', '--appendfsync', 'everysec'],
    ...(password === undefined ? [] : ['--requirepass', password]),
    ...flags,
  ];
  const child = spawn('redis-server', args, { stdio: 'ignore' });
  await once(child, 'spawn');
  for (let poll = 0; poll < POLLS && child.exitCode === null; poll += 1) {
    if (await isReady(port)) return child;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  child.kill('SIGKILL');
  throw new Error(`redis-server did not come up: ${(await readFile(logFile, 'utf8')).slice(-1000)}`);
}

/** Whether it answers, be it that it wants a password; while it reads its file it says `-LOADING`. */
async function isReady(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.on('data', (data) => {
      socket.destroy();
      resolve(!data.toString('latin1').startsWith('-LOADING'));
    });
    socket.on('error', () => {
      resolve(false);
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
