/**
 * The coordinator of a first mirror: subdir by subdir, with the checkpoints of a long run, a machine that is lost with its
 * coordinator, and at the end plans again for what the source got meanwhile.
 */
import { forEachConcurrently } from '#ferry/io/pool.js';
import { Checkpoints } from '#ferry/mirror/checkpoints.js';
import { jobsOf } from './fleet.mjs';

/** @typedef {import('./plan.mjs').SubdirWork} SubdirWork */

const DAY_MS = 86_400_000;
/** As counted by others: see channel.mjs. */
const NEW_PER_DAY = 2080;
const NEW_BYTES = 11.4e6;
/** Of plain repodata, 20 to 30 MB of 190 in the wild. */
export const ZST_SHARE = 0.13;
/** The ledger of a run under way. */
const LEDGER_BYTES = 4000;
/** Beside the repodata: `current_repodata`, `run_exports`, `patch_instructions`, `repodata_from_packages`, of its size. */
const COMPANION_SHARES = [0.3, 0.1, 0.1, 1];
/** Until another coordinator takes over: the lease of the one that died. */
const LEASE_MS = 30_000;
/** Manifests that the coordinator asks for at once. */
const ASKED_AT_ONCE = 16;
/** Measured, of a million records: docs/performance.md. */
const PLAN_MS_PER_ARCHIVE = 4100 / 1e6;
const MAX_PASSES = 4;
/** Tags on one page of a list. */
const TAGS_PER_PAGE = 1000;

/**
 * @typedef {object} CoordinatorOptions
 * @property {import('./clock.mjs').SimulatedClock} clock
 * @property {import('./registry.mjs').SimulatedRegistry} registry
 * @property {import('./fleet.mjs').Fleet} fleet
 * @property {import('./machine.mjs').Machine} machine its own
 * @property {readonly number[]} takeoverDays when the coordinator dies, in days from the beginning
 * @property {number} [newPerDay] archives that the source gets
 * @property {(text: string) => void} [onProgress]
 */

/** A pass over the channel. @typedef {{ archives: number, minutes: number, requests: number }} Pass */
/** @typedef {{ day: number, minutes: number, requests: number, unknownTags: number }} Takeover */

/** See above. */
export class Coordinator {
  /** @type {{ count: number, bytes: number, requests: number, longestHours: number }} */
  checkpoints = { count: 0, bytes: 0, requests: 0, longestHours: 0 };
  /** @type {Takeover[]} */
  takeovers = [];
  /** @type {Pass[]} */
  passes = [];
  finalBytes = 0;
  /** Archives that the source got during the last pass. */
  newAtEnd = 0;
  /** What subdirs that are done have more than their last checkpoint listed: it is published with the others, at the end. */
  #unlisted = { tags: 0, repositories: 0 };
  #planMs = 0;
  /** @readonly */
  #options;
  /** @readonly */
  #startedAt;
  /** @readonly @type {number[]} */
  #takeoversAt;

