import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Queue, Worker, type Job } from 'bullmq';
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { openPace } from '#ferry/http/pace.js';
import { formatPace } from '#ferry/http/shared-pace.js';
import { openBudget } from '#ferry/queue/budgets.js';
import { acquireLease } from '#ferry/queue/lease.js';
import { KEY_PREFIX, openQueueRedis, type QueueRedis } from '#ferry/queue/queue-redis.js';
import { beginRun, noteRun, readRun, type RunState } from '#ferry/queue/run-record.js';
import { openBrowser } from '../support/browser.js';
import { ROOT, testEnvironment } from '../support/ferry.js';
import { runFerry } from '../support/ferry-here.js';
import { startRedis, type StartedRedis } from '../support/redis.js';

const DIGEST = Buffer.alloc(32, 7).toString('base64url');
const ENDS = { source: 'https://conda.example.org/ch', destination: 'oci://ghcr.io/me/ch', schema: 'v0' };

/** What a test works with: a Redis, its queue, and the jobs in it. */
interface Scene {
  readonly server: StartedRedis;
  readonly queue: QueueRedis;
  readonly jobs: Queue;
  readonly url: string;
}

async function scene(): Promise<Scene> {
  const server = await startRedis();
  onTestFinished(() => server[Symbol.asyncDispose]());
  const queue = await openQueueRedis({ url: server.url, name: 'mirror' });
  onTestFinished(() => queue[Symbol.asyncDispose]());
  const jobs = new Queue('mirror', { connection: queue.redis, prefix: KEY_PREFIX });
  onTestFinished(() => jobs.close());
  return { server, queue, jobs, url: server.url };
}

/** The data of a job: tags of one archive each. */
function tagsOf(...names: readonly string[]): object {
  return { s: 'noarch', t: names.map((name) => [[`${name}-1-0.conda`, DIGEST, 0, 1234]]) };
}

async function begin({ queue, jobs }: Scene, state: RunState = 'carrying'): Promise<void> {
  const startedAt = new Date(Date.now() - 600_000).toISOString();
  await beginRun(queue, { id: 'm3k9x2ab', version: '0.1.0', ends: ENDS, host: 'one', pid: 17, startedAt });
  const requests = { source: 70, destination: 300 };
  const progress = { pass: 1, subdir: 'noarch', archives: 400, archivesDone: 100, archivesFailed: 1 };
  await noteRun(queue, { state, progress: { ...progress, bytesDone: 5_000_000, requests } });
  await jobs.add('archives', tagsOf('a', 'b'), { jobId: 'm3k9x2ab-1' });
  await jobs.add('archives', tagsOf('c'), { jobId: 'm3k9x2ab-2' });
}

/** Has a worker fail the jobs of that name for good, as one does that meets a poisoned archive. */
async function fail(
  { server, jobs }: Scene,
  names: readonly string[],
  progress: object | undefined,
): Promise<void> {
  for (const name of names) await jobs.add('archive', tagsOf(name), { jobId: `m3k9x2ab-x-${name}` });
  await working({ server }, async (job) => {
    if (job.name !== 'archive') return delay(60_000);
    if (progress !== undefined) await job.updateProgress(progress);
    throw new Error('thrown at https://me:s3cret@conda.example.org/ch');
  });
  await expect.poll(() => jobs.getFailedCount()).toBe(names.length);
}

async function working(
  { server }: Pick<Scene, 'server'>,
  work: (job: Job) => Promise<void>,
): Promise<Worker> {
  const connection = new Redis(server.port, '127.0.0.1', { maxRetriesPerRequest: null });
  const worker = new Worker('mirror', work, { connection, prefix: KEY_PREFIX, concurrency: 8 });
  worker.on('error', () => undefined);
  onTestFinished(async () => {
    await worker.close(true);
    connection.disconnect();
  });
  await worker.waitUntilReady();
  return worker;
}

/** Runs `conda-ferry queue …` on the queue of a scene. */
async function queueVerb({ url }: Scene, ...args: readonly string[]): ReturnType<typeof runFerry> {
  return runFerry(['queue', ...args, '--queue', url]);
}

const VERBS = ['status', 'pause', 'resume', 'drain', 'cancel', 'retry-failed'];

