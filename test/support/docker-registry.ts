import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';

const START_ATTEMPTS = 5;
const POLL_MS = 20;
const POLLS = 500;

/** A real registry of this test file's own, or a corner of the one that the caller brought. */
export interface TestRegistry extends AsyncDisposable {
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
  /** Repository prefix that no other test uses. */
  readonly prefix: string;
  /** Lines of the registry's own access log so far; `undefined` where it is not ours. */
  accessLog(): Promise<readonly string[] | undefined>;
}

/** Options of {@link startRegistry}. */
export interface TestRegistryOptions {
  /** Keep data on disk, where the registry behaves as in production. @defaultValue false */
  readonly onDisk?: boolean;
  /** htpasswd file, for Basic authentication. */
  readonly htpasswd?: string;
}

/** Starts Debian's docker-registry on a free port of 127.0.0.1. */
export async function startRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const prefix = `t${randomUUID().slice(0, 8)}`;
  const brought = process.env['CONDA_FERRY_TEST_REGISTRY'];
  if (brought !== undefined && options.htpasswd === undefined) {
    return {
      host: new URL(brought).host,
      prefix,
      accessLog: () => Promise.resolve(undefined),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  if (spawnSync('docker-registry', ['--version'], { stdio: 'ignore' }).error !== undefined) {
    throw new Error(
      'no registry to test against: install docker-registry (apt-get install -y docker-registry), or set CONDA_FERRY_TEST_REGISTRY=http://HOST:PORT',
    );
  }
  const folder = await mkdtemp(join(tmpdir(), 'ferry-registry-'));
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(folder, prefix, options);
    } catch (error) {
      // Somebody else may have taken the port in the meantime.
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

async function startOnce(
  folder: string,
  prefix: string,
  options: TestRegistryOptions,
): Promise<TestRegistry> {
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const config = join(folder, 'config.yml');
  const logFile = join(folder, 'access.log');
  const storage =
    options.onDisk === true ? `filesystem: {rootdirectory: ${join(folder, 'data')}}` : 'inmemory: {}';
  const auth =
    options.htpasswd === undefined ? '' : `auth: {htpasswd: {realm: test, path: ${options.htpasswd}}}`;
  await writeFile(
    config,
    `version: 0.1
log: {level: error}
storage:
  ${storage}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}}
http: {addr: "${host}", secret: test}
${auth}
`,
  );
  const shell = `exec docker-registry serve "${config}" >"${logFile}" 2>&1`;
  const child = spawn('sh', ['-c', shell], { stdio: 'ignore' });
  await waitUntilUp(host, child);
  return {
    host,
    prefix,
    accessLog: async () => {
      const text = await readFile(logFile, 'utf8');
      return text.split('\n').filter((line) => /"(?:GET|HEAD|POST|PUT|PATCH|DELETE) \/v2\//.test(line));
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function waitUntilUp(host: string, child: ChildProcess): Promise<void> {
  for (let poll = 0; poll < POLLS; poll += 1) {
    if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}`);
    const answer = await fetch(`http://${host}/v2/`).catch(() => undefined);
    if (answer !== undefined) {
      await answer.body?.cancel();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  child.kill('SIGKILL');
  throw new Error('docker-registry did not come up');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
