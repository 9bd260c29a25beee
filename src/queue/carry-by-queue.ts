/**
 * The executor that has workers carry the archives. Jobs go in while results come out; what Redis loses on the way is
 * nobody's result, and is found missing when the run plans again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CopyError, FerryError, isFerryError, type FerryErrorCode } from '../errors.js';
import { count } from '../io/figures.js';
import type { Executor, ExecutorWork } from '../mirror/executor.js';
import type { PlanItem, SubdirPlan } from '../mirror/plan.js';
import { batchItems, tagsPerJob } from './batch-items.js';
import {
  firstFilename,
  isAllThere,
  MANY,
  parseFailure,
  parseJob,
  parseResult,
  readSettled,
  tagRow,
  type JobData,
  type SettledRow,
  type TagRow,
  type Trouble,
} from './job.js';
import { RETRY_MS, type AddedJob, type JobQueue, type QueuedJob } from './job-queue.js';

/** Jobs that go to Redis, or come from there, in one go. */
const BATCH = 100;
/** How often Redis is asked for results while there are none. */
const POLL_MIN_MS = 20;
const POLL_MAX_MS = 500;
/** How often workers may give the same tags back because they cannot go on, until the run ends for that reason. */
const MAX_TROUBLES = 3;
/** Bytes of Redis' memory. */
const BYTES_OF_JOB = 700;
const BYTES_OF_ARCHIVE = 180;
/** For what is wanted of Redis when the time of a run is over. */
const LAST_WORD_MS = 3000;

/** Options of {@link carryByQueue}. */
export interface CarryByQueueOptions {
  readonly jobs: JobQueue;
  /** How often an archive that fails is tried, in all. */
  readonly attempts: number;
  /** Before tags that a worker gave back are tried again, in milliseconds: twice as long each time. @defaultValue 5000 */
  readonly retryMs?: number | undefined;
  /** Whether some of what is planned may be there although nobody knows. */
  readonly isRepeated: () => boolean;
  /** Sees whether Redis has room for so many bytes of jobs. */
  readonly checkRoom: (bytes: number) => Promise<void>;
  /** Told what a worker sent, and by how many requests. */
  readonly onRequests?: (source: number, destination: number) => void;
  /** Told when jobs come, when no tag is begun any more, and when all are through. */
  readonly onState: (state: 'carrying' | 'stopping' | 'publishing', subdir: string) => Promise<void>;
  readonly onWarning: (text: string) => void;
}

/** Makes an executor that has the workers of a queue carry the archives. */
export function carryByQueue(options: CarryByQueueOptions): Executor {
  return {
    prepare: async (plans) => {
      await options.checkRoom(plans.reduce((sum, plan) => sum + bytesInQueue(plan), 0));
    },
    carry: async (work, { store }) => {
      const hasConfig = ({ subdir, place }: PlanItem): boolean => store.hasConfig(subdir, place);
      await options.onState('carrying', work.plan.subdir);
      await new QueueWork(work, hasConfig, options).run();
      await options.onState('publishing', work.plan.subdir);
    },
  };
}

/** The archives of one subdir on their way through the queue. */
class QueueWork {
  readonly #work: ExecutorWork;
  readonly #hasConfig: (item: PlanItem) => boolean;
  readonly #options: CarryByQueueOptions;
  /** Jobs that are out and not yet back. */
  #out = 0;
  /** Failed jobs that were looked at: single tags, which wait for the end. */
  #failedSeen: number | undefined = 0;
  #isProducing = true;
  #isStopping = false;

  constructor(work: ExecutorWork, hasConfig: (item: PlanItem) => boolean, options: CarryByQueueOptions) {
    this.#work = work;
    this.#hasConfig = hasConfig;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { signal } = this.#work;
    let failure: { readonly error: unknown } | undefined;
    const noteFailure = (error: unknown): void => {
      failure ??= { error };
      // Each of the two sees that the other ends.
      this.#isStopping = true;
    };
    const producer = this.#produce()
      .catch(noteFailure)
      .finally(() => (this.#isProducing = false));
    await this.#consume().catch(async (error: unknown) => {
      noteFailure(error);
      await producer;
      // What is under way goes on; its results are worth having, whatever it was that failed.
      if (!signal.aborted) await this.#end().catch(() => undefined);
    });
    await producer;
    if (signal.aborted) await this.#abandon();
    if (failure !== undefined) throw failure.error;
  }