test('without a run each verb says so, and fails nothing', async () => {
  const here = await scene();
  for (const verb of VERBS) {
    const { code, stdout, stderr } = await queueVerb(here, verb);
    expect({ verb, code, stderr }).toEqual({ verb, code: 0, stderr: '' });
    expect(stdout.trim().split('\n'), verb).toHaveLength(1);
    expect(stdout, verb).toMatch(/no run/);
  }
  expect((await queueVerb(here, 'status')).stdout).toBe(
    `no run: mirror --queue has not been started with queue mirror at ${here.url}/0\n`,
  );
  const json = JSON.parse((await queueVerb(here, 'status', '--json')).stdout) as object;
  expect(json).not.toHaveProperty('run');
});

test('a queue whose name is misspelt is not made by looking at it', async () => {
  const here = await scene();
  await queueVerb(here, 'status', '--queue-name', 'miror');
  expect(await here.queue.redis.keys('*miror*')).toEqual([]);
});

test('status tells all that an operator has to know', async () => {
  const here = await scene();
  await begin(here);
  await fail(here, ['bad'], { d: [['bad-1-0.conda', 'ARCHIVE_CORRUPT', 'a frame is wrong', 0]] });
  await openBudget(here.queue, 'https://ghcr.io', 'me').update(() => ({
    next: formatPace(openPace(2000, 0)),
    result: undefined,
  }));
  await here.jobs.pause();

  const { code, stdout, stderr } = await queueVerb(here, 'status');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = stdout.replaceAll(here.url, 'redis://HOST').split('\n');
  expect(lines[0]).toBe('queue mirror at redis://HOST/0; PAUSED: conda-ferry queue resume lets it go on');
  for (const line of [
    /^run +m3k9x2ab, begun \d{4}-\d\d-\d\d \d\d:\d\d UTC \(10 min ago\)$/,
    /^mirrors +https:\/\/conda\.example\.org\/ch to oci:\/\/ghcr\.io\/me\/ch, schema v0$/,
    /^state +carrying noarch$/,
    /^coordinator +none: run the same mirror command anywhere to go on$/,
    /^done +100 of 400 archives, 5\.0 MB, 1 failed$/,
    /^requests +70 to the source, 300 to the destination$/,
    /^pace +10 archives a minute so far; 30 min left at that$/,
    /^jobs +waiting +active +delayed +failed$/,
    /^ +0 +2 +0 +1$/,
    /^https:\/\/ghcr\.io +me +1 900$/,
    /^redis \d+\.\S+: [\d.]+ [kM]B used, no limit, noeviction, append-only file on$/,
    /^1 failed job:$/,
    /^ {2}noarch\/bad-1-0\.conda$/,
    /^ {4}a frame is wrong \[ARCHIVE_CORRUPT\]$/,
  ])
    expect(lines).toContainEqual(expect.stringMatching(line));

  const document = JSON.parse((await queueVerb(here, 'status', '--json')).stdout) as object;
  expect(document).toMatchObject({
    name: 'mirror',
    isPaused: true,
    run: { run: { id: 'm3k9x2ab', ends: ENDS }, state: 'carrying', progress: { archivesDone: 100 } },
    jobs: { waiting: 0, active: 2, delayed: 0, failed: 1 },
    workers: [],
    budgets: [{ origin: 'https://ghcr.io', user: 'me', requestsPerMinute: 1900 }],
    redis: { policy: 'noeviction', appendOnly: true },
    failures: [
      { subdir: 'noarch', filename: 'bad-1-0.conda', code: 'ARCHIVE_CORRUPT', message: 'a frame is wrong' },
    ],
  });
});

