import { expect, test } from 'vitest';
import { HostLimits, withLimit } from '#ferry/http/limit.js';
import { withBody } from '#ferry/http/rate-limit.js';
import { withRetry } from '#ferry/http/retry.js';
import { openerOf } from '#ferry/io/bytes.js';
import type { HttpRequest, HttpResponse, Send } from '#ferry/http/send.js';
import { routeOf, type RequestHead } from '../support/double/exchange.js';
import { GhcrLimits } from '../support/double/ghcr-limits.js';
import { jumpingClock, type JumpingClock } from '../support/jumping-clock.js';

/** The limiter against GHCR's own kind of limit, in virtual time: latency is a pause too, so minutes take moments. */

const LIMIT = 2000;
const MINUTE_MS = 60_000;
/** Archives at once by their blobs at once. */
const WORKERS = 48;

const PATH = '/v2/a/blobs/uploads/';
const WRITE: RequestHead = {
  method: 'POST',
  url: PATH,
  path: PATH,
  query: new URLSearchParams(),
  headers: {},
  origin: '',
  route: routeOf(PATH),
};

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
  const server = limitedServer(clock, options, (isAdmitted) => {
    const minute = Math.floor(clock.now() / MINUTE_MS);
    if (!isAdmitted) refused += 1;
    else if (minute < minutes) perMinute[minute] = (perMinute[minute] ?? 0) + 1;
  });
  const url = new URL(PATH, 'https://registry.example');
  const client = async (): Promise<void> => {
    const limits = new HostLimits({ ...clock, statedLimit: () => options.statedLimit });
    const send = withRetry(withLimit(server, limits), limits, clock);
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

function limitedServer(
  clock: JumpingClock,
  { latencyMs = 80, burst = 10 }: SimulationOptions,
  onAnswer: (isAdmitted: boolean) => void,
): Send {
  const limits = new GhcrLimits({ limitPerMinute: LIMIT, burst }, clock.now);
  const answer = ({ url }: HttpRequest): HttpResponse => {
    const refusal = limits.admit(WRITE);
    onAnswer(refusal === undefined);
    const bare: HttpResponse = {
      body: openerOf(new Uint8Array())(),
      status: refusal?.status ?? 202,
      url,
      header: () => undefined,
      discard: () => Promise.resolve(),
    };
    return withBody(bare, Buffer.from(refusal?.body ?? ''));
  };
  return async (request) => {
    await clock.sleep((latencyMs / 2) * (0.5 + clock.random()), request.signal);
    const answered = answer(request);
    await clock.sleep((latencyMs / 2) * (0.5 + clock.random()), request.signal);
    return answered;
  };
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
