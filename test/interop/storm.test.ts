import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seededSchedule } from '../support/double/faults.js';
import { startRegistryDouble, useRegistryDouble } from '../support/double/registry-double.js';
import { mirrorInto, writeStormChannel, type RunAtDouble } from '../support/storm.js';
import { expectWhole, GENEROUS, STRICT, weather } from '../support/storm-check.js';
import { useStormyChannel } from '../support/stormy-channel.js';

/** Mirrors of 300 archives while servers have a bad day. Requests for tokens count, unless it says otherwise. */

const ARCHIVES = 300;
const SEEDS = [1, 2];
/** An ideal client needs 1.11 and 1.25 times as many requests, and where a session dies with its blob up to 1.44. */
const LIMITS = [
  [0.1, 1.3],
  [0.2, 1.8],
] as const;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ferry-storm-'));
  await writeStormChannel(folder, ARCHIVES);
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

describe.each([
  ['that takes blobs with the first request', GENEROUS],
  ['that wants a session for each blob', STRICT],
])('a registry %s', (_how, options) => {
  let calm: RunAtDouble;
  beforeAll(async () => {
    await using double = await startRegistryDouble(options);
    calm = await mirrorInto(double, folder);
    await expectWhole(double, calm, ARCHIVES);
  });

  test.each(LIMITS.flatMap(([rate, limit]) => SEEDS.map((seed) => [rate, seed, limit] as const)))(
    'with faults in %f of all requests (seed %i) gets a whole mirror within %f times the requests',
    async (rate, seed, limit) => {
      const { all, withoutTokens } = await weather(folder, ARCHIVES, options, { seed, rate }, calm);
      expect(all).toBeLessThanOrEqual(limit);
      expect(withoutTokens).toBeLessThanOrEqual(limit);
    },
  );
});

test.each([
  '401-expired',
  '502-after',
  '429-early',
  '403-secondary',
  'lost-commit',
  'reset-meanwhile',
] as const)('a registry that often answers %s gets a whole mirror', async (kind) => {
  const double = await useRegistryDouble(STRICT);
  double.schedule = seededSchedule({ seed: 1, rate: 0.1, kinds: [kind] });
  await expectWhole(double, await mirrorInto(double, folder), ARCHIVES);
  expect(double.faults[kind]).toBeGreaterThan(50);
});

test.each([
  [0.1, 1],
  [0.2, 2],
  [0.4, 3],
])('a source with faults in %f of all answers (seed %i) is mirrored whole', async (rate, seed) => {
  const channel = await useStormyChannel(folder, { rate, seed });
  const double = await useRegistryDouble(GENEROUS);
  const run = await mirrorInto(double, channel.url, { seed });
  await expectWhole(double, run, ARCHIVES);
  expect(channel.faults.size).toBeGreaterThan(5);
});

test('when both sides have a bad day, the mirror is whole all the same', async () => {
  const channel = await useStormyChannel(folder, { rate: 0.2, seed: 4 });
  const double = await useRegistryDouble(STRICT);
  double.schedule = seededSchedule({ seed: 4, rate: 0.2 });
  await expectWhole(double, await mirrorInto(double, channel.url, { seed: 4 }), ARCHIVES);
});

test('a registry that is asked about everything in a storm is believed to hold just what it holds', async () => {
  const double = await useRegistryDouble({ ...STRICT, redirectBlobs: 'separate' });
  await mirrorInto(double, folder);
  double.repositories.delete('org/storm/noarch/storm-7');
  double.schedule = seededSchedule({ seed: 5, rate: 0.2 });
  const run = await mirrorInto(double, folder, { seed: 5, mirror: { deep: true } });
  expect(run.report.subdirs[0]).toMatchObject({ there: ARCHIVES - 3, added: 3 });
  await expectWhole(double, run, ARCHIVES);
});
