import { expect, test } from 'vitest';
import { startRegistryDouble } from '../support/double/registry-double.js';
import { mirrorInto, writeStormChannel } from '../support/storm.js';
import { GENEROUS, STRICT, weather } from '../support/storm-check.js';
import { tempFolder } from '../support/temp.js';

const ARCHIVES = 300;
const RUNS = 25;

/** As `test/mirror/storm.test.ts`, with many more seeds; the ratios are printed. */
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
