/**
 * Workers that take jobs out of a queue, tag after tag, and now and then die over them. As the workers of BullMQ do: a job
 * whose worker is silent is another's after the time of its lock, and what is in it may be there.
 */
import { LOCK_MS, STALLED_CHECK_MS } from '#ferry/queue/job-queue.js';
import { KILLED } from './machine.mjs';

/** @typedef {import('./plan.mjs').SubdirWork} SubdirWork */
/** @typedef {import('./machine.mjs').Machine} Machine */

const DAY_MS = 86_400_000;
/** Until a process that died is there again, as by systemd. */
const RESTART_MS = 60_000;
/** How often somebody who finds no job looks again. */
const IDLE_MS = 500;
/** How often an archive is tried, in all, and how long after the first time: as `mirror --queue` does. */
const ATTEMPTS = 3;
const BACKOFF_MS = 5000;

/**
 * Tags of one repository, from `first` up to `end`; `done` of them are there although nobody was told.
 * @typedef {{ work: SubdirWork, first: number, end: number, repository: string, mayBeThere: boolean, done: number,
 *   failures: number, notBefore: number }} Job
 */

/**
 * @typedef {object} FleetOptions
 * @property {import('./clock.mjs').SimulatedClock} clock
 * @property {number} workers
 * @property {number} concurrency jobs of one worker at once
 * @property {number} deathsPerDay of workers, in all
 * @property {number} quarantineShare archives that fail however often they are tried
 * @property {(place: number) => Machine} machine makes the process of a worker
 */

/** See above. */
export class Fleet {
  /** What happened. */
  facts = { tags: 0, deaths: 0, repeatedTags: 0, failedTags: 0, bytesDown: 0, jobs: 0 };
  /** While it is set nobody begins anything. */
  isHeld = false;
  active = 0;
  /** @readonly */
  #options;
  /** @type {Iterator<Job>} */
  #jobs = [][Symbol.iterator]();
  /** What came back, and when it may be taken. @readonly @type {Job[]} */
  #again = [];
  #isEnding = false;
  #isExhausted = true;
  /** @type {(tags: number) => Promise<void>} */
  #onSettled = () => Promise.resolve();
  /** Tags of the jobs that are done, told or not, when the last job was taken, and when that was. */
  lastTaken = { tags: 0, at: 0 };

  /** @param {FleetOptions} options */
  constructor(options) {
    this.#options = options;
    for (let place = 0; place < options.workers; place += 1) void this.#live(place);
    if (options.deathsPerDay > 0) void this.#dieAtTimes();
  }

  /** @type {{ machine: Machine, underWay: Set<Job> }[]} */
  #processes = [];

  /** Whether all jobs are done. */
  get isDone() {
    return this.#isExhausted && this.active === 0 && this.#again.length === 0;
  }

  /**
   * Has all jobs done.
   * @param {Iterable<Job>} jobs
   * @param {{ onSettled?: (tags: number) => Promise<void>, onTick?: () => Promise<void> }} [options] `onTick` is called
   * some times a second
   */
  async carry(jobs, { onSettled, onTick } = {}) {
    this.#jobs = jobs[Symbol.iterator]();
    this.#isExhausted = false;
    this.#onSettled = onSettled ?? (() => Promise.resolve());
    while (!this.isDone) {
      await this.#options.clock.sleep(IDLE_MS);
      await onTick?.();
    }
  }

  /** Nobody takes jobs any more. */
  end() {
    this.#isEnding = true;
  }

