import { expect, test } from 'vitest';
import { faultsOf } from '../support/audit.js';
import { seededSchedule } from '../support/double/faults.js';
import { startRegistryDouble } from '../support/double/registry-double.js';
import { runFerry } from '../support/ferry.js';
import { doubleReader, mirrorInto, STORM_PATH, STORM_USER, writeStormChannel } from '../support/storm.js';
import { GENEROUS, STRICT, weather } from '../support/storm-check.js';
import { tempFolder } from '../support/temp.js';

const ARCHIVES = 300;
/** Pauses are waited for in real time, and a registry that keeps refusing is asked ever more slowly. */
const FEW_ARCHIVES = 60;
const RUNS = 25;

/** As `test/interop/storm.test.ts`, with many more seeds; the ratios are printed. */
test.each([
  ['whole blobs', GENEROUS, 0.1, 1.3],
  ['whole blobs', GENEROUS, 0.2, 1.8],
  ['sessions', STRICT, 0.1, 1.3],
  ['sessions', STRICT, 0.2, 1.8],
])('%s: storms of many seeds end with a whole mirror', async (name, options, rate, limit) => {
  const first = Number(process.env['CONDA_FERRY_TEST_SEED'] ?? Date.now() % 100_000);
  console.log(`seeds from ${first} (CONDA_FERRY_TEST_SEED)`);
  const folder = await tempFolder();
  await writeStormChannel(folder, ARCHIVES);
  await using double = await startRegistryDouble(options);
  const calm = await mirrorInto(double, folder);
  const ratios: number[] = [];
  for (let seed = first; seed < first + RUNS; seed += 1) {
    const { all, withoutTokens } = await weather(folder, ARCHIVES, options, { seed, rate }, calm);
    expect(Math.max(all, withoutTokens), `seed ${seed}`).toBeLessThanOrEqual(limit);
    ratios.push(all);
  }
  ratios.sort((a, b) => a - b);
  const shown = [ratios[0], ratios[Math.floor(RUNS / 2)], ratios[RUNS - 1]].map((ratio) => ratio?.toFixed(3));
  console.log(`${name}, faults in ${rate}: least, median and most of ${RUNS} ratios are ${shown.join(', ')}`);
});

test.each([0.1, 0.2])(
  'the command itself comes through a storm of %f in real time, with exit status 0',
  async (rate) => {
    const folder = await tempFolder();
    await writeStormChannel(folder, FEW_ARCHIVES);
    await using double = await startRegistryDouble(STRICT);
    double.schedule = seededSchedule({ seed: 11, rate });
    const { code, stdout } = await runFerry(['mirror', folder, `oci://${double.host}/${STORM_PATH}`], {
      env: { CONDA_FERRY_USERNAME: STORM_USER.username, CONDA_FERRY_PASSWORD: STORM_USER.password },
    });
    expect(stdout).toContain(`${FEW_ARCHIVES} archives`);
    expect(code).toBe(0);
    expect(await faultsOf(doubleReader(double), `${STORM_PATH}/noarch`)).toEqual([]);
    const injected = Object.values(double.faults).reduce((sum, count) => sum + count, 0);
    expect(injected).toBeGreaterThan(30);
  },
);
