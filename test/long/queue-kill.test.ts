import { expect, test } from 'vitest';
import { stormQueue } from '../support/queue-storm.js';
import { randomOf } from '../support/random.js';

/** Of the kills; what is still under way then takes as long as it takes. */
const KILLING_MS = 150_000;
const ARCHIVES = 660;
/** With sixteen under way at once, and a third of the workers gone at any time, a run lasts longer than the kills do. */
const ARCHIVE_DELAY_MS = 4000;

test('whatever of a fleet is killed: listed is there, nothing accepted is sent again, the run completes', async () => {
  const seed = Number(process.env['CONDA_FERRY_TEST_SEED'] ?? Date.now() % 100_000);
  console.log(`seed ${seed} (CONDA_FERRY_TEST_SEED)`);
  const random = randomOf(seed);
  const workers: number[] = [];
  for (let at = 5000; at < KILLING_MS; at += 3000 + random() * 5000) workers.push(at);
  const coordinator = [20_000 + random() * 20_000, 90_000 + random() * 20_000];
  const redis = [60_000 + random() * 20_000];
  const report = await stormQueue({
    ...{ seed, archives: ARCHIVES, archiveDelayMs: ARCHIVE_DELAY_MS },
    kills: { workers, coordinator, redis },
  });
  console.log(JSON.stringify(report));
  expect(report.kills).toBe(workers.length + coordinator.length + redis.length);
  expect(report.audits).toBeGreaterThan(20);
  expect(report.generations).toBeGreaterThan(3);
  expect(report.seconds).toBeLessThan(8 * 60);
});
