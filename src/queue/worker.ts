/**
 * A worker: takes jobs of whatever run the queue is at, carries their tags as the single run does, and answers with what
 * became of them. What it cannot finish it hands back; what it leaves behind when it is killed, others find.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { pid } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'bullmq';
import type { WorkerPool } from '../artifact/worker-pool.js';
import { FerryError, messageOf, type FerryErrorCode } from '../errors.js';
import { quietSignal } from '../io/quiet-signal.js';
import { Resources } from '../io/resources.js';
import { TempFolder } from '../io/temp-folder.js';
import type { MirrorReporter } from '../mirror/report.js';
import { StopGrace } from '../mirror/stop-grace.js';
import { carryJob } from './carry-job.js';
import type { JobData, JobResult } from './job.js';
import { LOCK_MS, MAX_STALLS, STALLED_CHECK_MS, type QueuedJob } from './job-queue.js';
import { announceWorker, type Presence, type WorkerFacts } from './presence.js';
import { KEY_PREFIX, type QueueRedis } from './queue-redis.js';
import { RunParts, type SideRequests, type WorkerEnds } from './run-parts.js';
import {
  checkVersion,
  isOver,
  readRun,
  type RunDescription,
  type RunEnds,
  type RunRecord,
  type RunState,
} from './run-record.js';

/** How often a worker looks what the run is about. */
const WATCH_MS = 1000;
/** Words to Redis in the time that a worker may be silent, where that is told. */
const WORDS_PER_LOCK = 6;
const DEFAULT_STOP_GRACE_MS = 30_000;
/** After trouble that may pass a worker rests, each time twice as long. */
const REST_MS = 2000;
const MAX_REST_MS = 60_000;
/** Time for jobs to be handed back when what is under way is not waited for. */
const CLOSE_MS = 3000;
/** What is wrong with this worker, and not with the work: it ends. */
const OWN_FAULTS: ReadonlySet<FerryErrorCode> = new Set([
  'UNAUTHORIZED',
  'DENIED',
  'DISK_FULL',
  'CREDENTIALS_UNREADABLE',
  'USAGE',
  'VERSION_MISMATCH',
]);

/** Hears what a worker does. */
export interface WorkerReporter extends Pick<MirrorReporter, 'archive' | 'warning'> {
  /** There is no run. */
  waiting?(): void;
  /** It takes part in a run from now on. */
  run?(run: RunDescription): void;
  ended?(run: RunDescription, state: RunState): void;
}

/** Options of {@link runWorker}. */
export interface RunWorkerOptions {
  readonly queue: QueueRedis;
  /** Of conda-ferry; coordinator and workers must have the same one. */
  readonly version: string;
  /** Archives under way at once. */
  readonly concurrency: number;
  readonly openEnds: (ends: RunEnds) => Promise<WorkerEnds>;
  readonly workers: WorkerPool;
  /** As of a mirror run. */
  readonly tempDir?: string | undefined;
  readonly tempLimitBytes?: number | undefined;
  readonly reporter?: WorkerReporter | undefined;
  /** End with the first run that it takes part in. @defaultValue false: wait for the next one */
  readonly untilDone?: boolean | undefined;
  /** Ends the worker in order: tags under way are finished, the rest is handed back. */
  readonly stop?: AbortSignal | undefined;
  /** @defaultValue 30,000 */
  readonly stopGraceMs?: number | undefined;
  /** How long it may be silent before its jobs are others', in milliseconds. @defaultValue 20,000 */
  readonly lockMs?: number | undefined;
  /** How often it looks for jobs whose worker is silent, in milliseconds. @defaultValue 5000 */
  readonly stalledCheckMs?: number | undefined;
  /** Ends it at once. */
  readonly signal?: AbortSignal | undefined;
}

/** What a worker did. */
export interface WorkerReport {
  readonly archives: number;
  readonly failed: number;
  readonly bytes: number;
  readonly requests: SideRequests;
}

/**
 * Takes part in the runs of a queue until it is told to stop.
 * @throws FerryError `VERSION_MISMATCH` where the run is of another version; `UNAUTHORIZED`, `DENIED`, `DISK_FULL`, … where
 * this worker cannot do what others may
 */
