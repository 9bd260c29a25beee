import { expect } from 'vitest';
import { faultsOf, listedRecords } from './audit.js';
import type { RegistryDouble } from './double/registry-double.js';
import { seededSchedule, type SeededScheduleOptions } from './double/faults.js';
import { startRegistryDouble } from './double/registry-double.js';
import type { RegistryDoubleOptions } from './double/options.js';
import { doubleReader, mirrorInto, STORM_PATH, STORM_USER, type RunAtDouble } from './storm.js';

/** A registry that wants tokens and takes whole blobs with the first request. */
export const GENEROUS: RegistryDoubleOptions = { auth: { kind: 'token', users: [STORM_USER] } };
/** One that wants a session for each blob, as GHCR does. */
export const STRICT: RegistryDoubleOptions = { ...GENEROUS, singlePost: '202', mount: '202', catalog: false };

/** Requests of a run in a storm, as shares of those of the same run in fair weather. */
export interface StormRatios {
  readonly all: number;
  readonly withoutTokens: number;
  readonly run: RunAtDouble;
}

/** Mirrors in a storm, expects everything to be there and right, and compares the requests. */
export async function weather(
  source: string,
  archives: number,
  options: RegistryDoubleOptions,
  storm: SeededScheduleOptions,
  calm: RunAtDouble,
): Promise<StormRatios> {
  await using double = await startRegistryDouble(options);
  double.schedule = seededSchedule(storm);
  const run = await mirrorInto(double, source, { seed: storm.seed });
  await expectWhole(double, run, archives);
  return {
    all: run.requests / calm.requests,
    withoutTokens: (run.requests - run.tokens) / (calm.requests - calm.tokens),
    run,
  };
}

/** Expects that nothing failed, all is listed, what is listed is there, and no upload was left open for nothing. */
export async function expectWhole(double: RegistryDouble, run: RunAtDouble, archives: number): Promise<void> {
  expect(run.report.subdirs.flatMap(({ failed }) => failed)).toEqual([]);
  const reader = doubleReader(double);
  expect(await listedRecords(reader, `${STORM_PATH}/noarch`)).toHaveLength(archives);
  expect(await faultsOf(reader, `${STORM_PATH}/noarch`)).toEqual([]);
}
