import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { ROOT, testEnvironment, type FerryResult } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import { tempFolder } from '../support/temp.js';

const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const START_MS = 40_000;
const SECRET = 's3cret-w0rd';

let folder: string;

beforeEach(async () => {
  folder = await tempFolder();
});

/** The command in a process of its own, which ends with the test. */
interface Serving {
  readonly url: string;
  /** What it said at the start, with `URL` for the address it listens on. */
  readonly announcement: string;
  readonly stop: (signal: NodeJS.Signals) => Promise<FerryResult>;
}

async function serve(...args: string[]): Promise<Serving> {
  const own = ['--listen', '127.0.0.1:0', '--cache-dir', join(folder, 'cache'), '--temp-dir', folder];
  const child = spawn(process.execPath, [MAIN, 'serve', ...args, ...own], {
    cwd: folder,
    env: testEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const ended = once(child, 'close');
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // The last line of what it says at the start.
  await expect.poll(() => `${stdout}${stderr}`, { timeout: START_MS }).toMatch(/^conda install .* PACKAGE$/m);
  const url = /^serving at (\S+)$/m.exec(stdout)?.[1] ?? '';
  return {
    url,
    announcement: stdout
      .replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, 'URL')
      .replaceAll(folder, 'FOLDER')
      .replaceAll(ROOT, 'ROOT'),
    stop: async (signal) => {
      child.kill(signal);
      await ended;
      return { code: child.exitCode, stdout, stderr };
    },
  };
}

const statusOf = async (url: string, init?: RequestInit): Promise<number> => {
  const response = await fetch(url, init);
  await response.arrayBuffer();
  return response.status;
};

test('says what it serves where, answers, and ends with 0 when it is told to', async () => {
  const layout = join(folder, 'mirror');
  expect(await runFerry(['mirror', FIXTURE_CHANNEL, `oci-layout:${layout}`, '--quiet'])).toMatchObject({
    code: 0,
  });
  const { url, announcement, stop } = await serve(
    `tools=oci-layout:${layout}`,
    FIXTURE_CHANNEL,
    '--access-log',
    join(folder, 'access.log'),
  );
  expect(announcement).toMatchInlineSnapshot(`
    "serving at URL
      URL/tools    oci-layout:FOLDER/mirror
      URL/channel  ROOT/fixtures/channel
    conda install -c URL/tools PACKAGE
    "
  `);
  const asked = await fetch(`${url}/tools/noarch/repodata.json`);
  expect(await asked.text()).toBe(await readFile(join(FIXTURE_CHANNEL, 'noarch', 'repodata.json'), 'utf8'));
  expect(await statusOf(`${url}/channel/linux-64/repodata.json.zst`)).toBe(200);
  expect(await statusOf(`${url}/channel/win-64/repodata.json`)).toBe(404);
  expect(await statusOf(`${url}/v2/`)).toBe(200);
  expect(await statusOf(`${url}/v2/`, { method: 'PUT' })).toBe(405);
  expect(await statusOf(`${url}/`, { headers: { accept: 'text/html' } })).toBe(200);
  expect(await statusOf(`${url}/healthz`)).toBe(200);
  expect(await statusOf(`${url}/readyz`)).toBe(200);
  expect(await stop('SIGTERM')).toMatchObject({ code: 0, stderr: 'stopping\n' });
  const lines = (await readFile(join(folder, 'access.log'), 'utf8')).trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { status: number }).status)).toEqual([
    200, 200, 404, 200, 405, 200, 200, 200,
  ]);
}, 120_000);

test('names the public URL, and ends with 0 by SIGINT, too', async () => {
  const { announcement, stop } = await serve(FIXTURE_CHANNEL, '--public-url', 'https://conda.example.org/');
  expect(announcement).toMatchInlineSnapshot(`
    "serving at https://conda.example.org
      https://conda.example.org/channel  ROOT/fixtures/channel
    conda install -c https://conda.example.org/channel PACKAGE
    "
  `);
  expect(await stop('SIGINT')).toMatchObject({ code: 0 });
}, 60_000);

test('lets in who is listed, and shows no secret', async () => {
  await writeFile(join(folder, 'users'), `# who may read\nme:${SECRET}\n`);
  await writeFile(join(folder, 'tokens'), 't0ken\n');
  const { url, stop } = await serve(
    FIXTURE_CHANNEL,
    ...['--user-file', 'users', '--token-file', 'tokens', '--access-log', '-'],
  );
  const path = 'channel/noarch/repodata.json';
  const basic = `Basic ${Buffer.from(`me:${SECRET}`).toString('base64')}`;
  expect(await statusOf(`${url}/${path}`)).toBe(401);
  expect(await statusOf(`${url}/metrics`)).toBe(401);
  expect(await statusOf(`${url}/healthz`)).toBe(200);
  expect(await statusOf(`${url}/${path}`, { headers: { authorization: basic } })).toBe(200);
  expect(await statusOf(`${url}/${path}`, { headers: { authorization: 'Bearer t0ken' } })).toBe(200);
  expect(await statusOf(`${url}/t/t0ken/${path}`)).toBe(200);
  expect(await statusOf(`${url}/t/other/${path}`)).toBe(401);
  const { code, stderr } = await stop('SIGTERM');
  expect(code).toBe(0);
  expect(stderr).toContain(`"path":"/t/***/${path}"`);
  expect(stderr).not.toContain('t0ken');
  expect(stderr).not.toContain(SECRET);
}, 60_000);