export async function runWorker(options: RunWorkerOptions): Promise<WorkerReport> {
  await using resources = new Resources();
  const { tempDir, tempLimitBytes: limitBytes, stop, signal } = options;
  const temp = resources.use(await TempFolder.create(tempDir, { limitBytes }));
  const stopGraceMs = options.stopGraceMs ?? DEFAULT_STOP_GRACE_MS;
  const grace = resources.use(new StopGrace({ stop, stopGraceMs, signal }));
  // Awaited here: what it works with is let go of afterwards.
  return await new QueueWorker(options, temp, grace.signal).run();
}

class QueueWorker {
  readonly #options: RunWorkerOptions;
  readonly #temp: TempFolder;
  /** Aborts when what is under way is not to be waited for. */
  readonly #signal: AbortSignal;
  /** Aborts when no more tags are to be begun. */
  readonly #ending = new AbortController();
  readonly #parts: RunParts;
  /** Ends what is under way, one for each job. */
  readonly #jobs = new Map<string, AbortController>();
  readonly #totals = { archives: 0, failed: 0, bytes: 0 };
  #told: SideRequests = { source: 0, destination: 0 };
  #record: RunRecord | undefined;
  #busy = 0;
  #restUntil = 0;
  #troubles = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: RunWorkerOptions, temp: TempFolder, signal: AbortSignal) {
    this.#options = options;
    this.#temp = temp;
    this.#signal = signal;
    const { openEnds, reporter } = options;
    this.#parts = new RunParts({ openEnds, onRun: (run) => reporter?.run?.(run), signal });
  }

  async run(): Promise<WorkerReport> {
    const { queue, version, concurrency, stop, lockMs } = this.#options;
    const end = (): void => {
      this.#ending.abort();
    };
    for (const signal of [stop, this.#signal]) {
      signal?.addEventListener('abort', end, { once: true });
      if (signal?.aborted === true) end();
    }
    const facts = {
      ...{ id: randomBytes(5).toString('hex'), host: hostname(), pid, version, concurrency },
      startedAt: new Date().toISOString(),
      ...this.#facts(),
    };
    // By its answers the worker knows how long Redis has been away.
    const everyMs = lockMs === undefined ? undefined : Math.ceil(lockMs / WORDS_PER_LOCK);
    await using presence = await announceWorker(queue, facts, { everyMs });
    try {
      await this.#watch(presence);
    } catch (error) {
      this.#fail(error);
    } finally {
      for (const signal of [stop, this.#signal]) signal?.removeEventListener('abort', end);
      await this.#parts[Symbol.asyncDispose]();
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#options.signal?.throwIfAborted();
    return { ...this.#totals, requests: this.#parts.requests };
  }

  /** Looks what the run is about, again and again, and has jobs taken while there is one. */
  async #watch(presence: Presence): Promise<void> {
    const { queue, reporter, untilDone = false, lockMs = LOCK_MS } = this.#options;
    const ending = quietSignal(this.#ending.signal);
    const silence = setInterval(() => {
      presence.update(this.#facts());
      // By now others have what this worker is at.
      if (performance.now() - presence.lastContactMs > lockMs)
        this.#drop([...this.#jobs.keys()], 'Redis has not answered for too long');
    }, WATCH_MS);
    let taking: Worker<JobData, unknown> | undefined;
    let isTold = false;
    /** A run that was over before this worker was there. */
    let early: string | undefined;
    let isFirst = true;
    try {
      while (!ending.aborted) {
        this.#record = await readRun(queue, ending);
        const record = this.#record;
        if (record !== undefined && !isOver(record.state)) {
          checkVersion(record.run, this.#options.version);
          isTold = false;
          taking ??= this.#take();
        } else {
          if (record !== undefined && this.#parts.runId === record.run.id) {
            reporter?.ended?.(record.run, record.state);
            await this.#parts[Symbol.asyncDispose]();
          }
          // A short run may be over before this worker has had anything of it.
          if (untilDone && !isFirst && record?.run.id !== early) return;
          if (isFirst) early = record?.run.id;
          if (!isTold) reporter?.waiting?.();
          isTold = true;
        }
        isFirst = false;
        await delay(WATCH_MS, undefined, { signal: ending });
      }
    } catch (error) {
      if (!ending.aborted) throw error;
    } finally {
      this.#ending.abort();
      await this.#close(taking);
      clearInterval(silence);
    }
  }

  #take(): Worker<JobData, unknown> {
    const { queue, concurrency, lockMs, stalledCheckMs } = this.#options;
    const worker = new Worker<JobData, unknown>(queue.name, (job) => this.#carry(job), {
      connection: queue.redis,
      prefix: KEY_PREFIX,
      concurrency,
      lockDuration: lockMs ?? LOCK_MS,
      stalledInterval: stalledCheckMs ?? STALLED_CHECK_MS,
      maxStalledCount: MAX_STALLS,
      drainDelay: 1,
      runRetryDelay: WATCH_MS,
    });
    // The connection tells when Redis is away; a job that was lost is somebody else's.
    worker.on('error', () => undefined);
    worker.on('lockRenewalFailed', (ids) => {
      this.#drop(ids, 'another worker has taken the job over');
    });
    return worker;
  }

  /** Takes no more jobs, and waits for those under way. */
  async #close(worker: Worker<JobData, unknown> | undefined): Promise<void> {
    if (worker === undefined) return;
    const closed = worker.close();
    await Promise.race([closed, aborted(this.#signal).then(() => delay(CLOSE_MS))]);
    if (this.#signal.aborted) await Promise.race([worker.close(true), delay(CLOSE_MS)]);
  }

  async #carry(job: QueuedJob): Promise<JobResult> {
    const id = job.id ?? '';
    const control = new AbortController();
    this.#jobs.set(id, control);
    try {
      await this.#rest();
      const runId = id.slice(0, id.lastIndexOf('-'));
      const ends = await this.#endsOf(runId);
      if (ends === undefined) {
        // Whoever gets it next may know no more, where Redis has lost what it knew: no haste.
        await delay(WATCH_MS, undefined, { signal: this.#ending.signal }).catch(() => undefined);
        return this.#answer({ d: [] });
      }
      const { workers, reporter } = this.#options;
      const signal = quietSignal(AbortSignal.any([this.#signal, control.signal]));
      const { done, trouble } = await carryJob(job, {
        ...{ ends, workers, reporter, signal, temp: this.#temp },
        mayBegin: () => this.#mayBegin(runId),
        onBusy: (change) => (this.#busy += change),
        onSettled: (archive) => {
          this.#troubles = 0;
          if (archive.outcome === 'added') {
            this.#totals.archives += 1;
            this.#totals.bytes += archive.size;
          } else this.#totals.failed += 1;
        },
      });
      if (trouble === undefined) return this.#answer({ d: done });
      this.#heed(trouble.error);
      return this.#answer({ d: done, x: trouble.told });
    } finally {
      this.#jobs.delete(id);
    }
  }

  /** The ends of a run; `undefined` where it is none that this worker takes part in. */
  async #endsOf(runId: string): Promise<WorkerEnds | undefined> {
    const { queue, version } = this.#options;
    try {
      if (this.#record?.run.id !== runId) this.#record = await readRun(queue, this.#signal);
      const record = this.#record;
      if (record === undefined || !this.#mayBegin(runId)) return undefined;
      checkVersion(record.run, version);
      return await this.#parts.open(record.run);
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  #answer(result: Pick<JobResult, 'd' | 'x'>): JobResult {
    const { source, destination } = this.#parts.requests;
    const q: [number, number] = [source - this.#told.source, destination - this.#told.destination];
    this.#told = { source, destination };
    return { ...result, q, w: `${hostname()}:${String(pid)}` };
  }

  /** What is this worker's own fault ends it; what may pass is waited for. */
  #heed(error: FerryError): void {
    if (OWN_FAULTS.has(error.code)) {
      this.#fail(error);
      return;
    }
    this.#restUntil = Date.now() + Math.min(MAX_REST_MS, REST_MS * 2 ** this.#troubles);
    this.#troubles += 1;
    this.#options.reporter?.warning?.(`${messageOf(error)} [${error.code}]; the work is handed back`);
  }

  async #rest(): Promise<void> {
    const ms = this.#restUntil - Date.now();
    if (ms > 0) await delay(ms, undefined, { signal: this.#ending.signal }).catch(() => undefined);
  }

  #mayBegin(runId: string): boolean {
    const record = this.#record;
    if (this.#ending.signal.aborted || record?.run.id !== runId) return false;
    return record.state !== 'stopping' && !isOver(record.state);
  }

  #fail(error: unknown): void {
    if (this.#signal.aborted) return;
    this.#failure ??= { error };
    this.#ending.abort();
  }

  #drop(ids: readonly string[], why: string): void {
    for (const id of ids) this.#jobs.get(id)?.abort(new FerryError('LOCK_LOST', why));
  }

  #facts(): Pick<WorkerFacts, 'archives' | 'failed' | 'bytes' | 'busy' | 'requests'> {
    return { ...this.#totals, busy: this.#busy, requests: this.#parts.requests };
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}
