/**
 * The coordinator: the same run as the single one, with the workers of a queue as its executor. It holds the queue by a
 * lease, tells Redis how far the run is, and plans again at the end until nothing is left, which also makes good what
 * Redis or a killed machine lost.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { pid } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { FerryError, isFerryError, messageOf } from '../errors.js';
import { count } from '../io/figures.js';
import { quietSignal } from '../io/quiet-signal.js';
import { mergeReports } from '../mirror/merge-reports.js';
import { mirrorChannel, type MirrorOptions } from '../mirror/mirror.js';
import type { MirrorReport, MirrorReporter } from '../mirror/report.js';
import { carryByQueue } from './carry-by-queue.js';
import { roomFor } from './check-redis.js';
import { JobQueue } from './job-queue.js';
import { acquireLease, type Lease } from './lease.js';
import { listWorkers } from './presence.js';
import type { QueueRedis } from './queue-redis.js';
import {
  beginRun,
  checkWorker,
  noteRun,
  readRun,
  type RunDescription,
  type RunEnds,
  type RunProgress,
  type RunState,
} from './run-record.js';
import type { SideRequests } from './run-parts.js';

/** How often an archive that fails is tried, where nobody says otherwise. */
export const DEFAULT_ATTEMPTS = 3;
/** How often the coordinator tells how far it is, and looks what is asked of it. */
const HEARTBEAT_MS = 1000;
/** Without a worker for so long, it is worth a word. */
const LONELY_MS = 10_000;
/** How often it looks whether workers of an earlier run have let go. */
const SETTLE_MS = 250;
/** Passes in a row that bring nothing although something is left. */
const MAX_VAIN_PASSES = 3;
/** What the source gets in less than that is not worth a pass of its own. */
const SHORT_PASS_MS = 60 * 60 * 1000;
/** For what is told to Redis when all is over. */
const LAST_WORD_MS = 5000;

/** What the coordinator of a queue is told besides what a run is told. */
export interface CoordinateOptions {
  readonly queue: QueueRedis;
  /** Of conda-ferry; coordinator and workers must have the same one. */
  readonly version: string;
  /** Source and destination, for workers to open; no secrets. */
  readonly ends: RunEnds;
  /** How often an archive that fails is tried, in all. @defaultValue 3 */
  readonly attempts?: number | undefined;
  /** Before the second of them, in milliseconds; before each further one twice as long. @defaultValue 5000 */
  readonly retryMs?: number | undefined;
  /** How long the lease lasts where the coordinator is killed: the same for all. @defaultValue 30,000 */
  readonly leaseMs?: number | undefined;
}

/** What a run by queue did. */
export interface QueueMirrorReport {
  /** As of the single run. */
  readonly report: MirrorReport;
  /** Of the workers; those of this process are not among them. */
  readonly requests: SideRequests;
}

/**
 * Mirrors a channel as {@link mirrorChannel} does, with the workers of a queue carrying the archives.
 * @throws FerryError `LOCK_TIMEOUT` where another coordinator is at the queue, `LOCK_LOST` where one took it over,
 * `VERSION_MISMATCH`, `QUEUE_FULL`, `QUEUE_LOST`, and what {@link mirrorChannel} throws
 */
export async function mirrorByQueue(
  options: MirrorOptions,
  coordinate: CoordinateOptions,
): Promise<QueueMirrorReport> {
  const { queue, version, ends } = coordinate;
  const { signal, reporter } = options;
  const startedAt = new Date().toISOString();
  const holder = { host: hostname(), pid, startedAt };
  // Until archives move there is nothing to finish.
  const asked = [signal, options.stop].filter((one) => one !== undefined);
  const early = asked.length === 0 ? undefined : quietSignal(AbortSignal.any(asked));
  await using lease = await acquireLease(queue, {
    holder,
    lifetimeMs: coordinate.leaseMs,
    signal: early,
    onWait: ({ host, pid: other }) => {
      reporter?.warning?.(
        `a coordinator on ${host} (process ${String(other)}) held the queue; waiting for its lease to run out`,
      );
    },
  });
  for (const worker of await listWorkers(queue)) checkWorker(worker, version);
  const run: RunDescription = { ...holder, id: randomBytes(5).toString('hex'), version, ends };
  await using jobs = new JobQueue(queue, run.id, { retryMs: coordinate.retryMs });
  const signals = [signal, lease.signal].filter((one) => one !== undefined);
  const coordinator = new Coordinator(
    options,
    run,
    { ...coordinate, jobs, lease },
    quietSignal(AbortSignal.any(signals)),
  );
  // Awaited here: the lease is given back afterwards.
  return await coordinator.run();
}