/** What it ends with, and what it says. */
async function refusal(args: readonly string[]): Promise<string> {
  const own = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
  const cache = args.includes('--cache-dir') ? [] : ['--cache-dir', join(folder, 'cache')];
  const { code, stdout, stderr } = await runFerry(['serve', ...args, ...own, ...cache], { cwd: folder });
  expect(stdout).toBe('');
  return `${String(code)} ${stderr.replaceAll(folder, 'FOLDER').replace(/^ {2}because: .*\n/gm, '')}`.trim();
}

test('a port that is taken', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => {
    other.close();
  });
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  const said = await refusal([FIXTURE_CHANNEL, '--listen', `127.0.0.1:${String(port)}`]);
  expect(said.replace(String(port), 'PORT')).toMatchInlineSnapshot(`
    "3 error: cannot listen on \`127.0.0.1\`, port PORT: something else listens there [LISTEN_FAILED]

    hint: stop what listens there, or take another port with --listen HOST:PORT"
  `);
});

test('a certificate and the key of another one', async () => {
  for (const name of ['one', 'two']) {
    const made = spawnSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...[
          '-keyout',
          join(folder, `${name}.key`),
          '-out',
          join(folder, `${name}.pem`),
          '-subj',
          '/CN=localhost',
        ],
      ],
      { stdio: 'ignore' },
    );
    expect(made.status).toBe(0);
  }
  const said = await refusal([FIXTURE_CHANNEL, '--tls-cert', 'one.pem', '--tls-key', 'two.key']);
  expect(said).toMatchInlineSnapshot(`
    "3 error: the certificate or its key cannot be used [LISTEN_FAILED]

    hint: pass PEM files that belong together: the chain as --tls-cert, its key as --tls-key"
  `);
});

