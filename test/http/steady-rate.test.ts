import { expect, test } from 'vitest';
import { HostLimits, withLimit } from '#ferry/http/limit.js';
import { withRetry } from '#ferry/http/retry.js';
import { GhcrLimits } from '../support/double/ghcr-limits.js';
import { jumpingClock } from '../support/jumping-clock.js';
import { limitedServer, UPLOADS_PATH } from '../support/limited-server.js';

/** The limiter against GHCR's own kind of limit, in virtual time: latency is a pause too, so minutes take moments. */

const LIMIT = 2000;
const MINUTE_MS = 60_000;
/** Archives at once by their blobs at once. */
const WORKERS = 48;

interface Simulation {
  /** Requests that were let through, by minute. */
  readonly perMinute: readonly number[];
  readonly refused: number;
}

interface SimulationOptions {
  readonly statedLimit?: number;
  readonly latencyMs?: number;
  readonly burst?: number;
  /** Clients that know nothing of each other. @defaultValue 1 */
  readonly clients?: number;
}

/** Lets workers write as fast as they may for some minutes. */
async function simulate(minutes: number, options: SimulationOptions): Promise<Simulation> {
  const clock = jumpingClock(7, { runs: false });
  const perMinute = Array.from({ length: minutes }, () => 0);
  let refused = 0;
  const limits = new GhcrLimits({ limitPerMinute: LIMIT, burst: options.burst ?? 10 }, clock.now);
  const server = limitedServer(limits, { clock, latencyMs: options.latencyMs }, (isAdmitted) => {
    const minute = Math.floor(clock.now() / MINUTE_MS);
    if (!isAdmitted) refused += 1;
    else if (minute < minutes) perMinute[minute] = (perMinute[minute] ?? 0) + 1;
  });
  const url = new URL(UPLOADS_PATH, 'https://registry.example');
  const client = async (): Promise<void> => {
    const own = new HostLimits({ ...clock, statedLimit: () => options.statedLimit });
    const send = withRetry(withLimit(server, own), own, clock);
    const work = async (): Promise<void> => {
      while (clock.now() < minutes * MINUTE_MS) {
        const response = await send({ method: 'POST', url, repeatable: true });
        expect(response.status).toBe(202);
        await response.discard();
      }
    };
    await Promise.all(Array.from({ length: WORKERS }, work));
  };
  await Promise.all(Array.from({ length: options.clients ?? 1 }, client));
  return { perMinute, refused };
}

test.each([
  ['learned from the first refusal', {}, 10],
  ['stated', { statedLimit: LIMIT }, 10],
  ['learned, of a server that is far away', { latencyMs: 400 }, 10],
  ['learned, of a server that bears bursts', { burst: 200 }, 32],
  ['stated, of a server that hardly bears bursts', { statedLimit: LIMIT, burst: 5 }, 10],
  ['stated, of two clients that do not know of each other', { statedLimit: LIMIT, clients: 2 }, 400],
] as const)(
  'a limit of 2000 a minute (%s) is used by 85 percent and more',
  async (_how, options, refusals) => {
    const { perMinute, refused } = await simulate(4, options);
    for (const count of perMinute.slice(1)) {
      expect(count).toBeGreaterThanOrEqual(0.85 * LIMIT);
      expect(count).toBeLessThanOrEqual(LIMIT + 10);
    }
    expect(refused).toBeLessThanOrEqual(refusals);
  },
);