  /** @param {CoordinatorOptions} options */
  constructor(options) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    this.#takeoversAt = options.takeoverDays.map((day) => this.#startedAt + day * DAY_MS);
  }

  /** Mirrors all of it, until a plan is empty, or some passes have shown that none will be. @param {readonly SubdirWork[]} works */
  async mirror(works) {
    const { clock, fleet, newPerDay = NEW_PER_DAY } = this.#options;
    let plannedAt = this.#startedAt;
    await this.#pass(works, false);
    for (;;) {
      const count = Math.round(((clock.now() - plannedAt) / DAY_MS) * newPerDay);
      // A source that never rests has something new after each pass: three more show what it comes to.
      this.newAtEnd = count;
      if (count === 0 || this.passes.length === MAX_PASSES) break;
      plannedAt = clock.now();
      await clock.sleep(planMs(works));
      await this.#pass(newArchives(works, count, clock.random), true);
    }
    fleet.end();
  }

  /**
   * @param {readonly SubdirWork[]} works
   * @param {boolean} isRepeated
   */
  async #pass(works, isRepeated) {
    const { clock, onProgress } = this.#options;
    const [startedAt, before] = [clock.now(), this.#sent()];
    this.#planMs = planMs(works);
    for (const work of works) {
      await this.#subdir(work, isRepeated);
      const days = ((clock.now() - this.#startedAt) / DAY_MS).toFixed(2);
      if (!isRepeated) onProgress?.(`${work.subdir}: ${work.facts.archives} archives, day ${days}`);
    }
    for (const work of works) if (work.facts.archives > 0) await this.#publishAtEnd(work);
    this.#unlisted = { tags: 0, repositories: 0 };
    const archives = works.reduce((sum, { facts }) => sum + facts.archives, 0);
    const minutes = (clock.now() - startedAt) / 60_000;
    this.passes.push({ archives, minutes, requests: this.#sent() - before });
  }

  /**
   * @param {SubdirWork} work
   * @param {boolean} isRepeated
   */
  async #subdir(work, isRepeated) {
    const { clock, fleet, machine } = this.#options;
    // Ledger, repodata and whether the other schema is there; shims, and the ledger that says that a run is under way.
    await this.#requests('head', isRepeated ? 2 : 3);
    if (work.facts.archives === 0) return;
    if (!isRepeated) {
      await machine.config(`${work.subdir}/shim`);
      await machine.request('manifest', 500);
      await machine.config(`${work.subdir}/ledger`);
    }
    await this.#ledger();
    let settled = 0;
    let listed = 0;
    let publishedAt = clock.now();
    const publish = async () => {
      const share = settled / Math.max(1, work.facts.tags);
      const upTo = settled;
      const before = machine.sent;
      await this.#publish(work, share);
      listed = upTo;
      this.checkpoints.count += 1;
      this.checkpoints.requests += machine.sent - before;
      this.checkpoints.bytes += work.facts.repodataBytes * share * (1 + ZST_SHARE);
      const hours = (clock.now() - publishedAt) / 3.6e6;
      this.checkpoints.longestHours = Math.max(this.checkpoints.longestHours, hours);
      publishedAt = clock.now();
    };
    const dated = { now: () => new Date(clock.now()) };
    let checkpoints = new Checkpoints(publish, dated);
    await fleet.carry(jobsOf(work, { mayBeThere: isRepeated }), {
      onSettled: async (tags) => {
        settled += tags;
        // The worker has its next job already; who is told waits for what is published.
        void checkpoints.afterItem();
      },
      onTick: async () => {
        const [next] = this.#takeoversAt;
        if (next === undefined || clock.now() < next) return;
        this.#takeoversAt.shift();
        await this.#takeOver(work, () => ({ settled, listed }));
        checkpoints = new Checkpoints(publish, dated);
      },
    });
    this.#unlisted.tags += settled - listed;
    this.#unlisted.repositories += openRepositories(work, listed);
  }

  /**
   * Another coordinator: waits for the lease and for jobs under way, plans, and asks for what no checkpoint told. Workers go
   * on until the lease is over; nobody heard of what they did.
   * @param {SubdirWork} work
   * @param {() => { settled: number, listed: number }} known
   */
  async #takeOver(work, known) {
    const { clock, fleet, machine } = this.#options;
    const startedAt = clock.now();
    await clock.sleep(LEASE_MS);
    fleet.isHeld = true;
    while (fleet.active > 0) await clock.sleep(250);
    await clock.sleep(this.#planMs);
    const { settled, listed } = known();
    const unknownTags = settled - listed + this.#unlisted.tags;
    const before = machine.sent;
    // The tags of each repository that something is missing of, then the manifest of each tag that nobody vouches for.
    const lists =
      openRepositories(work, listed) + this.#unlisted.repositories + Math.floor(unknownTags / TAGS_PER_PAGE);
    await forEachConcurrently(
      Array.from({ length: lists + unknownTags }),
      { concurrency: ASKED_AT_ONCE },
      async () => {
        await machine.request('get');
      },
    );
    fleet.isHeld = false;
    const [day, minutes] = [(startedAt - this.#startedAt) / DAY_MS, (clock.now() - startedAt) / 60_000];
    this.takeovers.push({ day, minutes, requests: machine.sent - before, unknownTags });
  }

  /**
   * Repodata of a part of the records: content, the ledger that announces it, `latest`.
   * @param {SubdirWork} work
   * @param {number} share
   */
  async #publish({ subdir, facts }, share) {
    const { machine } = this.#options;
    await machine.config(`${subdir}/repodata.json`);
    const bytes = Math.ceil(facts.repodataBytes * share);
    await machine.blob(bytes);
    await machine.blob(Math.ceil(bytes * ZST_SHARE));
    await machine.request('manifest', 800);
    await this.#ledger();
    await this.#moveLatest();
  }

  /** @param {SubdirWork} work */
  async #publishAtEnd(work) {
    const { machine } = this.#options;
    await this.#publish(work, 1);
    this.finalBytes += work.facts.repodataBytes * (1 + ZST_SHARE);
    for (const share of COMPANION_SHARES) {
      const bytes = Math.ceil(work.facts.repodataBytes * share);
      await machine.request('head');
      await machine.config(`${work.subdir}/companion-${share}`);
      await machine.blob(bytes);
      await machine.blob(Math.ceil(bytes * ZST_SHARE));
      await machine.request('manifest', 800);
      await this.#moveLatest();
      this.finalBytes += bytes * (1 + ZST_SHARE);
    }
    await this.#ledger();
  }

  async #ledger() {
    const { machine } = this.#options;
    await machine.blob(LEDGER_BYTES);
    await machine.request('manifest', 500);
  }

  async #moveLatest() {
    await this.#requests('head', 1);
    await this.#requests('get', 1);
    await this.#options.machine.request('manifest', 800);
  }

  /**
   * @param {import('./registry.mjs').Kind} kind
   * @param {number} count
   */
  async #requests(kind, count) {
    for (let i = 0; i < count; i += 1) await this.#options.machine.request(kind);
  }

  #sent() {
    return Object.values(this.#options.registry.counts).reduce((sum, count) => sum + count, 0);
  }
}

