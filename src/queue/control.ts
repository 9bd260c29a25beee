/**
 * Looking after a queue from outside: how its run is, and asking something of it. No part of a run depends on it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Queue, type Job } from 'bullmq';
import { FerryError } from '../errors.js';
import { redactText } from '../io/redact.js';
import { readBudgets, type Budget } from './budgets.js';
import { memoryOf, parseRedisInfo, type RedisMemory } from './check-redis.js';
import { parseFailure, parseJob } from './job.js';
import { readLease, type LeaseHolder } from './lease.js';
import { listWorkers, type WorkerFacts } from './presence.js';
import { KEY_PREFIX, type QueueRedis } from './queue-redis.js';
import { askRun, isOver, noteRun, readRun, type RunRecord, type RunState } from './run-record.js';

/** Failed archives that are named where nobody says how many. */
const FAILURES_SHOWN = 20;
/** Jobs that are read for as many failures. */
const MAX_FAILED_JOBS = 100;
/** How often it is looked whether something is still under way. */
const LOOK_MS = 250;

type Jobs = Queue<unknown, unknown>;

/** Jobs by what they wait for. A job holds many tags of one repository, or one tag that failed before. */
export interface JobCounts {
  readonly waiting: number;
  readonly active: number;
  /** Tried again after a while. */
  readonly delayed: number;
  readonly failed: number;
}

/** An archive whose job has failed for good, until the run plans again or somebody retries it. */
export interface FailedArchive {
  readonly subdir: string;
  readonly filename: string;
  /** As in `docs/errors.md`; `undefined` where the queue itself gave it up. */
  readonly code: string | undefined;
  readonly message: string;
}

/** The Redis behind a queue. */
export interface RedisFacts extends RedisMemory {
  readonly version: string;
  /** What it does when it is full, such as `noeviction`. */
  readonly policy: string;
  readonly appendOnly: boolean;
}

/** What there is to know of a queue. */
export interface QueueStatus {
  /** Without secrets. */
  readonly url: string;
  readonly name: string;
  /** `undefined` where there was none yet. */
  readonly run: RunRecord | undefined;
  readonly coordinator: LeaseHolder | undefined;
  /** Whether workers take no new jobs. */
  readonly isPaused: boolean;
  readonly jobs: JobCounts;
  readonly workers: readonly WorkerFacts[];
  readonly budgets: readonly Budget[];
  readonly redis: RedisFacts;
  /** The first of them. */
  readonly failures: readonly FailedArchive[];
}

/**
 * Reads how a queue is, and changes nothing.
 * @throws FerryError `VERSION_MISMATCH` for a run of another version
 */
export async function readStatus(
  queue: QueueRedis,
  { failures = FAILURES_SHOWN }: { readonly failures?: number } = {},
): Promise<QueueStatus> {
  // Before the run and, if need be, behind it: one that begins or ends just then has not lost its coordinator.
  const early = await readLease(queue);
  const run = await readRun(queue);
  const coordinator = early ?? (await readLease(queue));
  return withJobs(queue, async (jobs) => ({
    url: queue.url,
    name: queue.name,
    run,
    coordinator,
    isPaused: await jobs.isPaused(),
    jobs: await countJobs(jobs),
    workers: await listWorkers(queue),
    budgets: await readBudgets(queue),
    redis: await readRedisFacts(queue),
    failures: await readFailures(jobs, failures),
  }));
}

/** Keeps workers from taking jobs; what is under way is finished. */
export async function pauseQueue(queue: QueueRedis): Promise<void> {
  await withJobs(queue, (jobs) => jobs.pause());
}

/** Lets workers take jobs again. */
export async function resumeQueue(queue: QueueRedis): Promise<void> {
  await withJobs(queue, (jobs) => jobs.resume());
}

/**
 * Pauses a queue, and waits until no job is under way.
 * @throws FerryError `TIMEOUT` where that takes longer; the queue stays paused
 */
