/** The jobs of a run in BullMQ, in the words of this project. */
import { Queue, type Job } from 'bullmq';
import { untilAborted } from '../io/single-flight.js';
import { MANY, ONE, type JobData } from './job.js';
import { KEY_PREFIX, queueError, type QueueRedis } from './queue-redis.js';

/** How long a worker may be silent before its jobs are others', in milliseconds. */
export const LOCK_MS = 20_000;
/** How often workers look for jobs whose worker is silent, in milliseconds. */
export const STALLED_CHECK_MS = 5000;
/** How often a job may be left behind by a worker that died before nobody takes it any more. */
export const MAX_STALLS = 4;
/** Between attempts at a tag that failed, in milliseconds: twice as long each time. */
export const RETRY_MS = 5000;
/** Nobody reads BullMQ's stream of events. */
const EVENTS_KEPT = 100;

/** A job with what became of it. */
export type QueuedJob = Job<JobData, unknown>;

/** Jobs by state. */
export interface JobCounts {
  /** Of workers, now or later. */
  readonly unfinished: number;
  /** Under way. */
  readonly active: number;
  readonly completed: number;
  readonly failed: number;
}

/** How a job is put into the queue. */
export interface AddedJob {
  readonly data: JobData;
  /** Whether it is a single tag that failed before, and how often it is tried. @defaultValue a job of many tags, once */
  readonly attempts?: number | undefined;
  /** Not before so many milliseconds. */
  readonly delayMs?: number | undefined;
}

/** Options of a {@link JobQueue}. */
export interface JobQueueOptions {
  /** Between attempts at a tag that failed, in milliseconds: twice as long each time. @defaultValue 5000 */
  readonly retryMs?: number | undefined;
}

/** The jobs of one run. Ids are `<runId>-<n>`, so that no job is taken for one of an earlier run. */
export class JobQueue implements AsyncDisposable {
  readonly #place: QueueRedis;
  readonly #queue: Queue<JobData, unknown>;
  readonly #runId: string;
  readonly #retryMs: number;
  #count = 0;

  constructor(place: QueueRedis, runId: string, { retryMs = RETRY_MS }: JobQueueOptions = {}) {
    this.#place = place;
    this.#runId = runId;
    this.#retryMs = retryMs;
    this.#queue = new Queue<JobData, unknown>(place.name, {
      connection: place.redis,
      prefix: KEY_PREFIX,
      streams: { events: { maxLen: EVENTS_KEPT } },
    });
    // What goes wrong is told by the calls themselves, and by the connection.
    this.#queue.on('error', () => undefined);
  }

  /** Adds jobs in one go. @throws FerryError `QUEUE_FULL` */
  async add(jobs: readonly AddedJob[], signal?: AbortSignal): Promise<void> {
    if (jobs.length === 0) return;
    await this.#do(
      () =>
        this.#queue.addBulk(
          jobs.map(({ data, attempts, delayMs }) => ({
            name: attempts === undefined ? MANY : ONE,
            data,
            opts: {
              jobId: `${this.#runId}-${String((this.#count += 1))}`,
              ...(attempts === undefined
                ? {}
                : { attempts, backoff: { type: 'exponential', delay: this.#retryMs } }),
              ...(delayMs === undefined ? {} : { delay: delayMs }),
            },
          })),
        ),
      signal,
    );
  }

  /** The first of the jobs that are done with. */
  async list(
    state: 'completed' | 'failed' | 'active',
    count: number,
    signal?: AbortSignal,
  ): Promise<QueuedJob[]> {
    const jobs = await this.#do(() => this.#queue.getJobs([state], 0, count - 1, true), signal);
    // One that was removed meanwhile is no job any more.
    return jobs.filter((job) => (job as QueuedJob | undefined) !== undefined);
  }

  /** Forgets a job; `false` where a worker has it again. */
  async remove(job: QueuedJob, signal?: AbortSignal): Promise<boolean> {
    return this.#do(async () => {
      try {
        await job.remove();
        return true;
      } catch (error) {
        if (queueError(error, this.#place) !== undefined) throw error;
        return false;
      }
    }, signal);
  }

  async counts(signal?: AbortSignal): Promise<JobCounts> {
    const { waiting, paused, delayed, active, prioritized, completed, failed } = await this.#do(
      () => this.#queue.getJobCounts(),
      signal,
    );
    const of = (count: number | undefined): number => count ?? 0;
    return {
      unfinished: of(waiting) + of(paused) + of(delayed) + of(active) + of(prioritized),
      active: of(active),
      completed: of(completed),
      failed: of(failed),
    };
  }

  /** Takes back all jobs that no worker has. */
  async withdraw(signal?: AbortSignal): Promise<void> {
    await this.#do(() => this.#queue.drain(true), signal);
  }

  /** Whether a worker is at a job: its lock holds. */
  async isHeld({ id }: QueuedJob, signal?: AbortSignal): Promise<boolean> {
    const key = `${this.#queue.toKey(id ?? '')}:lock`;
    return (await this.#do(() => this.#place.redis.exists(key), signal)) === 1;
  }

  /** Forgets all jobs, whoever has them. */
  async clear(signal?: AbortSignal): Promise<void> {
    await this.#do(async () => {
      const wasPaused = await this.#queue.isPaused();
      await this.#queue.obliterate({ force: true });
      // That takes the pause away too, but what the operator said stays.
      await (wasPaused ? this.#queue.pause() : this.#queue.resume());
    }, signal);
  }

  /** Whether an operator has told workers to take nothing. */
  async isPaused(signal?: AbortSignal): Promise<boolean> {
    return this.#do(() => this.#queue.isPaused(), signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close();
  }

  /** Redis may be away for long; who does not want to wait says so with the signal. */
  async #do<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await untilAborted(work(), signal);
    } catch (error) {
      throw (signal?.aborted === true ? undefined : queueError(error, this.#place)) ?? error;
    }
  }
}