test('what the queue itself gave up is told without secrets, and the first twenty are named', async () => {
  const here = await scene();
  await begin(here);
  await fail(
    here,
    Array.from({ length: 25 }, (_, i) => `bad${String(i)}`),
    undefined,
  );
  const { stdout } = await queueVerb(here, 'status');
  expect(stdout).toContain('\n25 failed jobs, the first 20:\n');
  expect(stdout.match(/^ {2}noarch\//gm)).toHaveLength(20);
  expect(stdout).toContain('thrown at https://***:***@conda.example.org/ch');
  expect(stdout).not.toContain('s3cret');
});

test('pause keeps workers from taking jobs, drain waits for what is under way, resume lets it go on', async () => {
  const here = await scene();
  await begin(here);
  expect(await queueVerb(here, 'pause')).toMatchObject({
    code: 0,
    stdout: 'queue mirror is paused; what is under way is finished\n',
  });
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  await working(here, async () => finished);
  await delay(300);
  expect(await here.jobs.getJobCounts('waiting', 'active')).toEqual({ waiting: 2, active: 0 });
  expect(await queueVerb(here, 'drain')).toMatchObject({ code: 0, stderr: '' });

  expect(await queueVerb(here, 'resume')).toMatchObject({ code: 0, stdout: 'queue mirror goes on\n' });
  await expect.poll(() => here.jobs.getActiveCount()).toBe(2);
  const late = await queueVerb(here, 'drain', '--timeout', '300ms');
  expect(late).toMatchObject({ code: 3, stdout: '' });
  expect(late.stderr).toContain('waiting for 2 jobs\nerror: jobs are still under way, 2 of them');
  expect(late.stderr).toContain('[TIMEOUT]');
  setTimeout(finish, 200);
  expect(await queueVerb(here, 'drain')).toMatchObject({
    code: 0,
    stdout: 'queue mirror is paused, and nothing is under way\n',
  });
  expect(await here.jobs.isPaused()).toBe(true);
});

test('cancel takes waiting jobs back where nobody coordinates, and marks the run', async () => {
  const here = await scene();
  await begin(here);
  await here.jobs.add('archive', tagsOf('later'), { jobId: 'm3k9x2ab-3', delay: 600_000 });
  const { code, stdout } = await queueVerb(here, 'cancel');
  expect(code).toBe(0);
  expect(stdout).toContain('cancelled; nobody coordinated the run, and 3 jobs that waited were removed\n');
  expect(await here.jobs.getJobCounts('waiting', 'delayed')).toEqual({ waiting: 0, delayed: 0 });
  expect(await readRun(here.queue)).toMatchObject({ state: 'cancelled', request: undefined });
  expect((await queueVerb(here, 'cancel')).stdout).toBe('the run is over already: cancelled\n');
});

test('cancel asks the coordinator where there is one, and leaves the jobs to it', async () => {
  const here = await scene();
  await begin(here);
  const startedAt = new Date().toISOString();
  await using _ = await acquireLease(here.queue, { holder: { host: 'one', pid: 17, startedAt } });
  const { code, stdout } = await queueVerb(here, 'cancel');
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: `asked the coordinator (one, process 17) to end; what is done is published\n`,
  });
  expect(await readRun(here.queue)).toMatchObject({ state: 'carrying', request: 'cancel' });
  expect(await here.jobs.getWaitingCount()).toBe(2);
  const status = await queueVerb(here, 'status');
  expect(status.stdout).toMatch(/^state +carrying noarch, asked to end$/m);
  expect(status.stdout).toMatch(/^coordinator +\S+, process \d+, for \d+ s$/m);
});

test('retry-failed has all of them tried again', async () => {
  const here = await scene();
  await begin(here);
  await fail(here, ['x', 'y'], undefined);
  await here.jobs.pause();
  expect(await queueVerb(here, 'retry-failed')).toMatchObject({
    code: 0,
    stdout: '2 failed jobs will be tried again\n',
  });
  expect(await here.jobs.getFailedCount()).toBe(0);
  expect(await here.jobs.getWaitingCount()).toBe(2);
  expect((await queueVerb(here, 'retry-failed')).stdout).toBe('no job has failed\n');
});

/** Starts `queue ui`, and tells where it is; it goes away with the test. */
async function startBoard({ url }: Scene, ...args: readonly string[]): Promise<string> {
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  const flags = ['queue', 'ui', '--listen', '127.0.0.1:0', '--queue', url, ...args];
  const child = spawn(process.execPath, [main, ...flags], {
    // Its own files are found wherever it is started.
    cwd: '/',
    env: testEnvironment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(async () => {
    child.kill('SIGTERM');
    if (child.exitCode === null) await once(child, 'exit');
    expect(child.exitCode).toBe(0);
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const said = /^the board is at (http:\/\/127\.0\.0\.1:\d+\/)\n$/.exec(line.toString())?.[1];
  if (said === undefined) throw new Error(`no board: ${line.toString()}`);
  return said;
}

/** Asks as a browser or another program would, with headers that `fetch` does not let one set. */
async function ask(
  url: string,
  {
    method = 'GET',
    headers = {},
  }: { readonly method?: string; readonly headers?: Record<string, string> } = {},
): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(url, { method, headers }, (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => (body += piece));
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body });
      });
    });
    asked.on('error', reject);
    asked.end();
  });
}

