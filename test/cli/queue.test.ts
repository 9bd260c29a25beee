import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseLocation } from '#ferry/cli/locations.js';
import { makeEnds, parseEnds, type EndsFlags } from '#ferry/cli/queue-ends.js';
import { openEnds } from '#ferry/cli/open-ends.js';
import { sumRequests } from '#ferry/cli/queue-mirror.js';
import { createWorkerReporter } from '#ferry/cli/worker-reporter.js';
import type { RunEnds } from '#ferry/queue/run-record.js';
import type { WorkerEnds } from '#ferry/queue/run-parts.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { runFerry } from '../support/ferry-here.js';
import { runFerry as runFerryProcess, testEnvironment } from '../support/ferry.js';
import { servePrivateChannel } from '../support/private-channel.js';
import { tempFolder } from '../support/temp.js';

const QUEUE = ['--queue', 'redis://127.0.0.1:1'];
const MIRROR = ['mirror', FIXTURE_CHANNEL, 'oci://127.0.0.1:1/ch'];

/** Ends of a run as the command line would give them. */
function endsOf(
  source: string,
  destination: string,
  fallbacks: readonly string[] = [],
  flags: EndsFlags = {},
) {
  return makeEnds({
    source: parseLocation(source),
    destination: parseLocation(destination),
    fallbacks: fallbacks.map(parseLocation),
    flags,
  });
}

describe('ends of a run', () => {
  test('hold all that a worker has to know, and no more', () => {
    const flags: EndsFlags = {
      ...{ schema: 'v1', label: 'dev', sourceSchema: 'v0', sourceLabel: 'main', plainHttp: false },
      ...{ profile: 'ghcr.io', githubApi: new URL('https://github.example.com/api/v3/') },
    };
    const secret = { username: 'me', passwordStdin: true, caFile: '/home/me/ca.pem' };
    expect(endsOf('https://conda.example.org/ch', 'ghcr.io/me/ch', [], { ...flags, ...secret })).toEqual({
      source: 'https://conda.example.org/ch',
      destination: 'oci://ghcr.io/me/ch',
      ...{ schema: 'v1', label: 'dev', sourceSchema: 'v0', sourceLabel: 'main', plainHttp: false },
      ...{ profile: 'ghcr.io', githubApi: 'https://github.example.com/api/v3/' },
    });
    expect(endsOf('conda-forge', 'oci://127.0.0.1:5000/ch')).toEqual({
      source: 'https://conda.anaconda.org/conda-forge',
      destination: 'oci://127.0.0.1:5000/ch',
    });
  });

  test('name folders by their whole path', () => {
    expect(endsOf('./a b', 'oci-layout:./mirror', ['./c'])).toEqual({
      source: `file://${process.cwd()}/a%20b`,
      destination: `oci-layout:${process.cwd()}/mirror`,
      fallbacks: JSON.stringify([`file://${process.cwd()}/c`]),
    });
  });

  test.each([
    ['https://me:s3cret@conda.example.org/ch', 'https://conda.example.org/ch'],
    ['https://s3cret@conda.example.org/ch', 'https://conda.example.org/ch'],
    ['https://conda.example.org/t/s3cret/ch', 'https://conda.example.org/ch'],
    ['https://conda.example.org/t/s3cret', 'https://conda.example.org/'],
    ['https://conda.example.org/api/t/s3cret/ch/', 'https://conda.example.org/api/ch/'],
    ['https://conda.example.org/t/s3cret/t/s3cret2/ch', 'https://conda.example.org/ch'],
    ['https://me:s3cret@conda.example.org/t/s3cret/ch', 'https://conda.example.org/ch'],
  ])('leave out what is secret in %s', (given, told) => {
    const ends = endsOf(given, 'ghcr.io/me/ch', [given], {
      githubApi: new URL('https://me:s3cret@github.example.com/api/v3/?token=s3cret#s3cret'),
    });
    expect(ends).toMatchObject({ source: told, fallbacks: JSON.stringify([told]) });
    expect(JSON.stringify(ends)).not.toContain('s3cret');
  });

  test('leave out a query, though no location may have one', () => {
    const url = new URL('https://conda.example.org/ch?token=s3cret#s3cret');
    const web = { kind: 'web', url } as const;
    const ends = makeEnds({
      source: web,
      destination: parseLocation('ghcr.io/me/ch'),
      fallbacks: [],
      flags: {},
    });
    expect(ends['source']).toBe('https://conda.example.org/ch');
  });

  test('come back as they were', () => {
    const flags: EndsFlags = {
      ...{
        schema: 'v0',
        label: 'dev',
        plainHttp: true,
        githubApi: new URL('https://github.example.com/api/v3/'),
      },
    };
    const locations = [
      'https://conda.example.org/ch',
      '/srv/a b%20',
      'oci-layout:/srv/x',
      'oci://h.example/p',
    ];
    for (const source of locations) {
      const told = {
        source: parseLocation(source),
        destination: parseLocation('oci://ghcr.io/me/ch'),
        fallbacks: locations.map(parseLocation),
        flags,
      };
      expect(parseEnds(makeEnds(told))).toEqual(told);
    }
  });

  test.each([
    [{ source: 'https://conda.example.org/ch' }],
    [{ source: 'conda-forge', destination: 'ghcr.io/me/ch', shape: 'round' }],
    [{ source: 'conda-forge', destination: 'ghcr.io/me/ch', fallbacks: '[1]' }],
    [{ source: '', destination: 'ghcr.io/me/ch' }],
  ])('of another version are refused: %j', (ends) => {
    expect(() => parseEnds(ends)).toThrow(expect.objectContaining({ code: 'VERSION_MISMATCH' }));
  });
});

