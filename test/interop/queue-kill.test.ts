import { expect, test } from 'vitest';
import { stormQueue } from '../support/queue-storm.js';

// `test/long/queue-kill.test.ts` is the same with many more of each.
test('a worker, the coordinator and Redis are killed once each: listed is there, the run completes', async () => {
  const report = await stormQueue({
    ...{ seed: 8, archives: 99, archiveDelayMs: 1500 },
    kills: { workers: [4000], coordinator: [6000], redis: [9000] },
  });
  expect(report.kills).toBe(3);
});