interface CoordinatorOptions extends CoordinateOptions {
  readonly jobs: JobQueue;
  readonly lease: Lease;
}

class Coordinator {
  readonly #options: MirrorOptions;
  readonly #queue: QueueRedis;
  readonly #jobs: JobQueue;
  readonly #lease: Lease;
  readonly #attempts: number;
  readonly #retryMs: number | undefined;
  readonly #signal: AbortSignal;
  readonly #cancel = new AbortController();
  readonly #heart = new AbortController();
  readonly #requests = { source: 0, destination: 0 };
  readonly #numbers = { pass: 1, archives: 0, archivesDone: 0, archivesFailed: 0, bytesDone: 0 };
  readonly #run: RunDescription;
  #subdir: string | undefined;
  #state: RunState = 'planning';
  #lonelySince: number | undefined;

  constructor(
    options: MirrorOptions,
    run: RunDescription,
    { queue, jobs, lease, attempts = DEFAULT_ATTEMPTS, retryMs }: CoordinatorOptions,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#run = run;
    this.#queue = queue;
    this.#jobs = jobs;
    this.#lease = lease;
    this.#attempts = attempts;
    this.#retryMs = retryMs;
    this.#signal = signal;
  }

  async run(): Promise<QueueMirrorReport> {
    await beginRun(this.#queue, this.#run);
    const beating = this.#beat();
    let end: { readonly state: RunState; readonly error?: string } = { state: 'failed' };
    try {
      await this.#settleEarlier();
      const report = await this.#repeat();
      const isCancelled = this.#cancel.signal.aborted;
      end = { state: !report.isInterrupted ? 'done' : isCancelled ? 'cancelled' : 'interrupted' };
      return { report, requests: this.#requests };
    } catch (error) {
      const isStopped = this.#options.stop?.aborted === true || this.#options.signal?.aborted === true;
      end = isStopped
        ? { state: 'interrupted' }
        : {
            state: 'failed',
            error: isFerryError(error) ? `${messageOf(error)} [${error.code}]` : String(error),
          };
      throw error;
    } finally {
      this.#heart.abort();
      await beating;
      await this.#lastWord(end);
    }
  }

  /** Runs until a plan is empty, but for what is new at a source that never rests. */
  async #repeat(): Promise<MirrorReport> {
    const { stop, reporter, apply } = this.#options;
    const stops = [stop, this.#cancel.signal].filter((one) => one !== undefined);
    let total: MirrorReport | undefined;
    let untriedBefore = 0;
    for (let vain = 0; ;) {
      const { pass } = this.#numbers;
      const beganMs = performance.now();
      const report = await this.#mirror({
        ...this.#options,
        deep: pass === 1 && this.#options.deep === true,
        executor: carryByQueue({
          jobs: this.#jobs,
          attempts: this.#attempts,
          retryMs: this.#retryMs,
          isRepeated: () => pass > 1,
          checkRoom: (bytes) => roomFor(this.#queue, bytes),
          onState: (state, subdir) => this.#note(state, subdir),
          onRequests: (source, destination) => {
            this.#requests.source += source;
            this.#requests.destination += destination;
          },
          onWarning: (text) => reporter?.warning?.(text),
        }),
        reporter: this.#listening(),
        stop: AbortSignal.any(stops),
        signal: this.#signal,
      });
      // It was to end before it had planned.
      if (report === undefined) return { ...(total ?? this.#nothing()), isInterrupted: true };
      total = total === undefined ? report : mergeReports(total, report);
      const sum = (of: 'added' | 'untried'): number =>
        report.subdirs.reduce((all, subdir) => all + subdir[of], 0);
      const [added, untried] = [sum('added'), sum('untried')];
      // A plan that is done once is out of date by that.
      if (report.isInterrupted || apply !== undefined || added + untried === 0) return total;
      // What comes while a short pass lasts is for another day: a source that never rests would have no run end.
      const isShort = performance.now() - beganMs < SHORT_PASS_MS;
      if (pass > 1 && isShort && untried + untriedBefore === 0) return total;
      untriedBefore = untried;
      vain = added === 0 ? vain + 1 : 0;
      if (vain === MAX_VAIN_PASSES)
        throw new FerryError(
          'QUEUE_LOST',
          `${count(untried, 'artifact')} vanished from the queue, ${String(vain)} times in a row`,
        );
      this.#numbers.pass += 1;
      await this.#note('planning');
    }
  }

  /** One pass; `undefined` where it was to end before there was anything to finish. */
  async #mirror(options: MirrorOptions): Promise<MirrorReport | undefined> {
    try {
      return await mirrorChannel(options);
    } catch (error) {
      const isAsked = this.#cancel.signal.aborted || this.#numbers.pass > 1;
      if (isAsked && options.stop?.aborted === true && error === options.stop.reason) return undefined;
      throw error;
    }
  }

  /** The report of a run that was cancelled before it did anything. */
  #nothing(): MirrorReport {
    const { source, destination } = this.#options;
    const { startedAt } = this.#run;
    const schema = destination.schema.id;
    const ends = { source: source.url, destination: destination.location, schema };
    return { ...ends, startedAt, endedAt: new Date().toISOString(), isInterrupted: true, subdirs: [] };
  }

  /** Waits until no worker is at a job of an earlier run, and forgets those jobs. */
  async #settleEarlier(): Promise<void> {
    let isTold = false;
    for (;;) {
      await this.#jobs.withdraw(this.#signal);
      const active = await this.#jobs.list('active', Number.MAX_SAFE_INTEGER, this.#signal);
      const held = await Promise.all(active.map((job) => this.#jobs.isHeld(job, this.#signal)));
      const busy = held.filter(Boolean).length;
      if (busy === 0) break;
      if (!isTold)
        this.#options.reporter?.warning?.(`waiting for ${count(busy, 'job')} of an earlier run to end`);
      isTold = true;
      await delay(SETTLE_MS, undefined, { signal: this.#signal });
    }
    await this.#jobs.clear(this.#signal);
  }

  /** Counts what is reported on its way. */
  #listening(): MirrorReporter {
    const { reporter } = this.#options;
    const numbers = this.#numbers;
    return {
      planned: (total) => {
        numbers.archives = numbers.archivesDone + numbers.archivesFailed + total.archives;
        if (total.archives > 0 || numbers.pass === 1) reporter?.planned?.(total);
      },
      archive: (archive) => {
        if (archive.failure === undefined) {
          numbers.archivesDone += 1;
          numbers.bytesDone += archive.bytes;
        } else numbers.archivesFailed += 1;
        reporter?.archive?.(archive);
      },
      warning: (message) => reporter?.warning?.(message),
      published: (subdir, as) => {
        // That nothing more came is no news the second time.
        if (numbers.pass === 1 || as !== 'kept') reporter?.published?.(subdir, as);
      },
    };
  }

  async #note(state: RunState, subdir?: string): Promise<void> {
    this.#state = state;
    this.#subdir = subdir;
    // Whoever was asleep for a while must not publish over the one who took over.
    if (state === 'publishing') await this.#lease.assertHeld(this.#signal);
    await noteRun(this.#queue, { run: this.#run, state, progress: this.#progress() }, this.#signal);
  }

  #progress(): RunProgress {
    const { source, destination } = this.#requests;
    const subdir = this.#subdir === undefined ? {} : { subdir: this.#subdir };
    return { ...this.#numbers, ...subdir, requests: { source, destination } };
  }

  /** Tells how far the run is, and heeds what is asked, until the run is over. */
  async #beat(): Promise<void> {
    const { signal } = this.#heart;
    while (!signal.aborted) {
      try {
        await delay(HEARTBEAT_MS, undefined, { signal });
        // What was asked for is not asked of this run where Redis has another one's record.
        const record = await readRun(this.#queue, signal);
        if (record?.run.id === this.#run.id && record.request === 'cancel') this.#cancel.abort();
        const note = { run: this.#run, state: this.#state, progress: this.#progress() };
        await noteRun(this.#queue, note, signal);
        await this.#lookForWorkers();
      } catch {
        // What keeps Redis from answering is told by the connection, and whoever needs an answer waits for it.
      }
    }
  }

  async #lookForWorkers(): Promise<void> {
    const isLonely = this.#state === 'carrying' && (await listWorkers(this.#queue)).length === 0;
    if (!isLonely) {
      this.#lonelySince = undefined;
      return;
    }
    this.#lonelySince ??= Date.now();
    if (Date.now() - this.#lonelySince < LONELY_MS) return;
    this.#lonelySince = Number.POSITIVE_INFINITY;
    this.#options.reporter?.warning?.('no worker takes part: start `conda-ferry worker --queue …`');
  }

  /** Tells Redis how the run ended, if it still listens. */
  async #lastWord(end: { readonly state: RunState; readonly error?: string }): Promise<void> {
    const signal = AbortSignal.timeout(LAST_WORD_MS);
    try {
      await noteRun(this.#queue, { run: this.#run, ...end, progress: this.#progress() }, signal);
      if (end.state === 'done') await this.#jobs.clear(signal);
    } catch {
      // What became of the run counts for more than that Redis does not know.
    }
  }
}