  /** @param {number} place */
  async #live(place) {
    while (!this.#isEnding) {
      const machine = this.#options.machine(place);
      const underWay = /** @type {Set<Job>} */ (new Set());
      this.#processes[place] = { machine, underWay };
      const { concurrency } = this.#options;
      await Promise.all(Array.from({ length: concurrency }, () => this.#takeJobs(machine, underWay)));
      await this.#options.clock.sleep(RESTART_MS);
    }
  }

  /**
   * @param {Machine} machine
   * @param {Set<Job>} underWay
   */
  async #takeJobs(machine, underWay) {
    const { clock } = this.#options;
    while (!machine.isKilled && !this.#isEnding) {
      const job = this.isHeld ? undefined : this.#take();
      if (job === undefined) {
        await clock.sleep(IDLE_MS);
        continue;
      }
      this.active += 1;
      underWay.add(job);
      this.facts.jobs += 1;
      try {
        await this.#do(machine, job);
      } catch (error) {
        if (error !== KILLED) throw error;
        this.#again.push(leftBehind(job, clock.now() + LOCK_MS + clock.random() * STALLED_CHECK_MS));
        return;
      } finally {
        underWay.delete(job);
        this.active -= 1;
      }
      await this.#onSettled(job.end - job.first);
    }
  }

  /** @returns {Job | undefined} */
  #take() {
    const now = this.#options.clock.now();
    const place = this.#again.findIndex(({ notBefore }) => notBefore <= now);
    if (place !== -1) return this.#again.splice(place, 1)[0];
    if (this.#isExhausted) return undefined;
    const { value, done } = this.#jobs.next();
    if (done !== true) return value;
    this.#isExhausted = true;
    this.lastTaken = { tags: this.facts.tags, at: now };
    return undefined;
  }

  /**
   * @param {Machine} machine
   * @param {Job} job
   */
  async #do(machine, job) {
    const { clock, quarantineShare } = this.#options;
    const { work, repository, mayBeThere } = job;
    const known = job.done;
    for (let tag = job.first; tag < job.end; tag += 1) {
      const isThere = mayBeThere && tag - job.first < known;
      const [size, twin] = [work.sizes[tag] ?? 0, work.twins[tag] ?? 0];
      const what = { size, twin, repository, mayBeThere, isThere };
      const isFailing = !isThere && (job.failures > 0 || clock.random() < quarantineShare);
      if (isFailing) {
        await machine.reject(what);
        this.#failed(job, tag);
      } else if (await machine.carry(what)) {
        if (isThere) this.facts.repeatedTags += 1;
        else {
          this.facts.tags += 1;
          this.facts.bytesDown += size + twin;
        }
      } else this.#failed(job, tag);
      job.done = Math.max(job.done, tag + 1 - job.first);
    }
  }

  /**
   * @param {Job} job
   * @param {number} tag
   */
  #failed(job, tag) {
    const failures = job.failures + 1;
    if (failures === ATTEMPTS) {
      this.facts.failedTags += 1;
      return;
    }
    const notBefore = this.#options.clock.now() + BACKOFF_MS * 2 ** job.failures;
    this.#again.push({ ...job, first: tag, end: tag + 1, mayBeThere: true, done: 0, failures, notBefore });
  }

  async #dieAtTimes() {
    const { clock, deathsPerDay } = this.#options;
    for (;;) {
      await clock.sleep((-Math.log(1 - clock.random()) * DAY_MS) / deathsPerDay);
      if (this.#isEnding) return;
      const victim = this.#processes[Math.floor(clock.random() * this.#processes.length)];
      if (victim === undefined || victim.machine.isKilled) continue;
      victim.machine.isKilled = true;
      this.facts.deaths += 1;
    }
  }
}

/**
 * @param {Job} job
 * @param {number} notBefore
 * @returns {Job}
 */
function leftBehind(job, notBefore) {
  return { ...job, mayBeThere: true, notBefore };
}

/**
 * The jobs of a subdir, as they stand in the queue.
 * @param {SubdirWork} work
 * @param {{ every?: number, mayBeThere?: boolean }} [options] `every`: only so many-th job
 * @returns {Generator<Job>}
 */
export function* jobsOf(work, { every = 1, mayBeThere = false } = {}) {
  const { subdir, jobs, repositories } = work;
  for (let place = 0; place < repositories.length; place += every) {
    const [first, end] = [jobs[place] ?? 0, jobs[place + 1] ?? 0];
    const repository = `${subdir}/${repositories[place]}`;
    yield { work, first, end, repository, mayBeThere, done: 0, failures: 0, notBefore: 0 };
  }
}
