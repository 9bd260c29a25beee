import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeServerCertificate } from './registries/certificates.js';
import { IN_MEMORY } from './registries/distribution.js';
import { ROOT, testEnvironment } from './ferry.js';
import { tempFolder } from './temp.js';

const run = promisify(execFile);

/** The release of rattler for Python that tests run. */
export const PY_RATTLER = 'py-rattler==0.28.0';
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');

/**
 * The end of a script with a `main` that uses rattler's gateway. The threads of its runtime may still hold the
 * interpreter when that shuts down, which then aborts after all work is done; so the process leaves without shutdown.
 */
export const RUN_MAIN = `
import os
asyncio.run(main())
sys.stdout.flush()
os._exit(0)
`;

/** The start of such a script: `every_record(gateway, url, subdirs)` yields all that a channel lists there. */
export const EVERY_RECORD = `
import asyncio, json, sys, tempfile
from rattler import Channel, Gateway, Platform

async def every_record(gateway, url, subdirs):
    channel, platforms = Channel(url), [Platform(name) for name in subdirs]
    names = await gateway.names([channel], platforms)
    for records in await gateway.query([channel], platforms, [name.normalized for name in names], recursive=False):
        for record in records:
            yield record
`;

// Fetches every archive that a subdir of the channel lists, as a conda client does, and prints its name and sha256.
const READER = `${EVERY_RECORD}
from rattler.networking import Client, OciMiddleware
from rattler.package_streaming import download_and_extract

async def main():
    client = Client(middlewares=[OciMiddleware()])
    gateway = Gateway(cache_dir=tempfile.mkdtemp(), client=client)
    found = {}
    async for record in every_record(gateway, sys.argv[1], sys.argv[2:]):
        await download_and_extract(client, record.url, tempfile.mkdtemp(), record.sha256)
        found[record.file_name] = record.sha256.hex()
    print(json.dumps(found))
${RUN_MAIN}`;

/** Makes a Python with rattler in a folder. @returns the interpreter's path */
export async function pythonWithRattler(folder: string): Promise<string> {
  const python = join(folder, 'python');
  await run('python3', ['-m', 'venv', python]);
  await run(join(python, 'bin', 'pip'), ['install', '--quiet', PY_RATTLER]);
  return join(python, 'bin', 'python');
}

/** What {@link rattlerReads} found. */
export interface RattlerResult {
  /** What the commands of conda-ferry printed. */
  readonly ferry: readonly string[];
  /** File name to sha256 of every archive that rattler fetched. */
  readonly fetched: Readonly<Record<string, string>>;
}

/**
 * Runs commands of conda-ferry against a registry at `localhost:443`, and lets rattler read a channel of it afterwards.
 * rattler always speaks https and forgets the port of a registry, so all of it happens in a network namespace where port
 * 443 is free.
 * @param channel path of the channel in that registry
 */
export async function rattlerReads(
  channel: string,
  subdirs: readonly string[],
  commands: readonly (readonly string[])[],
): Promise<RattlerResult> {
  const folder = await tempFolder();
  const python = await pythonWithRattler(folder);
  const { certificateFile, keyFile, caFile } = await makeServerCertificate(folder);
  const [config, reader] = [join(folder, 'registry.yml'), join(folder, 'reader.py')];
  const tls = { certificate: certificateFile, key: keyFile };
  const http = { addr: '127.0.0.1:443', secret: 'test', tls };
  // JSON is YAML.
  await writeFile(
    config,
    JSON.stringify({ version: '0.1', log: { level: 'error' }, storage: IN_MEMORY, http }),
  );
  await writeFile(reader, READER);
  const quoted = (args: readonly string[]): string =>
    args.map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`).join(' ');
  const script = [
    'set -e',
    'ip link set lo up',
    `docker-registry serve ${quoted([config])} >/dev/null 2>&1 &`,
    'registry=$!',
    'trap "kill $registry" EXIT',
    `for i in $(seq 100); do (echo >/dev/tcp/127.0.0.1/443) 2>/dev/null && break; sleep 0.1; done`,
    ...commands.map(
      (args) =>
        `${quoted([process.execPath, MAIN, ...args, '--ca-file', caFile, '--no-plain-http', '--quiet', '--json'])}; printf '\\0'`,
    ),
    `SSL_CERT_FILE=${quoted([caFile])} ${quoted([python, reader, `oci://localhost/${channel}`, ...subdirs])}`,
  ].join('\n');
  const { stdout } = await run('unshare', ['--user', '--map-root-user', '--net', 'bash', '-c', script], {
    env: testEnvironment(folder),
    maxBuffer: 64 * 1024 * 1024,
  });
  const outputs = stdout.split('\0');
  return {
    ferry: outputs.slice(0, -1),
    fetched: JSON.parse(outputs.at(-1) ?? '') as Record<string, string>,
  };
}
