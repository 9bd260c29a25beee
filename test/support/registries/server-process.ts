import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, rm } from 'node:fs/promises';
import { request as requestPlain } from 'node:http';
import { request as requestTls } from 'node:https';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';

const START_ATTEMPTS = 5;
const POLL_MS = 20;
const POLLS = 500;
const REQUEST_LINE = /"(?:GET|HEAD|POST|PUT|PATCH|DELETE) \/v2\//;

/** A registry of the test's own: a process that goes away with it. */
export interface StartedRegistry extends AsyncDisposable {
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
  /** Such as `https://127.0.0.1:34567`. */
  readonly origin: string;
  /** Repository prefix that no other test uses, such as `t1a2b3c4d`. */
  readonly prefix: string;
  /** Certificate to trust it by, where it speaks TLS. */
  readonly caFile?: string;
  /** Requests so far, each as `… "GET /v2/… HTTP/1.1" 200 …` whatever the registry. */
  accessLog(): Promise<readonly string[]>;
}

/** What {@link startServer} needs to know of a program. */
export interface ServerProgram {
  /** For error messages: what it is, and how to come by it. */
  readonly what: string;
  /** Holds configuration, data and log; removed with the registry. */
  readonly folder: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly caFile?: string;
  /** The program and its arguments, for a port that was free a moment ago. */
  command(host: string, port: number): Promise<readonly [string, ...string[]]>;
  /** Makes a line of its log look as everybody else's do. @defaultValue it looks so already */
  readonly toLogLine?: (line: string) => string;
}

/** Starts a registry program on a free port of 127.0.0.1 and waits until it answers. */
export async function startServer(program: ServerProgram): Promise<StartedRegistry> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(program);
    } catch (error) {
      // Somebody else may have taken the port in the meantime.
      if (attempt < START_ATTEMPTS && !isMissingProgram(error)) continue;
      await rm(program.folder, { recursive: true, force: true });
      throw isMissingProgram(error) ? new Error(`${program.what} is not there`, { cause: error }) : error;
    }
  }
}

async function startOnce(program: ServerProgram): Promise<StartedRegistry> {
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const origin = `${program.caFile === undefined ? 'http' : 'https'}://${host}`;
  const [file, ...args] = await program.command(host, port);
  const logFile = join(program.folder, 'access.log');
  const log = await open(logFile, 'w');
  const env = { ...process.env, ...program.env };
  const child = spawn(file, args, { stdio: ['ignore', log.fd, log.fd], env, cwd: program.folder });
  try {
    await once(child, 'spawn');
    await waitUntilUp(child, origin, program);
  } catch (error) {
    if (isMissingProgram(error)) throw error;
    await stop(child);
    const said = (await readFile(logFile, 'utf8')).slice(-2000);
    throw new Error(`${program.what} did not come up: ${said}`, { cause: error });
  } finally {
    await log.close();
  }
  const toLogLine = program.toLogLine ?? ((line) => line);
  return {
    host,
    origin,
    prefix: `t${randomUUID().slice(0, 8)}`,
    ...(program.caFile === undefined ? {} : { caFile: program.caFile }),
    accessLog: async () => {
      const text = await readFile(logFile, 'utf8');
      return text
        .split('\n')
        .map(toLogLine)
        .filter((line) => REQUEST_LINE.test(line));
    },
    [Symbol.asyncDispose]: async () => {
      await stop(child);
      await rm(program.folder, { recursive: true, force: true });
    },
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function waitUntilUp(child: ChildProcess, origin: string, program: ServerProgram): Promise<void> {
  const ca = program.caFile === undefined ? undefined : await readFile(program.caFile);
  for (let poll = 0; poll < POLLS; poll += 1) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    if (await isUp(`${origin}/v2/`, ca)) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`no answer after ${POLLS * POLL_MS} ms`);
}

/** Whether anything answers there; a 401 is an answer too. */
async function isUp(url: string, ca: Buffer | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const request =
      ca === undefined ? requestPlain(url, { agent: false }) : requestTls(url, { ca, agent: false });
    request.on('response', (response) => {
      response.resume();
      resolve(true);
    });
    request.on('error', () => {
      resolve(false);
    });
    request.end();
  });
}

function isMissingProgram(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