test('the board answers under its own name alone, and takes changes from its own page alone', async () => {
  const here = await scene();
  await begin(here);
  const board = await startBoard(here);
  const { host, port, origin } = new URL(board);
  const page = await ask(board);
  expect(page.status).toBe(200);
  expect(page.body).toContain('<title>conda-ferry</title>');
  expect(page.body).not.toMatch(/(?:href|src)="https?:/);
  expect(page.headers).toMatchObject({
    'content-security-policy': expect.stringContaining("default-src 'none'") as string,
    'x-frame-options': 'DENY',
  });
  expect((await ask(board, { headers: { host: `localhost:${port}` } })).status).toBe(200);
  for (const other of [
    'evil.example',
    `evil.example:${port}`,
    '127.0.0.1',
    '127.0.0.1:1',
    `127.0.0.2:${port}`,
  ])
    expect({ other, status: (await ask(board, { headers: { host: other } })).status }).toEqual({
      other,
      status: 421,
    });

  const pause = `${board}api/queues/mirror/pause`;
  const foreign = [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `http://localhost:1` },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site', origin },
  ];
  for (const headers of foreign)
    expect((await ask(pause, { method: 'PUT', headers: headers })).status).toBe(403);
  expect(await here.jobs.isPaused()).toBe(false);
  const own = { origin, 'sec-fetch-site': 'same-origin', host };
  expect((await ask(pause, { method: 'PUT', headers: own })).status).toBe(200);
  expect(await here.jobs.isPaused()).toBe(true);
});

test('the board shows no secrets that errors from far below may hold', async () => {
  const here = await scene();
  await begin(here);
  await fail(here, ['bad'], undefined);
  const board = await startBoard(here);
  const { body } = await ask(`${board}api/queues?activeQueue=mirror&status=failed&page=1`);
  expect(body).toContain('thrown at https://***:***@conda.example.org/ch');
  expect(body).toContain(`"archives":["bad-1-0.conda, 1234 bytes, sha256:${'07'.repeat(32)}"]`);
  expect(body).not.toContain('s3cret');
  expect(() => JSON.parse(body) as unknown).not.toThrow();
});

test('the board does nothing that would break a run', async () => {
  const here = await scene();
  await begin(here);
  const board = await startBoard(here);
  const attempts = [
    ['PUT', 'obliterate'],
    ['PUT', 'empty'],
    ['POST', 'add'],
    ['PUT', 'clean/failed'],
    ['PUT', 'concurrency'],
    ['PUT', 'rate-limit'],
    ['PUT', 'm3k9x2ab-1/clean'],
    ['PATCH', 'm3k9x2ab-1/update-data'],
    ['PUT', 'pause/../obliterate'],
  ] as const;
  for (const [method, path] of attempts)
    expect({ path, status: (await ask(`${board}api/queues/mirror/${path}`, { method })).status }).toEqual({
      path,
      status: 403,
    });
  expect(await here.jobs.getWaitingCount()).toBe(2);
});

test('the board shows jobs as people read them, without a request to anywhere else', async () => {
  const here = await scene();
  await begin(here);
  await fail(here, ['bad'], { code: 'ARCHIVE_CORRUPT', message: 'a frame is wrong', mayHaveWritten: false });
  const board = await startBoard(here);
  await using browser = await openBrowser({ colorScheme: 'light', width: 1200 });
  const page = await browser.context.newPage();
  const elsewhere: string[] = [];
  const errors: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(board) && !request.url().startsWith('data:')) elsewhere.push(request.url());
  });
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  await page.goto(`${board}queue/mirror?status=failed`);
  await page.getByText('m3k9x2ab-x-bad').first().waitFor();
  await page
    .getByRole('button', { name: 'Progress' })
    .or(page.getByRole('tab', { name: 'Progress' }))
    .first()
    .click();
  await page.getByText('a frame is wrong').first().waitFor();
  await page
    .getByRole('button', { name: 'Data' })
    .or(page.getByRole('tab', { name: 'Data' }))
    .first()
    .click();
  await page.getByText('bad-1-0.conda').first().waitFor();
  expect(await page.title()).toContain('conda-ferry');
  expect(elsewhere).toEqual([]);
  expect(errors).toEqual([]);
});
