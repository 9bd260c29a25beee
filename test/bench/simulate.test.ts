import { beforeAll, describe, expect, test } from 'vitest';
import { ARCHIVES, SUBDIRS, namesOf } from '../../bench/simulate/channel.mjs';
import { SimulatedClock } from '../../bench/simulate/clock.mjs';
import { planWork, type SubdirWork } from '../../bench/simulate/plan.mjs';
import { sampleRun, wholeRun, type RunOptions } from '../../bench/simulate/runs.mjs';

/** A small variant of `npm run bench -- simulate`: what it says of four million archives has to hold for some thousand. */

const CHANNEL = 6000;
const LIMIT = 2000;
/** What the limiter uses of the limit; see `pace.ts`. */
const SHARE = 0.95;

const CALM: RunOptions = {
  credentials: 1,
  workers: 2,
  concurrency: 16,
  singlePost: false,
  lineMegabits: 10_000,
  connectionMegabits: 1000,
  deathsPerDay: 0,
  quarantineShare: 0,
  isShared: false,
  badGatewayShare: 0,
};

let works: SubdirWork[];
const sum = (of: (work: SubdirWork) => number): number => works.reduce((all, work) => all + of(work), 0);

beforeAll(async () => {
  works = [];
  for (const shape of SUBDIRS) works.push(await planWork(shape, CHANNEL));
});

test('time passes from pause to pause, in their order, and pauses that are given up count as none', async () => {
  const clock = new SimulatedClock();
  const seen: string[] = [];
  const control = new AbortController();
  const pause = async (ms: number, signal?: AbortSignal): Promise<void> => {
    try {
      await clock.sleep(ms, signal);
      seen.push(`${String(ms)} at ${String(clock.now())}`);
    } catch {
      seen.push(`${String(ms)} given up at ${String(clock.now())}`);
    }
  };
  const all = Promise.all([pause(30), pause(10), pause(20, control.signal), pause(10)]);
  control.abort();
  await clock.run(all);
  expect(seen).toEqual(['20 given up at 0', '10 at 10', '10 at 10', '30 at 30']);
  await expect(clock.run(new Promise(() => undefined))).rejects.toThrow('nothing is under way');
});

test('the channel has the size, the names and the mean of conda-forge', () => {
  const all = SUBDIRS.map((shape) => namesOf(shape, ARCHIVES));
  const counted = all.flat();
  expect(counted.reduce((total, { count }) => total + count, 0)).toBe(ARCHIVES);
  const bytes = counted.reduce((total, { count, bytes: each }) => total + count * each, 0);
  expect(bytes / ARCHIVES).toBeCloseTo(7e6, -4);
  const names = new Set(counted.map(({ id }) => id)).size;
  expect(names).toBeGreaterThan(32_500);
  expect(names).toBeLessThan(35_000);
});

test('what is planned is what the repodata lists, in jobs of one repository each', () => {
  expect(SUBDIRS.reduce((total, { share }) => total + share, 0)).toBeCloseTo(1);
  expect(sum(({ facts }) => facts.tags)).toBe(CHANNEL);
  for (const { jobs, sizes, twins, repositories, facts } of works) {
    expect(jobs.at(-1)).toBe(sizes.length);
    expect(repositories).toHaveLength(jobs.length - 1);
    expect(new Set(repositories).size).toBe(facts.repositories);
    const bytes = [...sizes, ...twins].reduce((total, size) => total + size, 0);
    expect(bytes).toBe(facts.bytes);
    expect(facts.archives).toBe(sizes.length + twins.filter((size) => size > 0).length);
  }
});

describe('what carrying takes', () => {
  test('seven requests for each archive, as counted at a registry, and two for each new repository', async () => {
    const one = { ...CALM, workers: 1, every: 1 };
    const { tags, requests } = await sampleRun(works, one);
    expect(tags).toBe(sum((work) => work.facts.tags));
    const twins = sum((work) => work.facts.archives - work.facts.tags);
    const repositories = sum((work) => work.facts.repositories);
    // A twin is one blob more, and looked at again.
    expect(requests.post).toBe(3 * tags + twins + repositories);
    expect(requests.put).toBe(requests.post);
    expect(requests.manifest).toBe(tags);
    expect(requests.get).toBe(twins);
    expect([requests.head, requests.delete]).toEqual([0, 0]);
  });

  test('four where a blob may come with the first request, and one more for each that is too large for that', async () => {
    const { tags, requests } = await sampleRun(works, { ...CALM, workers: 1, every: 1, singlePost: true });
    const large = sum(
      ({ sizes, twins }) => [...sizes, ...twins].filter((size) => size > 4 * 1024 * 1024).length,
    );
    expect(requests.put).toBe(large);
    expect(requests.manifest).toBe(tags);
  });

  test('no minute has more requests than the limit lets through, and hardly any is refused', async () => {
    const shared = { ...CALM, workers: 4, isShared: true, every: 5 };
    const { mostPerMinute, refused, shareOfLimit } = await sampleRun(works, shared);
    expect(mostPerMinute).toBeLessThanOrEqual(LIMIT);
    expect(refused).toBeLessThanOrEqual(5);
    expect(shareOfLimit).toBeGreaterThan(0.85);
    expect(shareOfLimit).toBeLessThan(SHARE + 0.02);
  });

  test('twice the credentials take half the time', async () => {
    const days: number[] = [];
    for (const credentials of [1, 2, 4]) {
      const run = await sampleRun(works, { ...CALM, credentials, workers: 2 * credentials, every: 1 });
      days.push(run.days);
    }
    const [one = 0, two = 0, four = 0] = days;
    expect(one / two).toBeCloseTo(2, 0);
    expect(one / four).toBeGreaterThan(3.4);
    expect(one / four).toBeLessThan(4.3);
  });
});

test('all archives are there in the end, whatever dies or fails, and the last plan is empty', async () => {
  const run = await wholeRun(works, {
    ...{ ...CALM, workers: 4, deathsPerDay: 500, quarantineShare: 0.001, badGatewayShare: 0.01 },
    ...{ takeoverDays: [0.004, 0.008], newPerDay: 5000 },
  });
  const carried = run.passes.reduce((total, { archives }) => total + archives, 0);
  const twins = sum((work) => work.facts.archives - work.facts.tags);
  expect(run.tags + run.failedTags + twins).toBe(carried);
  expect(run.failedTags).toBeLessThan(60);
  expect(run.passes.length).toBeGreaterThan(1);
  expect(run.deaths).toBeGreaterThan(3);
  expect(run.repeatedTags).toBeGreaterThan(0);
  expect(run.takeovers).toHaveLength(2);
  expect(run.mostPerMinute).toBeLessThanOrEqual(LIMIT);
});
