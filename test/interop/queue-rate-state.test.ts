import { setMaxListeners } from 'node:events';
import { Redis, type RedisOptions } from 'ioredis';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { HostLimiter } from '#ferry/http/host-limiter.js';
import type { SharedRateNotice } from '#ferry/http/shared-pacer.js';
import type { SharedState } from '#ferry/io/shared-state.js';
import { createRedisState, rateKeyOf } from '#ferry/queue/redis-state.js';
import { rejection } from '../contracts/artifacts.js';
import { startRedis, type StartedRedis } from '../support/redis.js';

const CONNECTIONS = 8;
const ORIGIN = 'https://ghcr.io';

let server: StartedRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** A connection that lasts as long as the test, and says nothing about being lost. */
function connect(options: RedisOptions = {}): Redis {
  const redis = new Redis(server.url, { ...options, retryStrategy: () => 50 });
  redis.on('error', () => undefined);
  onTestFinished(() => {
    redis.disconnect();
  });
  return redis;
}

const count = (text: string | undefined): number => Number(text ?? 0);

test('changes by eight connections at once are all there in the end, none twice', async () => {
  const each = 250;
  const key = rateKeyOf('test-count', ORIGIN, undefined);
  const latencies: number[] = [];
  let calls = 0;
  const hammer = async (_: unknown, index: number): Promise<number[]> => {
    const state = createRedisState(connect(), key);
    const results: number[] = [];
    for (let i = 0; i < each; i += 1) {
      const startedAt = performance.now();
      const result = await state.update((text) => {
        calls += 1;
        return { next: String(count(text) + 1), result: count(text) + 1 };
      });
      latencies.push(performance.now() - startedAt);
      results.push(result);
    }
    expect(results, `connection ${index}`).toEqual(results.toSorted((a, b) => a - b));
    return results;
  };
  const startedAt = performance.now();
  const all = (await Promise.all(Array.from({ length: CONNECTIONS }, hammer))).flat();
  const elapsed = performance.now() - startedAt;
  expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: CONNECTIONS * each }, (_, i) => i + 1));
  const sorted = latencies.toSorted((a, b) => a - b);
  const percentile = (share: number): string => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(2);
  console.log(
    `${all.length} changes by ${CONNECTIONS} connections without a rest: ${Math.round(all.length / (elapsed / 1000))} a second, ` +
      `median ${percentile(0.5)} ms, 99 % ${percentile(0.99)} ms, most ${percentile(1)} ms, ${(calls / all.length).toFixed(2)} tries each`,
  );
});

test('what nobody changes leaves no trace, and what is kept is forgotten an hour later', async () => {
  const redis = connect();
  const key = rateKeyOf('test-expiry', ORIGIN, 'some:user');
  expect(key).toBe('test-expiry:rate:https://ghcr.io:@some%3Auser');
  const state = createRedisState(redis, key);
  const seen = await state.update((text, nowMs) => ({ next: undefined, result: { text, nowMs } }));
  expect(seen.text).toBeUndefined();
  expect(Math.abs(seen.nowMs - Date.now())).toBeLessThan(1000);
  expect(await redis.exists(key)).toBe(0);
  await state.update(() => ({ next: 'kept', result: undefined }));
  const expiryMs = await redis.pttl(key);
  expect(expiryMs).toBeGreaterThan(3_590_000);
  expect(expiryMs).toBeLessThanOrEqual(3_600_000);
  expect(await state.update((text) => ({ next: undefined, result: text }))).toBe('kept');
});

test('time is that of Redis, and never goes back', async () => {
  const state = createRedisState(connect(), 'test-time');
  const other = createRedisState(connect(), 'test-time');
  let last = 0;
  for (let i = 0; i < 50; i += 1) {
    const now = await (i % 2 === 0 ? state : other).update((_, nowMs) => ({
      next: undefined,
      result: nowMs,
    }));
    expect(now).toBeGreaterThan(last);
    last = now;
  }
  expect(last % 1).not.toBe(0);
});

test('scripts that Redis has forgotten are sent again', async () => {
  const redis = connect();
  const state = createRedisState(redis, 'test-scripts');
  const add = async (): Promise<number> =>
    state.update((text) => ({ next: String(count(text) + 1), result: count(text) + 1 }));
  expect(await add()).toBe(1);
  await redis.script('FLUSH');
  expect(await add()).toBe(2);
});

test('who waits for Redis may leave', async () => {
  const silent = connect({ lazyConnect: true });
  const state = createRedisState(silent, 'test-abort');
  const reason = new Error('enough');
  const change = (): { next: undefined; result: undefined } => ({ next: undefined, result: undefined });
  expect(await rejection(state.update(change, AbortSignal.abort(reason)))).toBe(reason);
  // Nobody listens there.
  const lost = new Redis({ port: 1, host: '127.0.0.1', maxRetriesPerRequest: null, retryStrategy: () => 50 });
  lost.on('error', () => undefined);
  onTestFinished(() => {
    lost.disconnect();
  });
  const controller = new AbortController();
  const waiting = rejection(createRedisState(lost, 'test-abort').update(change, controller.signal));
  controller.abort(reason);
  expect(await waiting).toBe(reason);
});