export async function drainQueue(
  queue: QueueRedis,
  options: {
    readonly timeoutMs: number;
    /** Told how many jobs are under way, when that has changed. */
    readonly onActive?: ((jobs: number) => void) | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<void> {
  const { timeoutMs, onActive, signal } = options;
  await withJobs(queue, async (jobs) => {
    await jobs.pause();
    const until = Date.now() + timeoutMs;
    for (let seen: number | undefined; ;) {
      signal?.throwIfAborted();
      const active = await jobs.getActiveCount();
      if (active === 0) return;
      if (active !== seen) onActive?.(active);
      seen = active;
      if (Date.now() >= until) {
        throw new FerryError(
          'TIMEOUT',
          `jobs are still under way, ${String(active)} of them; the queue is paused`,
          {
            hint: 'wait once more; jobs of workers that are gone only end when another worker takes them over',
          },
        );
      }
      await delay(Math.min(LOOK_MS, Math.max(1, until - Date.now())), undefined, { signal });
    }
  });
}

/** What came of {@link cancelRun}. */
export type Cancelled =
  | { readonly outcome: 'none' }
  | { readonly outcome: 'over'; readonly state: RunState }
  /** The coordinator ends it in order: what is done is published. */
  | { readonly outcome: 'asked'; readonly coordinator: LeaseHolder }
  /** Nobody coordinates it: so many jobs were taken back. */
  | { readonly outcome: 'cancelled'; readonly removed: number };

/** Ends the run of a queue: asks its coordinator, and where there is none takes all jobs back that nobody works at. */
export async function cancelRun(queue: QueueRedis): Promise<Cancelled> {
  const record = await readRun(queue);
  if (record === undefined) return { outcome: 'none' };
  if (isOver(record.state) && record.state !== 'interrupted') return { outcome: 'over', state: record.state };
  const asked = await askCoordinator(queue);
  if (asked !== undefined) return asked;
  const removed = await withJobs(queue, async (jobs) => {
    const before = await countJobs(jobs);
    await jobs.drain(true);
    const after = await countJobs(jobs);
    return Math.max(0, before.waiting + before.delayed - after.waiting - after.delayed);
  });
  // Somebody may have gone on with it in the meantime, and plans anew what was taken back.
  const askedLate = await askCoordinator(queue);
  if (askedLate !== undefined) return askedLate;
  await noteRun(queue, { state: 'cancelled' });
  return { outcome: 'cancelled', removed };
}

async function askCoordinator(queue: QueueRedis): Promise<Cancelled | undefined> {
  const coordinator = await readLease(queue);
  if (coordinator === undefined) return undefined;
  await askRun(queue, 'cancel');
  return { outcome: 'asked', coordinator };
}

/** Has all failed jobs tried again. @returns how many there were */
export async function retryFailed(queue: QueueRedis): Promise<number> {
  return withJobs(queue, async (jobs) => {
    const failed = await jobs.getFailedCount();
    if (failed > 0) await jobs.retryJobs({ state: 'failed' });
    return failed;
  });
}

/**
 * Opens the jobs of a queue without leaving anything in Redis: a queue whose name was misspelt is not made by looking
 * at it. To be closed.
 */
export function openJobs(queue: QueueRedis): Jobs {
  const jobs: Jobs = new Queue(queue.name, {
    connection: queue.redis,
    prefix: KEY_PREFIX,
    skipMetasUpdate: true,
  });
  // The connection tells of its troubles itself.
  jobs.on('error', () => undefined);
  return jobs;
}

async function withJobs<T>(queue: QueueRedis, look: (jobs: Jobs) => Promise<T>): Promise<T> {
  const jobs = openJobs(queue);
  try {
    return await look(jobs);
  } finally {
    await jobs.close();
  }
}

async function countJobs(jobs: Jobs): Promise<JobCounts> {
  const counts = await jobs.getJobCounts('waiting', 'prioritized', 'active', 'delayed', 'failed');
  const of = (state: string): number => counts[state] ?? 0;
  return {
    waiting: of('waiting') + of('prioritized'),
    active: of('active'),
    delayed: of('delayed'),
    failed: of('failed'),
  };
}

async function readFailures(jobs: Jobs, most: number): Promise<readonly FailedArchive[]> {
  const failed = await jobs.getFailed(0, Math.min(most, MAX_FAILED_JOBS) - 1);
  return failed.flatMap(failuresOf).slice(0, most);
}

function failuresOf(job: Job<unknown, unknown>): FailedArchive[] {
  const { s: subdir, t: tags } = parseJob(job.data);
  const failed = parseFailure(job.progress)?.d.flatMap((row) =>
    row.length === 2 ? [] : [{ subdir, filename: row[0], code: row[1], message: row[2] }],
  );
  if (failed !== undefined && failed.length > 0) return failed;
  const message = redactText(job.failedReason || 'no worker came to an end with it');
  const filenames = tags.flat().flatMap((part) => (Array.isArray(part) ? [part[0]] : []));
  return filenames.map((filename) => ({ subdir, filename, code: undefined, message }));
}

async function readRedisFacts({ redis }: QueueRedis): Promise<RedisFacts> {
  const sections = [await redis.info('server'), await redis.info('memory'), await redis.info('persistence')];
  const info = parseRedisInfo(sections.join('\n'));
  return {
    version: info.get('valkey_version') ?? info.get('redis_version') ?? 'unknown',
    ...memoryOf(info),
    policy: info.get('maxmemory_policy') ?? 'unknown',
    appendOnly: info.get('aof_enabled') === '1',
  };
}
