/** The two kinds of simulated runs: samples of the carrying alone, and a whole first mirror. */
import { SimulatedClock } from './clock.mjs';
import { Coordinator } from './coordinator.mjs';
import { Fleet, jobsOf } from './fleet.mjs';
import { limitsOf, Machine } from './machine.mjs';
import { LIMIT_PER_MINUTE, SimulatedRegistry } from './registry.mjs';
import { sharedMemory } from './shared-memory.mjs';

/** @typedef {import('./plan.mjs').SubdirWork} SubdirWork */

/** Only for the sake of days that look like days. */
const START_MS = Date.UTC(2026, 10, 22);
const MINUTE_MS = 60_000;

/**
 * @typedef {object} RunOptions
 * @property {number} credentials
 * @property {number} workers processes; those of one credential are every `credentials`-th
 * @property {number} concurrency jobs of a worker at once
 * @property {boolean} singlePost
 * @property {number} lineMegabits of each worker
 * @property {number} connectionMegabits
 * @property {number} deathsPerDay of workers
 * @property {number} quarantineShare
 * @property {boolean} isShared whether each worker draws from a shared state, or all of a credential from one limiter
 * @property {number} [badGatewayShare]
 * @property {number} [seed]
 */

/** @param {RunOptions} options */
function open(options) {
  const { credentials, isShared, lineMegabits, connectionMegabits, singlePost, badGatewayShare } = options;
  const clock = new SimulatedClock({ startMs: START_MS, seed: options.seed ?? 1 });
  const registry = new SimulatedRegistry({
    ...{ clock, credentials },
    ...(badGatewayShare === undefined ? {} : { badGatewayShare }),
  });
  const paces = Array.from({ length: credentials }, () => sharedMemory(clock));
  const limits = Array.from({ length: credentials }, () => limitsOf(clock));
  const machine = (/** @type {number} */ place) => {
    const credential = place % credentials;
    const own = isShared ? limitsOf(clock, paces[credential]) : limits[credential];
    if (own === undefined) throw new Error('there is no such credential');
    return new Machine({
      clock,
      registry,
      limits: own,
      credential,
      lineMegabits,
      connectionMegabits,
      singlePost,
    });
  };
  const fleet = new Fleet({ ...options, clock, machine });
  return { clock, registry, paces, machine, fleet };
}

/**
 * Carries every so many-th job of all subdirs; where everything is under way, that is what the whole would go at.
 * @param {readonly SubdirWork[]} works
 * @param {RunOptions & { every: number }} options
 */
export async function sampleRun(works, options) {
  const { clock, registry, paces, fleet } = open(options);
  function* jobs() {
    for (const work of works) yield* jobsOf(work, { every: options.every });
  }
  await clock.run(fleet.carry(jobs()));
  const { tags, at } = fleet.lastTaken;
  const minutes = (at - START_MS) / MINUTE_MS;
  const allTags = works.reduce((sum, { facts }) => sum + facts.tags, 0);
  const allMinutes = (clock.now() - START_MS) / MINUTE_MS;
  const requests = sum(registry.counts);
  return {
    ...{ tags: fleet.facts.tags, failedTags: fleet.facts.failedTags, minutes: allMinutes },
    ...{ requests: registry.counts, requestsPerTag: requests / fleet.facts.tags },
    refused: registry.buckets.reduce((all, { refused }) => all + refused, 0),
    mostPerMinute: Math.max(...registry.buckets.map(({ mostPerMinute }) => mostPerMinute)),
    shareOfLimit: (tags * requests) / fleet.facts.tags / minutes / (LIMIT_PER_MINUTE * options.credentials),
    stateUpdatesPerRequest: paces.reduce((all, { updates }) => all + updates, 0) / requests,
    /** Of all that there is to carry, at that pace. */
    days: (allTags * minutes) / tags / 1440,
  };
}

/**
 * A first mirror from the first plan to the empty one.
 * @param {readonly SubdirWork[]} works
 * @param {RunOptions & { takeoverDays: readonly number[], newPerDay?: number, onProgress?: (text: string) => void }} options
 */
export async function wholeRun(works, options) {
  const { clock, registry, machine, fleet } = open(options);
  const { takeoverDays, newPerDay, onProgress } = options;
  const coordinator = new Coordinator({
    ...{ clock, registry, fleet, takeoverDays },
    machine: machine(0),
    ...(newPerDay === undefined ? {} : { newPerDay }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  await clock.run(coordinator.mirror(works));
  const minutes = (clock.now() - START_MS) / MINUTE_MS;
  const requests = sum(registry.counts);
  return {
    days: minutes / 1440,
    requests: registry.counts,
    requestsInAll: requests,
    refused: registry.buckets.reduce((all, { refused }) => all + refused, 0),
    mostPerMinute: Math.max(...registry.buckets.map(({ mostPerMinute }) => mostPerMinute)),
    badGateways: registry.badGateways,
    shareOfLimit: requests / minutes / (LIMIT_PER_MINUTE * options.credentials),
    bytesUp: registry.bytesUp,
    ...fleet.facts,
    megabitsPerSecond: (registry.bytesUp * 8) / (minutes * 60) / 1e6,
    ...{ checkpoints: coordinator.checkpoints, finalBytes: coordinator.finalBytes },
    ...{ takeovers: coordinator.takeovers, passes: coordinator.passes, newAtEnd: coordinator.newAtEnd },
  };
}

/** @param {Readonly<Record<string, number>>} counts */
function sum(counts) {
  return Object.values(counts).reduce((all, count) => all + count, 0);
}