interface Grants {
  readonly at: number[];
}

/** Eight limiters, each with a connection of its own, with more requests than the limit allows, until told to stop. */
async function hammerLimit(limit: number, prefix: string, act: (fleet: Grants) => Promise<void>) {
  const grants: Grants = { at: [] };
  const notices: SharedRateNotice[] = [];
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const key = rateKeyOf(prefix, ORIGIN, undefined);
  const updates: number[] = [];
  const limiters = Array.from({ length: CONNECTIONS }, (_, i) => {
    // As BullMQ wants its connections in one half, and as they are by default in the other.
    const state = createRedisState(connect(i % 2 === 0 ? { maxRetriesPerRequest: null } : {}), key);
    return new HostLimiter(ORIGIN, {
      statedLimit: () => limit,
      shared: () => timed(state, updates),
      onShared: (notice) => notices.push(notice),
    });
  });
  const work = async (limiter: HostLimiter): Promise<void> => {
    for (;;) {
      stop.signal.throwIfAborted();
      const slot = await limiter.acquire('read', stop.signal);
      grants.at.push(performance.now());
      await new Promise((resolve) => setTimeout(resolve, 5));
      limiter.succeeded();
      slot.release();
    }
  };
  const all = limiters.flatMap((limiter) => Array.from({ length: 6 }, async () => rejection(work(limiter))));
  await act(grants);
  stop.abort(new Error('over'));
  for (const error of await Promise.all(all)) expect(error).toMatchObject({ message: 'over' });
  return { grants: grants.at, notices, updates: updates.toSorted((a, b) => a - b) };
}

function timed(state: SharedState, updates: number[]): SharedState {
  return {
    update: async (change, signal) => {
      const startedAt = performance.now();
      const result = await state.update(change, signal);
      updates.push(performance.now() - startedAt);
      return result;
    },
  };
}

const rest = async (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test.each([2000, 44_000])('eight limiters together keep to %i a minute, and use it', async (limit) => {
  const seconds = 6;
  const { grants, updates, notices } = await hammerLimit(limit, `test-${limit}`, async () =>
    rest(seconds * 1000),
  );
  const perMs = (0.95 * limit) / 60_000;
  const most = (seconds * 1000 + 250) * perMs;
  console.log(
    `${limit} a minute: ${grants.length} turns of ${Math.floor(most)} in ${seconds} s, ${updates.length} draws, ` +
      `median ${updates[updates.length >> 1]!.toFixed(2)} ms, 99 % ${updates[Math.floor(updates.length * 0.99)]!.toFixed(2)} ms`,
  );
  expect(notices).toEqual([]);
  expect(grants.length).toBeGreaterThan(0.9 * most);
  // In any second, too; what is granted is used some milliseconds later.
  grants.forEach((from, i) => {
    const inSecond = grants.slice(i).findIndex((at) => at >= from + 1000);
    if (inSecond !== -1) expect(inSecond).toBeLessThanOrEqual((1000 + 250 + 50) * perMs + 2);
  });
});

test('without Redis nothing goes; with it all goes on, at the same rate', async () => {
  const limit = 3000;
  const marks: number[] = [];
  const { grants, notices } = await hammerLimit(limit, 'test-kill', async () => {
    await rest(2000);
    await server.kill();
    marks.push(performance.now());
    // A draw that hangs is told of after five seconds.
    await rest(7000);
    marks.push(performance.now());
    await server.restart();
    await rest(8000);
    marks.push(performance.now());
  });
  const [killed, restarted, over] = marks as [number, number, number];
  // What was granted a moment before may go a moment later.
  expect(grants.filter((at) => at > killed + 100 && at < restarted)).toEqual([]);
  const after = grants.filter((at) => at > restarted);
  console.log(
    `first turn ${Math.round(after[0]! - restarted)} ms after the restart began, ${after.length} turns since`,
  );
  expect(after[0]! - restarted).toBeLessThan(5000);
  expect(after.length).toBeGreaterThan(0.9 * 3 * 0.95 * (limit / 60));
  expect(after.length).toBeLessThan(((over - restarted + 250) * 0.95 * limit) / 60_000 + 1);
  // Each of them says so, once when it begins and once when it is over.
  expect(notices.filter(({ isLost }) => isLost)).toHaveLength(CONNECTIONS);
  expect(notices.filter(({ isLost }) => !isLost)).toHaveLength(CONNECTIONS);
});