/** All repodata is read for it. @param {readonly SubdirWork[]} works */
function planMs(works) {
  return works.reduce((sum, { facts }) => sum + facts.archives * PLAN_MS_PER_ARCHIVE, 0);
}

/**
 * Repositories of which something is not listed: tags go in their order.
 * @param {SubdirWork} work
 * @param {number} listed tags
 */
function openRepositories({ facts }, listed) {
  return facts.repositories - Math.floor((facts.repositories * listed) / facts.tags);
}

/**
 * What came meanwhile: one tag in each job, since new builds are of many names.
 * @param {readonly SubdirWork[]} works
 * @param {number} count
 * @param {() => number} random
 * @returns {readonly SubdirWork[]}
 */
function newArchives(works, count, random) {
  const all = works.reduce((sum, { facts }) => sum + facts.archives, 0);
  return works.map((work) => {
    const { facts } = work;
    const archives = Math.round((count * facts.archives) / all);
    const scale = NEW_BYTES / (facts.bytes / facts.archives);
    const sizes = Float64Array.from({ length: archives }, () => {
      const size = work.sizes[Math.floor(random() * work.sizes.length)] ?? 0;
      return Math.round(size * scale);
    });
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    const repositories = Uint32Array.from({ length: archives }, () =>
      Math.floor(random() * facts.repositories),
    );
    return {
      ...{ subdir: work.subdir, sizes, twins: new Float64Array(archives), repositories },
      jobs: Uint32Array.from({ length: archives + 1 }, (_, place) => place),
      facts: {
        ...facts,
        archives,
        tags: archives,
        jobs: archives,
        bytes,
        repositories: new Set(repositories).size,
      },
    };
  });
}
