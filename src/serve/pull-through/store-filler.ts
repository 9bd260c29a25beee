/**
 * Fills a store with what clients ask for: archives that were served are noted, and put into the store some seconds later by
 * runs of the mirror. Nothing of it is in the way of a client: what fails is tried again, and what is lost is noted again
 * when it is asked for again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { WorkerPool } from '../../artifact/worker-pool.js';
import { isArchiveFilename, isSubdir } from '../../conda/names.js';
import { FerryError, isFerryError } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import { Turns } from '../../io/turns.js';
import { TempFolder } from '../../io/temp-folder.js';
import type { CallOptions } from '../../oci/storage.js';
import { FillList, type FillableArchive } from './fill-list.js';
import { fillStore, type FillOutcome } from './fill-run.js';
import { FillSource } from './fill-source.js';
import type { FillerClock, FillerStats, Refusal, StoreFillerOptions } from './filler-options.js';
import { checkStore, type SubdirLook } from './store-look.js';
import { SubdirPauses } from './subdir-pauses.js';

const DEFAULT_QUIET_MS = 5_000;
const DEFAULT_MAX_DELAY_MS = 30_000;
const DEFAULT_MAX_BATCH = 200;
const DEFAULT_MAX_WAITING = 10_000;
const DEFAULT_STOP_GRACE_MS = 5_000;
const DEFAULT_CLOSE_GRACE_MS = 30_000;
const REFUSED_MS = 60 * 60_000;
const CONFIRM_MS = 60_000;
/** Runs rest so many times as long as they took: the repodata of a large channel takes its time to be written. */
const REST_SHARE = 3;

const REAL_CLOCK: FillerClock = {
  now: () => performance.now(),
  sleep: async (ms, signal) => delay(ms, undefined, { signal }),
  random: Math.random,
};

/** What the runs share. */
interface Tools {
  readonly temp: TempFolder;
  readonly source: FillSource;
  readonly workers: WorkerPool;
}

/** What a run is to be about. */
interface RunChoice {
  /** Whether there is no later, so that nobody is waited for. */
  readonly isLast: boolean;
  /** @defaultValue all subdirs that are not left alone */
  readonly only?: string | undefined;
}

/** Puts archives that were served into a store that mirrors their channel. To be closed. */
export class StoreFiller {
  readonly #options: StoreFillerOptions;
  readonly #clock: FillerClock;
  readonly #list: FillList;
  readonly #pauses: SubdirPauses;
  readonly #stop = new AbortController();
  readonly #hard = new AbortController();
  /** The repodata that our runs published last, by subdir. */
  readonly #ownLatest = new Map<string, Digest>();
  #tools: Promise<Tools> | undefined;
  #working: Promise<void> | undefined;
  readonly #turns = new Turns();
  #sleep: { readonly untilMs: number; readonly wake: AbortController } | undefined;
  #closing: Promise<void> | undefined;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #hasNoarch = false;
  #put = 0;
  #failed = 0;
  #failedRuns = 0;