  /** Puts all items into the queue, some at a time. */
  async #produce(): Promise<void> {
    const { plan, signal } = this.#work;
    const { isRepeated } = this.#options;
    let batch: AddedJob[] = [];
    for (const items of batchItems(plan.items(), { maxTags: tagsPerJob(plan.artifacts) })) {
      if (this.#shallStop()) return;
      batch.push({ data: this.#jobOf(items, isRepeated()) });
      if (batch.length < BATCH) continue;
      await this.#add(batch);
      batch = [];
    }
    signal.throwIfAborted();
    if (!this.#shallStop()) await this.#add(batch);
  }

  #jobOf(items: readonly PlanItem[], isRepeated: boolean): JobData {
    const [first] = items;
    return {
      s: this.#work.plan.subdir,
      t: items.map((item) => tagRow(item, this.#work.isSuspect)),
      ...(first !== undefined && this.#hasConfig(first) ? { c: 1 } : {}),
      ...(isRepeated ? { h: 1 } : {}),
    };
  }

  async #add(jobs: readonly AddedJob[]): Promise<void> {
    // Counted first: results may come before the answer does.
    this.#out += jobs.length;
    await this.#options.jobs.add(jobs, this.#work.signal);
  }

  /** Takes results in until nothing is out any more. */
  async #consume(): Promise<void> {
    let pollMs = POLL_MIN_MS;
    for (;;) {
      if (this.#shallStop()) {
        await this.#end();
        return;
      }
      if ((await this.#collect()) > 0) {
        pollMs = POLL_MIN_MS;
        continue;
      }
      const isProducing = this.#isProducing;
      const { unfinished, completed, failed } = await this.#options.jobs.counts(this.#work.signal);
      // The counts are those from before that.
      if (failed !== this.#failedSeen && (await this.#splitFailed()) > 0) continue;
      this.#failedSeen = failed;
      if (!isProducing && unfinished + completed === 0) {
        if (await this.#conclude()) break;
        this.#failedSeen = undefined;
      }
      await delay(pollMs, undefined, { signal: this.#work.signal });
      pollMs = Math.min(POLL_MAX_MS, pollMs * 2);
    }
    if (this.#out > 0)
      this.#options.onWarning(`Redis lost ${count(this.#out, 'job')}; what was in them is planned again`);
  }

  /** Ends in order: jobs that nobody has are taken back, those under way are waited for. */
  async #end(): Promise<void> {
    const { jobs, onState } = this.#options;
    const { signal, plan } = this.#work;
    this.#isStopping = true;
    await onState('stopping', plan.subdir);
    for (;;) {
      await jobs.withdraw(signal);
      while ((await this.#collect()) > 0);
      const { unfinished, completed } = await jobs.counts(signal);
      if (!this.#isProducing && unfinished + completed === 0 && (await this.#conclude())) return;
      await delay(POLL_MAX_MS, undefined, { signal });
    }
  }

  /** Nobody waits for what is under way any longer. */
  async #abandon(): Promise<void> {
    const { jobs } = this.#options;
    try {
      const signal = AbortSignal.timeout(LAST_WORD_MS);
      await jobs.withdraw(signal);
      // What is done and was not taken in is as unknown as what is not done.
      for (const state of ['active', 'completed'] as const)
        for (const job of await jobs.list(state, Number.MAX_SAFE_INTEGER, signal))
          for (const item of this.#itemsOf(parseJob(job.data).t)) this.#work.abandoned(item);
    } catch (error) {
      const cause = isFerryError(error)
        ? error
        : new FerryError('QUEUE_UNREACHABLE', 'Redis does not tell what is under way', { cause: error });
      // What may be under way must not be listed, and that is not known now.
      throw new CopyError('destination', 'the run ended without its queue', cause);
    }
  }

  /** Takes in a number of results; how many. */
  async #collect(): Promise<number> {
    const { jobs } = this.#options;
    const { signal } = this.#work;
    const done = await jobs.list('completed', BATCH, signal);
    await Promise.all(
      done.map(async (job) => {
        await this.#take(job);
        this.#out -= 1;
        await jobs.remove(job, signal);
      }),
    );
    return done.length;
  }

  async #take(job: QueuedJob): Promise<void> {
    const { s, t: tags, n = 0, ...rest } = parseJob(job.data);
    const { d: done, x: trouble, q, w: worker } = parseResult(job.returnvalue);
    this.#options.onRequests?.(...q);
    const again: TagRow[] = [];
    for (const [place, rows] of done.entries()) {
      const tag = tags[place];
      if (tag === undefined) continue;
      const isLast = job.name !== MANY || this.#options.attempts < 2 || this.#isStopping;
      if (isLast || isAllThere(rows)) await this.#settle(tag, rows);
      else again.push(tag);
    }
    await this.#add(again.map((tag) => this.#single(s, tag)));
    const left = tags.slice(done.length);
    const [first] = left;
    if (first === undefined) return;
    if (trouble === undefined) {
      if (!this.#isStopping) await this.#add([{ data: { s, t: left, n, ...rest } }]);
      return;
    }
    if (this.#isStopping) {
      for (const item of this.#itemsOf([first])) this.#work.abandoned(item);
      return;
    }
    const troubles = n + 1;
    if (troubles >= MAX_TROUBLES) throw troubleError(trouble);
    this.#options.onWarning(`worker ${worker} gave work back: ${trouble.message} [${trouble.code}]`);
    const data: JobData = { s, t: left, ...rest, n: troubles, h: 1 };
    await this.#add([{ data, delayMs: (this.#options.retryMs ?? RETRY_MS) * 2 ** n }]);
  }

  /** Jobs of many tags that workers died over: each tag goes alone, so that one cannot take the others with it. How many. */
  async #splitFailed(): Promise<number> {
    const { jobs } = this.#options;
    const { signal } = this.#work;
    let split = 0;
    for (const job of await jobs.list('failed', Number.MAX_SAFE_INTEGER, signal)) {
      if (job.name !== MANY || this.#isStopping) continue;
      split += 1;
      const { s, t } = parseJob(job.data);
      await this.#add(t.map((tag) => this.#single(s, tag)));
      if (await jobs.remove(job, signal)) this.#out -= 1;
    }
    return split;
  }

  /** Takes in what failed for good; `false` where somebody has it tried again. */
  async #conclude(): Promise<boolean> {
    const { jobs } = this.#options;
    const { signal } = this.#work;
    for (const job of await jobs.list('failed', Number.MAX_SAFE_INTEGER, signal)) {
      const { t: tags } = parseJob(job.data);
      if (job.name === MANY && !this.#isStopping) return false;
      if (!(await jobs.remove(job, signal))) return false;
      this.#out -= 1;
      const rows = parseFailure(job.progress)?.d;
      for (const tag of tags) {
        if (job.name === MANY) for (const item of this.#itemsOf([tag])) this.#work.abandoned(item);
        else await this.#settle(tag, rows ?? lostRows(tag));
      }
    }
    return true;
  }

  async #settle(tag: TagRow, rows: readonly SettledRow[]): Promise<void> {
    const item = this.#work.plan.item(firstFilename(tag));
    if (item !== undefined) await this.#work.settled(item, readSettled(rows, item));
  }

  #itemsOf(tags: readonly TagRow[]): readonly PlanItem[] {
    return tags.flatMap((tag) => this.#work.plan.item(firstFilename(tag)) ?? []);
  }

  #single(subdir: string, tag: TagRow): AddedJob {
    return { data: { s: subdir, t: [tag], h: 1 }, attempts: Math.max(1, this.#options.attempts - 1) };
  }

  #shallStop(): boolean {
    return this.#isStopping || this.#work.stop?.aborted === true;
  }
}

/** What the jobs of a plan take of Redis, as measured: a job, and each archive in it. */
function bytesInQueue(plan: SubdirPlan): number {
  const jobs = Math.max(plan.repositories.size, plan.artifacts / tagsPerJob(plan.artifacts));
  return jobs * BYTES_OF_JOB + plan.toAdd * BYTES_OF_ARCHIVE;
}

/** No worker lived to tell what was wrong. */
function lostRows(tag: TagRow): readonly SettledRow[] {
  const code: FerryErrorCode = 'WORKER_LOST';
  const message = 'every worker that took it ended without a word';
  return tag.flatMap((part): SettledRow[] => (Array.isArray(part) ? [[part[0], code, message, 1]] : []));
}

function troubleError({ code, message, side }: Trouble): FerryError {
  const error = new FerryError(code, message);
  return side === undefined ? error : new CopyError(side, 'the workers of the queue cannot go on', error);
}
