import { expect, test } from 'vitest';
import { HostLimits, withLimit } from '#ferry/http/limit.js';
import { withRetry } from '#ferry/http/retry.js';
import { GhcrLimits } from '../support/double/ghcr-limits.js';
import { jumpingClock } from '../support/jumping-clock.js';
import { limitedServer, UPLOADS_PATH } from '../support/limited-server.js';
import { createSharedMemory, type SharedMemory } from '../support/shared-memory.js';

/** Several limiters that share one state, against GHCR's own kind of limit, in virtual time. */

const LIMIT = 2000;
const MINUTE_MS = 60_000;
interface FleetOptions {
  readonly workers: number;
  readonly minutes?: number;
  /** Requests that each worker would have under way. @defaultValue 20 */
  readonly tasks?: number;
  readonly limit?: number;
  readonly statedLimit?: number;
  readonly latencyMs?: number;
  /** One way to the state. @defaultValue 0 */
  readonly travelMs?: number;
  readonly burst?: number;
}

interface Fleet {
  /** Requests that were let through, by minute, and those of each worker. */
  readonly perMinute: readonly number[];
  readonly perWorker: readonly number[];
  readonly refused: number;
  readonly memory: SharedMemory;
}

/** Lets the workers of a fleet write as fast as they may. */
async function runFleet(options: FleetOptions): Promise<Fleet> {
  const { workers, minutes = 2, tasks = 20, limit = LIMIT, latencyMs = 80, travelMs = 0 } = options;
  const clock = jumpingClock(7, { runs: false });
  // Redis' clock is not ours.
  const memory = createSharedMemory({
    now: () => 1.7e12 + clock.now(),
    travel:
      travelMs === 0 ? undefined : async () => clock.sleep(travelMs * (0.5 + clock.random()), undefined),
  });
  const limits = new GhcrLimits({ limitPerMinute: limit, burst: options.burst ?? 10 }, clock.now);
  const perMinute = Array.from({ length: minutes }, () => 0);
  const perWorker = Array.from({ length: workers }, () => 0);
  let refused = 0;
  const note = (worker: number, isAdmitted: boolean): void => {
    const minute = Math.floor(clock.now() / MINUTE_MS);
    if (!isAdmitted) refused += 1;
    else if (minute < minutes) {
      perMinute[minute]! += 1;
      perWorker[worker]! += 1;
    }
  };
  const url = new URL(UPLOADS_PATH, 'https://registry.example');
  const runWorker = async (_: unknown, worker: number): Promise<void> => {
    const server = limitedServer(limits, { clock, latencyMs }, (isAdmitted) => {
      note(worker, isAdmitted);
    });
    const shared = new HostLimits({ ...clock, statedLimit: () => options.statedLimit, shared: () => memory });
    const send = withRetry(withLimit(server, shared), shared, clock);
    const work = async (): Promise<void> => {
      while (clock.now() < minutes * MINUTE_MS) {
        const response = await send({ method: 'POST', url, repeatable: true });
        expect(response.status).toBe(202);
        await response.discard();
      }
    };
    await Promise.all(Array.from({ length: tasks }, work));
  };
  await Promise.all(Array.from({ length: workers }, runWorker));
  return { perMinute, perWorker, refused, memory };
}

/** How a limit comes to be known, and how much is refused at most; what is under way at the first refusal is. */
const WAYS = [
  ['known beforehand', { statedLimit: LIMIT }, [1, 2, 8], 10],
  ['learned from the first refusal', {}, [1, 2, 8], 10],
  ['learned, of a server that is far away', { latencyMs: 400 }, [2], 10],
  ['learned, of a server that is far away', { latencyMs: 400 }, [8], 30],
  ['learned, of a server that bears bursts', { burst: 200 }, [1, 8], 60],
  ['known, of a server that hardly bears bursts', { statedLimit: LIMIT, burst: 5 }, [8], 10],
  ['known, with a state that is far away', { statedLimit: LIMIT, travelMs: 20 }, [1, 8], 10],
] as const;

test.each(
  WAYS.flatMap(([how, options, counts, most]) => counts.map((workers) => ({ how, options, workers, most }))),
)(
  '$workers sharing a limit of 2000 a minute, $how, use 85 percent and more of it',
  async ({ options, workers, most }) => {
    const { perMinute, perWorker, refused, memory } = await runFleet({ ...options, workers });
    for (const count of perMinute.slice(1)) {
      expect(count).toBeGreaterThanOrEqual(0.85 * LIMIT);
      expect(count).toBeLessThanOrEqual(LIMIT + 10);
    }
    expect(refused).toBeLessThanOrEqual(most);
    // Whoever is quick does not take it all.
    expect(Math.min(...perWorker)).toBeGreaterThan((0.5 * LIMIT * 2) / workers);
    expect(memory.text!.length).toBeLessThan(400);
  },
);

test('a high limit is drawn in batches, and used by 85 percent and more', async () => {
  const { perMinute, refused, memory } = await runFleet({
    workers: 4,
    minutes: 2,
    tasks: 40,
    limit: 20_000,
    statedLimit: 20_000,
    burst: 100,
    travelMs: 0.5,
    latencyMs: 20,
  });
  expect(perMinute[1]).toBeGreaterThanOrEqual(0.85 * 20_000);
  expect(refused).toBeLessThanOrEqual(10);
  expect(memory.updates).toBeLessThan(15_000);
});

test('without a limit a fleet asks its state some twice a second and worker', async () => {
  const options = { workers: 4, minutes: 1, tasks: 5, limit: 1e9, burst: 1e6, latencyMs: 40, travelMs: 0.5 };
  const { perMinute, refused, memory } = await runFleet(options);
  expect(refused).toBe(0);
  // 20 requests at once that last 40 ms.
  expect(perMinute[0]).toBeGreaterThan(0.95 * 20 * 25 * 60);
  expect(memory.updates).toBeLessThan(4 * 60 * 3);
});