  constructor(options: StoreFillerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? REAL_CLOCK;
    this.#pauses = new SubdirPauses(this.#clock);
    this.#list = new FillList({
      maxWaiting: options.maxWaiting ?? DEFAULT_MAX_WAITING,
      refusedMs: REFUSED_MS,
      confirmMs: CONFIRM_MS,
      now: this.#clock.now,
    });
  }

  get stats(): FillerStats {
    const { size: waiting, forgotten } = this.#list;
    return { waiting, put: this.#put, failed: this.#failed, failedRuns: this.#failedRuns, forgotten };
  }

  /**
   * Makes sure, before anything is served, that the store can be filled from the upstream.
   * @throws FerryError `ROLE_MISMATCH`, `FOREIGN_RECORDS`, `ROLLED_BACK`, `SCHEMA_CONFLICT`, `LEDGER_INVALID`; whatever the
   * store throws
   */
  async check({ signal }: CallOptions = {}): Promise<void> {
    const { store, upstream } = this.#options;
    await checkStore({ store, source: upstream.url, signal });
  }

  /** Notes an archive that was served; one that is in the store already costs nothing but a look. */
  note(archive: FillableArchive): void {
    if (this.#closing !== undefined) return;
    if (!isSubdir(archive.subdir) || !isArchiveFilename(archive.filename)) return;
    const forgotten = this.#list.note(archive);
    if (forgotten === undefined) return;
    if (forgotten > 0) this.#options.reporter?.forgot?.(forgotten);
    this.#wake();
  }

  /**
   * Puts what waits now, without waiting for more; subdirs in which runs failed are left alone as long as ever.
   * @returns when nothing is left that could be done now
   */
  async flush(): Promise<void> {
    while (await this.#runOnce({ isLast: false }));
    this.#wake();
  }

  /**
   * Ends it: what waits is put in a last run, as far as that goes in the time given.
   * @param graceMs after half of it the run is ended in order, after all of it at once, as by a kill. @defaultValue 30,000
   */
  async close(graceMs = DEFAULT_CLOSE_GRACE_MS): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    this.#sleep?.wake.abort();
    const reason = new Error('the gateway stops');
    const stop = setTimeout(() => {
      this.#stop.abort(reason);
    }, graceMs / 2);
    const kill = setTimeout(() => {
      this.#hard.abort(reason);
    }, graceMs);
    try {
      await this.#working;
      const isStopped = (): boolean => this.#stop.signal.aborted;
      while (!isStopped() && (await this.#runOnce({ isLast: true })));
      for (const only of this.#list.subdirs().keys())
        while (!isStopped() && (await this.#runOnce({ isLast: true, only })));
    } finally {
      clearTimeout(stop);
      clearTimeout(kill);
      const tools = await this.#tools?.catch(() => undefined);
      await tools?.source[Symbol.asyncDispose]();
      await tools?.temp[Symbol.asyncDispose]();
      if (this.#options.workers === undefined) await tools?.workers[Symbol.asyncDispose]();
    }
  }

  /** Has the loop look at its times anew, and begins it where there is something to wait for. */
  #wake(): void {
    if (this.#closing !== undefined) return;
    const due = this.#dueMs();
    if (this.#sleep !== undefined && due < this.#sleep.untilMs) this.#sleep.wake.abort();
    if (this.#working === undefined && due !== Number.POSITIVE_INFINITY)
      this.#working = this.#work().finally(() => {
        this.#working = undefined;
      });
  }

  async #work(): Promise<void> {
    while (this.#closing === undefined) {
      const untilMs = this.#dueMs();
      if (untilMs === Number.POSITIVE_INFINITY) return;
      const waitMs = untilMs - this.#clock.now();
      if (waitMs > 0) await this.#sleepFor(waitMs, untilMs);
      else await this.#runOnce({ isLast: false });
    }
  }

  async #sleepFor(ms: number, untilMs: number): Promise<void> {
    const wake = new AbortController();
    this.#sleep = { untilMs, wake };
    try {
      await this.#clock.sleep(ms, wake.signal);
    } catch (error) {
      if (!wake.signal.aborted) throw error;
    } finally {
      this.#sleep = undefined;
    }
  }

  /** When there is something to do next, in milliseconds of the clock; never: infinity. */
  #dueMs(): number {
    const { quietMs = DEFAULT_QUIET_MS, maxDelayMs = DEFAULT_MAX_DELAY_MS } = this.#options;
    const { maxBatch = DEFAULT_MAX_BATCH } = this.#options;
    let due = Number.POSITIVE_INFINITY;
    for (const [subdir, { count, firstMs, confirmMs }] of this.#list.subdirs()) {
      const batchMs = Math.min(this.#list.lastNoteMs + quietMs, firstMs + maxDelayMs);
      const wantedMs = count === 0 ? confirmMs : count >= maxBatch ? firstMs : Math.min(batchMs, confirmMs);
      due = Math.min(due, Math.max(wantedMs, this.#pauses.untilMs(subdir), this.#restUntilMs));
    }
    return due;
  }

  /** Takes a turn, after whoever has one. @returns whether anything was done, and went well */
  async #runOnce(choice: RunChoice): Promise<boolean> {
    return this.#turns.run('run', () => this.#runChosen(choice));
  }

  async #runChosen(choice: RunChoice): Promise<boolean> {
    const subdirs = this.#chooseSubdirs(choice);
    const needs = this.#list.subdirs();
    const archives = new Map<string, FillableArchive[]>();
    for (const archive of this.#list.waiting(subdirs, this.#options.maxBatch ?? DEFAULT_MAX_BATCH))
      archives.set(archive.subdir, [...(archives.get(archive.subdir) ?? []), archive]);
    const confirming = new Set<FillableArchive>();
    for (const subdir of subdirs) {
      const isDue = (needs.get(subdir)?.confirmMs ?? Number.POSITIVE_INFINITY) <= this.#clock.now();
      // Where the store is looked at in any case, it costs nothing.
      if (!isDue && !archives.has(subdir)) continue;
      const unconfirmed = this.#list.unconfirmed(subdir);
      for (const archive of unconfirmed) confirming.add(archive);
      archives.set(subdir, [...(archives.get(subdir) ?? []), ...unconfirmed]);
    }
    return archives.size > 0 && (await this.#fill(archives, confirming, choice));
  }

  /** Subdirs that may be worked on together; one in which the last run failed is worked on alone. */
  #chooseSubdirs({ isLast, only }: RunChoice): ReadonlySet<string> {
    if (only !== undefined) return new Set([only]);
    const now = this.#clock.now();
    const free = [...this.#list.subdirs().keys()].filter((subdir) => this.#pauses.untilMs(subdir) <= now);
    const well = free.filter((subdir) => !this.#pauses.hasFailed(subdir));
    return new Set(well.length > 0 || isLast ? well : free.slice(0, 1));
  }

  async #fill(
    archives: ReadonlyMap<string, readonly FillableArchive[]>,
    confirming: ReadonlySet<FillableArchive>,
    { isLast }: RunChoice,
  ): Promise<boolean> {
    const { now = () => new Date() } = this.#options;
    const subdirs = [...archives.keys()];
    const beganAt = this.#clock.now();
    const fromMs = now().getTime();
    try {
      const { source, workers } = await this.#openTools();
      const outcome = await fillStore(archives, {
        ...this.#options,
        stopGraceMs: this.#options.stopGraceMs ?? DEFAULT_STOP_GRACE_MS,
        ...{ source: source.channel, workers, confirming },
        mustWait: (look) => !isLast && this.#mustWait(look),
        ownLatest: (subdir) => this.#ownLatest.get(subdir),
        withNoarch: !this.#hasNoarch && !subdirs.some((subdir) => this.#pauses.hasFailed(subdir)),
        stop: this.#stop.signal,
        signal: this.#hard.signal,
      });
      this.#take(outcome);
      return outcome.report !== undefined || outcome.listed.length > 0;
    } catch (cause) {
      const isStopped = this.#stop.signal.aborted || this.#hard.signal.aborted;
      if (isStopped && !isFerryError(cause)) return false;
      const error = isFerryError(cause)
        ? cause
        : new FerryError('INTERNAL', 'the store cannot be filled', { cause });
      this.#failedRuns += 1;
      const run = { fromMs, toMs: now().getTime() };
      const pauses = subdirs.map((subdir) => this.#pauses.fail(subdir, error, run));
      this.#options.reporter?.runFailed?.({ subdirs, error, retryInMs: Math.max(...pauses) });
      return false;
    } finally {
      const endedAt = this.#clock.now();
      this.#restUntilMs = endedAt + REST_SHARE * (endedAt - beganAt);
    }
  }

  /** Whether somebody else's run stands in the way: to publish in between would make it begin again. */
  #mustWait({ subdir, state }: SubdirLook): boolean {
    const running = state.ledger?.running;
    if (running === undefined) {
      this.#pauses.isAlone(subdir);
      return false;
    }
    if (this.#pauses.isOwn(subdir, running) || !this.#pauses.waitFor(subdir, running)) return false;
    this.#options.reporter?.waitsForRun?.(subdir, running.started);
    return true;
  }

  /** Takes in what a run came to. */
  #take({ listed, tried, report }: FillOutcome): void {
    const { reporter, store } = this.#options;
    for (const archive of listed) this.#list.confirm(archive);
    if (report === undefined) return;
    const subdirs = new Map(report.subdirs.map((one) => [one.subdir, one]));
    for (const archive of tried) {
      const found = subdirs.get(archive.subdir);
      const isIt = ({ filename }: { readonly filename: string }): boolean => filename === archive.filename;
      const why = found?.failed.find(isIt) ?? found?.withheld.find(isIt);
      if (why !== undefined) this.#refuse(archive, why);
      // It may not have been its turn yet.
      else if (report.isInterrupted && (found === undefined || found.untried > 0)) continue;
      else if (found === undefined || found.publishedAs === 'nothing')
        this.#refuse(archive, { code: 'NOT_FOUND', message: 'the upstream has no such subdir' });
      else this.#list.put(archive);
    }
    for (const subdir of subdirs.keys()) {
      this.#pauses.succeed(subdir);
      const latest = store.latestOf(store.metadataRepository(subdir, 'repodata.json'));
      if (latest !== undefined && latest !== 'nothing') this.#ownLatest.set(subdir, latest);
    }
    this.#hasNoarch = true;
    const archives = report.subdirs.reduce((sum, { added }) => sum + added, 0);
    const bytes = report.subdirs.reduce((sum, { addedBytes }) => sum + addedBytes, 0);
    this.#put += archives;
    reporter?.filled?.({ subdirs: [...subdirs.keys()], archives, bytes });
  }

  #refuse(archive: FillableArchive, why: Refusal): void {
    this.#failed += 1;
    this.#list.refuse(archive);
    this.#options.reporter?.refused?.(archive, why);
  }

  async #openTools(): Promise<Tools> {
    this.#tools ??= this.#makeTools();
    try {
      return await this.#tools;
    } catch (error) {
      this.#tools = undefined;
      throw error;
    }
  }

  async #makeTools(): Promise<Tools> {
    const { upstream, content, tempDir, workers } = this.#options;
    const temp = await TempFolder.create(tempDir);
    const source = new FillSource({ upstream, content, temp });
    return { temp, source, workers: workers ?? new WorkerPool() };
  }
}