describe('what cannot be served is said in one error', () => {
  beforeEach(async () => {
    await mkdir(join(folder, 'image'));
    const manifest = { mediaType: 'application/vnd.oci.image.manifest.v1+json', size: 2 };
    const digest = `sha256:${'0'.repeat(64)}`;
    await writeFile(join(folder, 'image', 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(
      join(folder, 'image', 'index.json'),
      JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, digest }] }),
    );
    await writeFile(join(folder, 'file'), `${SECRET}\n`);
    await writeFile(join(folder, 'empty'), '# nobody\n');
  });

  test('files and folders', async () => {
    expect(await refusal(['./absent'])).toMatchInlineSnapshot(`
      "3 error: there is no folder \`FOLDER/absent\` [CHANNEL_NOT_FOUND]

      hint: check the path: the folder that holds noarch and linux-64 is wanted"
    `);
    expect(await refusal(['oci-layout:./absent'])).toMatchInlineSnapshot(`
      "3 error: there is no folder \`FOLDER/absent\` [CHANNEL_NOT_FOUND]

      hint: check the path; \`conda-ferry mirror\` makes such a folder"
    `);
    expect(await refusal(['./file'])).toMatchInlineSnapshot(
      `"3 error: \`FOLDER/file\` is not a folder [CHANNEL_NOT_FOUND]"`,
    );
    expect(await refusal([FIXTURE_CHANNEL, '--cache-dir', 'file'])).toMatchInlineSnapshot(`
      "3 error: \`FOLDER/file\` is not a folder [LAYOUT_INVALID]

      hint: name a folder of its own with --cache-dir; it is made if need be"
    `);
    expect(await refusal([FIXTURE_CHANNEL, '--cache-dir', 'image'])).toMatchInlineSnapshot(`
      "3 error: \`image\` holds content of its own, and is no cache [LAYOUT_INVALID]

      hint: name a folder of its own with --cache-dir; it is made if need be"
    `);
    expect(await refusal([FIXTURE_CHANNEL, '--temp-dir', 'absent'])).toMatchInlineSnapshot(`
      "2 error: \`absent\` cannot hold temporary files [USAGE]

      hint: choose another folder with --temp-dir"
    `);
    expect(await refusal([FIXTURE_CHANNEL, '--access-log', 'absent/log'])).toMatchInlineSnapshot(
      `"3 error: \`absent/log\` cannot be written [OUTPUT_UNWRITABLE]"`,
    );
  });

  test('files of secrets, without what stands in them', async () => {
    expect(await refusal([FIXTURE_CHANNEL, '--user-file', 'absent'])).toMatchInlineSnapshot(
      `"2 error: \`absent\` cannot be read [USAGE]"`,
    );
    expect(await refusal([FIXTURE_CHANNEL, '--user-file', 'file'])).toMatchInlineSnapshot(`
      "2 error: entry 1 of \`file\` is not name:password [USAGE]

      hint: write one entry a line; lines that begin with # are skipped"
    `);
    expect(await refusal([FIXTURE_CHANNEL, '--token-file', 'empty'])).toMatchInlineSnapshot(`
      "2 error: \`empty\` lets nobody in [USAGE]

      hint: write one entry a line"
    `);
    expect(await refusal([FIXTURE_CHANNEL, '--tls-cert', 'file'])).toMatchInlineSnapshot(`
      "2 error: \`--tls-cert\` and \`--tls-key\` belong together [USAGE]

      hint: pass the certificate with its chain, and its key; both as PEM files"
    `);
    const said = await refusal([FIXTURE_CHANNEL, '--tls-cert', 'file', '--tls-key', 'file']);
    expect(said).toMatchInlineSnapshot(`
      "3 error: the certificate or its key cannot be used [LISTEN_FAILED]

      hint: pass PEM files that belong together: the chain as --tls-cert, its key as --tls-key"
    `);
  });

  test('addresses', async () => {
    expect(await refusal([FIXTURE_CHANNEL, '--listen', '127.0.0.1:http'])).toMatchInlineSnapshot(`
      "2 error: option '--listen <host:port>' argument '127.0.0.1:http' is invalid. HOST:PORT is wanted, such as 127.0.0.1:8000 or [::1]:8000 [USAGE]
      (see conda-ferry serve --help)"
    `);
    expect(await refusal([FIXTURE_CHANNEL, '--listen', '192.0.2.1:8000'])).toMatchInlineSnapshot(`
      "3 error: cannot listen on \`192.0.2.1\`, port 8000: it is no address of this machine [LISTEN_FAILED]

      hint: pass --listen 0.0.0.0:PORT or [::]:PORT for all addresses of this machine"
    `);
    expect(await refusal([FIXTURE_CHANNEL, '--public-url', 'conda.example.org'])).toMatchInlineSnapshot(`
      "2 error: option '--public-url <url>' argument 'conda.example.org' is invalid. a URL such as https://conda.example.org is wanted [USAGE]
      (see conda-ferry serve --help)"
    `);
  });

  test('names', async () => {
    expect(await refusal([])).toMatchInlineSnapshot(`
      "2 error: there is nothing to serve [USAGE]

      hint: name a channel, such as oci://host/path"
    `);
    expect(await refusal([FIXTURE_CHANNEL, 'channel=./file'])).toMatchInlineSnapshot(`
      "2 error: \`./file\` cannot be served as \`channel\`: another channel has that name [USAGE]

      hint: give it another name: NAME=./file"
    `);
    expect(await refusal(['v2=./file'])).toMatchInlineSnapshot(`
      "2 error: \`./file\` cannot be served as \`v2\`: the gateway's own URLs begin with it [USAGE]

      hint: give it another name: NAME=./file"
    `);
    expect(await refusal(['./noarch'])).toMatchInlineSnapshot(`
      "2 error: \`./noarch\` cannot be served as \`noarch\`: that is a subdir [USAGE]

      hint: name the channel itself, which holds the subdirs"
    `);
    expect(await refusal(['https://conda.example.org/'])).toMatchInlineSnapshot(`
      "2 error: \`https://conda.example.org/\` does not end in a name to serve it under [USAGE]

      hint: give it one: NAME=https://conda.example.org/"
    `);
    expect(await refusal(['oci://127.0.0.1:5000'])).toMatchInlineSnapshot(`
      "2 error: \`oci://127.0.0.1:5000\` lacks the path of a channel [CHANNEL_INVALID]

      hint: write oci://127.0.0.1:5000/NAME"
    `);
    expect(await refusal(['oci://127.0.0.1:5000/Upper'])).toMatchInlineSnapshot(
      `"2 error: \`Upper\` cannot name a repository [REFERENCE_INVALID]"`,
    );
  });

  test('flags that do not go together', async () => {
    expect(await refusal([FIXTURE_CHANNEL, '--redirect', '--proxy'])).toMatchInlineSnapshot(`
      "2 error: \`--redirect\` and \`--proxy\` do not go together [USAGE]

      hint: without either, it is decided for each archive"
    `);
    expect(await refusal(['--store', 'oci-layout:./store'])).toMatchInlineSnapshot(`
      "2 error: \`--upstream\` and \`--store\` belong together [USAGE]

      hint: pass --upstream CHANNEL, which fills the store"
    `);
    expect(await refusal(['--upstream', FIXTURE_CHANNEL])).toMatchInlineSnapshot(`
      "2 error: \`--upstream\` and \`--store\` belong together [USAGE]

      hint: pass --store LOCATION, which is filled"
    `);
    expect(await refusal([FIXTURE_CHANNEL, '--schema', 'v9'])).toMatchInlineSnapshot(`
      "2 error: there is no schema \`v9\` [USAGE]

      hint: write v0 or v1"
    `);
  });
});
