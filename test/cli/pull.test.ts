import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { incompressible } from '../../fixtures/build/bytes.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { names, pkg, sha256 } from '../mirror/pull/scene.js';
import { serveChannel } from '../support/channel-server.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { ROOT, runFerry, testEnvironment } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

const TOOL = 'ferry-tool-2.1.0-py_0.conda';
const DATA = 'ferry-data-1.0+abc-0.conda';

async function lockOf(folder: string, ...lines: string[]): Promise<string> {
  const file = join(folder, 'lock.txt');
  await writeFile(file, ['@EXPLICIT', ...lines, ''].join('\n'));
  return file;
}

const urlOf = (filename: string): string => `https://conda.anaconda.org/ferry/noarch/${filename}`;

test('pull by lock file names what the channel lacks, pulls the rest, and ends in 1', async () => {
  const cwd = await tempFolder();
  const tool = sha256(await readFile(join(FIXTURE_CHANNEL, 'noarch', TOOL)));
  const lock = await lockOf(
    cwd,
    `${urlOf(TOOL)}#sha256:${tool}`,
    `${urlOf(DATA)}#sha256:${'0'.repeat(64)}`,
    `${urlOf('none-1-0.conda')}#sha256:${'1'.repeat(64)}`,
    'https://example.org/downloads/x-1-0.conda',
  );
  const args = ['pull', FIXTURE_CHANNEL, '--lock', lock, '--output', 'got'];
  const first = await runFerry(args, { cwd });
  expect(first.code).toBe(1);
  expect(first.stdout).toBe(`got/${TOOL}, 1.3 kB\n  sha256:${tool}\n`);
  expect(first.stderr.split('\n').map((line) => line.replace(/`[^`]*`|sha256:\S+/g, '…'))).toEqual([
    'to pull: 2 archives, 1.3 kB',
    'error: noarch/none-1-0.conda: it is locked from https://conda.anaconda.org/ferry, and this channel does not list it [NOT_FOUND]',
    '  because: the source does not have it (no such file) [ARCHIVE_ABSENT]',
    `error: noarch/${DATA}: it is locked as … and the channel lists … [DIGEST_MISMATCH]`,
    'warning: passed over, for no conda channel has it: 1 package of the lock',
    '',
  ]);
  const again = await runFerry([...args, '--json', '--quiet', '--extract'], { cwd });
  expect(again.code).toBe(1);
  expect(JSON.parse(again.stdout)).toEqual({
    pulled: [
      {
        ...{ subdir: 'noarch', filename: TOOL, digest: `sha256:${tool}`, size: 1337, status: 'there' },
        ...{ path: join('got', TOOL), unpacked: join('got', 'ferry-tool-2.1.0-py_0') },
      },
    ],
    failed: [
      {
        subdir: 'noarch',
        filename: 'none-1-0.conda',
        code: 'NOT_FOUND',
        message: expect.any(String) as unknown,
      },
      { subdir: 'noarch', filename: DATA, code: 'DIGEST_MISMATCH', message: expect.any(String) as unknown },
    ],
  });
});

test.each<[string[], number, string]>([
  [['pull', FIXTURE_CHANNEL], 2, 'write a match spec, or --lock FILE'],
  [['pull', FIXTURE_CHANNEL, 'ferry-tool', '--channel-url', 'https://x.example'], 2, 'goes with --extract'],
  [['pull', FIXTURE_CHANNEL, 'ferry-tool', '--concurrency', '0'], 2, 'from 1 to 1024'],
  [['pull', FIXTURE_CHANNEL, '--lock', './none'], 2, 'cannot be read'],
  [
    ['pull', FIXTURE_CHANNEL, 'ferry-tool', '--output', '/dev/null/x'],
    3,
    '`/dev/null/x` cannot be written [OUTPUT_UNWRITABLE]',
  ],
])('%j exits with %i and says why', async (args, code, text) => {
  const result = await runFerry([...args, '--quiet'], { cwd: await tempFolder() });
  expect(result.stderr).toContain(text);
  expect(result).toMatchObject({ code, stdout: '' });
});

test('pull --verbose tells each archive on stderr, and prints what is there on stdout', async () => {
  const cwd = await tempFolder();
  const pull = (): ReturnType<typeof runFerry> =>
    runFerry(['pull', FIXTURE_CHANNEL, 'ferry-tool', '--verbose', '--extract'], { cwd });
  expect((await pull()).stderr).toBe(`to pull: 1 archive, 1.3 kB\ndone: noarch/${TOOL} (1.3 kB)\n`);
  const again = await pull();
  expect(again.stdout).toContain(`${TOOL}, 1.3 kB, there already\n`);
  expect(again.stdout).toContain('  unpacked: ferry-tool-2.1.0-py_0\n');
});

test('a killed pull leaves nothing that looks finished, and the next one goes on from there', async () => {
  const folder = await tempFolder();
  const large = pkg('large', { payloadFiles: { 'share/large': incompressible(600_000) } });
  await writeChannel(folder, { noarch: [large] });
  const half = 400_000;
  const ranges: (string | undefined)[] = [];
  await using server = await serveChannel(folder, {
    intercept: (request, response) => {
      if (request.url?.endsWith('.conda') !== true) return false;
      const { range } = request.headers;
      ranges.push(range);
      const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
      const size = String(large.bytes.length);
      if (from === 0) {
        // Half of it, and then silence.
        response.writeHead(200, { 'content-length': size });
        response.write(large.bytes.subarray(0, half));
      } else {
        response.writeHead(206, {
          'content-range': `bytes ${String(from)}-${String(large.bytes.length - 1)}/${size}`,
        });
        response.end(large.bytes.subarray(from));
      }
      return true;
    },
  });
  const cwd = await tempFolder();
  const args = ['pull', server.url, 'large', '--subdir', 'noarch', '--output', 'got', '--extract'];
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'cli', 'main.js'), ...args], {
    cwd,
    env: testEnvironment(),
    stdio: 'ignore',
  });
  const partial = async (): Promise<number> => {
    const [name] = await names(join(cwd, 'got')).catch(() => []);
    return name === undefined ? 0 : (await readFile(join(cwd, 'got', name)).catch(() => Buffer.of())).length;
  };
  await expect.poll(partial, { timeout: 30_000 }).toBe(half);
  child.kill('SIGKILL');
  await once(child, 'close');
  const left = await names(join(cwd, 'got'));
  expect(left).toHaveLength(1);
  expect(left[0]).toMatch(/^\.[0-9a-f]{64}\.\S+\.partial$/);
  const again = await runFerry([...args, '--json'], { cwd });
  expect(again.code).toBe(0);
  expect(JSON.parse(again.stdout)).toMatchObject({ pulled: [{ status: 'resumed' }] });
  expect(ranges).toEqual([undefined, `bytes=${String(half)}-`]);
  expect(await names(join(cwd, 'got'))).toEqual(['large-1-0', 'large-1-0.conda', 'urls.txt']);
  expect(await readFile(join(cwd, 'got', 'large-1-0.conda'))).toEqual(Buffer.from(large.bytes));
});