/** Opens ends as a worker does whose home is that folder. */
async function openAt(home: string, ends: RunEnds): Promise<WorkerEnds> {
  const opened = await openEnds(ends, {
    flags: {},
    context: {
      output: { stdout: new PassThrough(), stderr: new PassThrough() },
      environment: testEnvironment(home),
      stdin: process.stdin,
      signal: new AbortController().signal,
      hints: new Map(),
      setExitCode: () => undefined,
    },
    warn: () => undefined,
  });
  onTestFinished(() => opened[Symbol.asyncDispose]());
  return opened;
}

describe('a worker opens the ends of a run', () => {
  test('with the credentials of its own machine alone', async () => {
    const demand = { kind: 'basic', username: 'me', password: 's3cret' } as const;
    await using server = await servePrivateChannel(FIXTURE_CHANNEL, demand, { status: 401 });
    const ends = endsOf(server.url.replace('http://', 'http://me:s3cret@'), 'oci-layout:./mirror');
    const [without, having] = [await tempFolder(), await tempFolder()];
    await writeFile(join(having, '.netrc'), 'machine 127.0.0.1 login me password s3cret\n', { mode: 0o600 });
    const path = 'noarch/repodata.json';

    const opened = await openAt(having, ends);
    const answer = await opened.source.openMetadata(path);
    expect(answer.status).toBe('found');
    expect(opened.requests()).toEqual({ source: 1, destination: 0 });
    expect(opened.source.url).toBe(server.url.replace(/\/$/, ''));

    const refused = await openAt(without, ends);
    await expect(refused.source.openMetadata(path)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('where and how the run says', async () => {
    const home = await tempFolder();
    const flags = { schema: 'v1', label: 'dev', plainHttp: true };
    const opened = await openAt(
      home,
      endsOf(FIXTURE_CHANNEL, 'oci://registry.example/ch', ['conda-forge'], flags),
    );
    expect(opened.store.schema.id).toBe('v1');
    expect(opened.store.location).toBe('registry.example/ch/label/dev');
    expect(opened.source.url).toBe(pathToFileURL(FIXTURE_CHANNEL).href);
  });
});

test('a worker says when it waits, takes part and is done, and names archives if asked to', () => {
  const said: string[] = [];
  const talk = (line: string): void => void said.push(line);
  const queue = { name: 'mirror', url: 'redis://127.0.0.1:6379/0' };
  const startedAt = '2026-01-01T00:00:00Z';
  const ends = endsOf('conda-forge', 'ghcr.io/me/ch', [], { schema: 'v0' });
  const run = { id: 'm3k9x2ab', version: '1', ends, host: 'one', pid: 1, startedAt };
  const failure = { filename: 'b-1-0.conda', code: 'ARCHIVE_CORRUPT', message: 'a frame is wrong' } as const;
  const once = (verbose: boolean): void => {
    const reporter = createWorkerReporter({ verbose }, { queue, asked: () => 7, talk });
    reporter.waiting?.();
    reporter.waiting?.();
    reporter.run?.(run);
    reporter.archive?.({ subdir: 'noarch', filename: 'a-1-0.conda', bytes: 1000 });
    reporter.archive?.({ subdir: 'noarch', filename: 'b-1-0.conda', bytes: 1000, failure });
    reporter.warning?.('Redis is away');
    reporter.ended?.(run, 'done');
    reporter.waiting?.();
  };
  once(false);
  expect(said).toEqual([
    'waiting for a run: queue mirror at redis://127.0.0.1:6379/0',
    'taking part in run m3k9x2ab: https://conda.anaconda.org/conda-forge to oci://ghcr.io/me/ch, schema v0',
    'warning: Redis is away',
    'run m3k9x2ab: done; carried here: 1 archive (1.0 kB), 1 failed, 7 requests',
    'waiting for a run: queue mirror at redis://127.0.0.1:6379/0',
  ]);
  said.length = 0;
  once(true);
  expect(said.slice(2, 4)).toEqual([
    'done: noarch/a-1-0.conda (1.0 kB)',
    'failed: noarch/b-1-0.conda: a frame is wrong [ARCHIVE_CORRUPT]',
  ]);
});

test('requests of coordinator and workers are counted together', () => {
  const here = { source: 1, destination: 2 };
  const elsewhere = { requests: { source: 0, destination: 0 } };
  const sum = sumRequests(here, elsewhere);
  here.source += 1;
  elsewhere.requests = { source: 10, destination: 20 };
  expect(sum).toEqual({ source: 12, destination: 22 });
  expect(JSON.stringify(sum)).toBe('{"source":12,"destination":22}');
  expect(sumRequests(here, undefined)).toBe(here);
});

test.each([
  [['worker'], 'no queue is named'],
  [['queue', 'status'], 'no queue is named'],
  [['worker', '--queue', 'http://127.0.0.1'], 'does not begin with `redis://`'],
  [['worker', '--queue', '127.0.0.1:6379'], 'the URL of the queue is no URL'],
  [['queue', 'pause', '--queue', 'redis://127.0.0.1/mirror'], 'than the number of a database'],
  [['queue', 'pause', '--queue', 'redis://127.0.0.1/1?x=1'], 'more than host, port and database'],
  [['worker', ...QUEUE, '--queue-name', 'a:b'], 'the name of the queue cannot be used'],
  [['worker', ...QUEUE, '--queue-ca-file', 'ca.pem'], '`--queue-ca-file` goes with a rediss:// URL'],
  [['worker', ...QUEUE, '--concurrency', '0'], 'from 1 to 1024'],
  [['queue', 'statis'], "unknown command 'statis'"],
  [['queue', 'status', '--wid'], "unknown option '--wid'"],
  [['queue', 'drain', ...QUEUE, '--timeout', 'long'], 'a time such as 30s'],
  [['queue', 'ui', ...QUEUE, '--listen', '0.0.0.0:0'], 'the board asks for no password'],
  [['queue', 'ui', ...QUEUE, '--listen', '[::]:0'], 'the board asks for no password'],
  [['queue', 'ui', ...QUEUE, '--listen', 'mirror.example.org:80'], 'the board asks for no password'],
  [[...MIRROR, '--queue-name', 'nightly'], '`--queue-name` goes with --queue'],
  [[...MIRROR, '--attempts', '2'], '`--attempts` goes with --queue'],
  [[...MIRROR, ...QUEUE, '--attempts', '0'], 'a number from 1 on'],
  [[...MIRROR, ...QUEUE, '--plan'], 'a plan needs no queue'],
  [
    ['mirror', FIXTURE_CHANNEL, 'oci-layout:./m', ...QUEUE, '--delta-from', 'oci-layout:./e'],
    'a bundle is written by one process',
  ],
  [['mirror', FIXTURE_CHANNEL, './folder', ...QUEUE], 'a plain folder cannot be the destination'],
])('%j is a wrong command line', async (args, text) => {
  const { code, stderr, stdout } = await runFerry(args, { cwd: await tempFolder() });
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(text);
  expect(stderr).toContain('[USAGE]');
});

test('a bundle is no source of a run with a queue', async () => {
  const cwd = await tempFolder();
  await runFerry(['mirror', FIXTURE_CHANNEL, 'oci-layout:./whole', '--quiet'], { cwd });
  const bundle = ['mirror', FIXTURE_CHANNEL, 'oci-layout:./bundle', '--delta-from', 'oci-layout:./whole'];
  await runFerry([...bundle, '--quiet'], { cwd });
  const read = await runFerry(['mirror', 'oci-layout:./bundle', 'oci-layout:./whole', ...QUEUE], { cwd });
  expect(read).toMatchObject({ code: 2, stderr: expect.stringContaining('read by one process') as string });
});

test.each([['redis:/s3cret@x'], ['redis://me:s3cret@127.0.0.1/x'], ['http://me:s3cret@127.0.0.1:6379']])(
  'a password shows in no message about %s',
  async (url) => {
    const byFlag = await runFerry(['queue', 'status', '--queue', url]);
    const byVariable = await runFerry(['queue', 'status'], { env: { CONDA_FERRY_QUEUE: url } });
    for (const { code, stderr } of [byFlag, byVariable]) {
      expect(code).toBe(2);
      expect(stderr).not.toContain('s3cret');
    }
  },
);

test('the variable names no queue for mirror: it stays the run of one process', async () => {
  const cwd = await tempFolder();
  const env = { CONDA_FERRY_QUEUE: 'redis://127.0.0.1:1' };
  const args = ['mirror', FIXTURE_CHANNEL, 'oci-layout:./mirror', '--subdir', 'noarch', '--quiet'];
  expect(await runFerry(args, { cwd, env })).toMatchObject({ code: 0, stderr: '' });
});

test('without a queue nothing of one is loaded', async () => {
  const cwd = await tempFolder();
  // Node writes down there which scripts a process had.
  const NODE_V8_COVERAGE = join(cwd, 'coverage');
  const args = ['mirror', FIXTURE_CHANNEL, 'oci-layout:./mirror', '--quiet'];
  expect(await runFerryProcess(args, { cwd, env: { NODE_V8_COVERAGE } })).toMatchObject({
    code: 0,
    stderr: '',
  });
  const files = await readdir(NODE_V8_COVERAGE);
  const texts = await Promise.all(files.map((file) => readFile(join(NODE_V8_COVERAGE, file), 'utf8')));
  const urls = texts.flatMap((text) =>
    (JSON.parse(text) as { result: { url: string }[] }).result.map(({ url }) => url),
  );
  const loaded = (name: string): string[] => urls.filter((url) => url.includes(name));
  expect(loaded('/cli/commands/queue.js')).not.toEqual([]);
  for (const name of [
    'node_modules/bullmq/',
    'node_modules/ioredis/',
    'node_modules/@bull-board/',
    '/dist/queue/',
  ])
    expect(loaded(name)).toEqual([]);
});

test('a config file says what the flags of a verb below another say', async () => {
  const cwd = await tempFolder();
  const config = join(cwd, 'queue.yml');
  await writeFile(config, 'queue: http://127.0.0.1\n');
  const { code, stderr } = await runFerry(['queue', 'status', '--config', config]);
  expect({ code, stderr: stderr.split('\n')[0] }).toEqual({
    code: 2,
    stderr: 'error: the URL of the queue does not begin with `redis://` or `rediss://` [USAGE]',
  });
  await writeFile(config, 'timeout: 5m\n');
  const wrong = await runFerry(['queue', 'status', '--config', config]);
  expect(wrong.stderr).toContain('is no option of `queue status`');
  expect(wrong.stderr).toContain('`conda-ferry queue status --help` names them');
});
