import { setImmediate as tick } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { HostLimiter, type HostLimitOptions, type HostPause } from '#ferry/http/host-limiter.js';
import { HostLimits } from '#ferry/http/limit.js';
import type { Lane } from '#ferry/http/send.js';
import type { SharedRateNotice } from '#ferry/http/shared-pacer.js';
import type { SharedState } from '#ferry/io/shared-state.js';
import { rejection } from '../contracts/artifacts.js';
import { createSharedMemory } from '../support/shared-memory.js';
import { createVirtualClock } from '../support/virtual-clock.js';

const ORIGIN = 'https://ghcr.io';

/** Two limiters, as of two processes, with one state. */
function openFleet(options: HostLimitOptions & { readonly state?: SharedState } = {}) {
  const clock = createVirtualClock();
  const memory = createSharedMemory({ now: () => 1.7e12 + clock.now() });
  const notices: SharedRateNotice[] = [];
  const pauses: HostPause[] = [];
  const open = (): HostLimiter =>
    new HostLimiter(ORIGIN, {
      ...clock,
      shared: () => options.state ?? memory,
      onShared: (notice) => notices.push(notice),
      onPause: (pause) => pauses.push(pause),
      ...options,
    });
  const [a, b] = [open(), open()];
  /** Waits for a slot and gives it back; how long that took. */
  const waitOf = async (limiter: HostLimiter, lane: Lane = 'read'): Promise<number> => {
    const start = clock.now();
    const slot = await clock.run(limiter.acquire(lane));
    slot.release();
    return clock.now() - start;
  };
  return { clock, memory, notices, pauses, a, b, waitOf };
}

/** Lets so many requests be answered, so that the slow start is over. */
async function warmUp(limiter: HostLimiter, clock: { run<T>(promise: Promise<T>): Promise<T> }) {
  for (let i = 0; i < 300; i += 1) {
    const slot = await clock.run(limiter.acquire('read'));
    slot.release();
    limiter.succeeded();
  }
}

test('turns of one are not there for the other', async () => {
  const { clock, a, b } = openFleet({ statedLimit: () => 600 });
  const start = clock.now();
  const at: number[] = [];
  const all = Array.from({ length: 60 }, async (_, i) => {
    const slot = await (i % 2 === 0 ? a : b).acquire('read');
    at.push(clock.now() - start);
    slot.release();
  });
  await clock.run(Promise.all(all));
  // 570 a minute, after a burst of a quarter of a second.
  const spacing = 60_000 / 570;
  at.forEach((ms, i) => {
    expect(ms).toBeGreaterThanOrEqual(i * spacing - 250 - 0.01);
  });
  expect(at.at(-1)).toBeLessThan(60 * spacing + 200);
  expect(clock.timers).toEqual([]);
});

test('Retry-After to one holds the other back, within a second where nothing was known', async () => {
  const { clock, a, b, waitOf, pauses } = openFleet();
  await warmUp(a, clock);
  await clock.advance(4000);
  await waitOf(b);
  const slot = await clock.run(a.acquire('read'));
  a.throttled(slot, { retryAfterMs: 60_000 });
  slot.release();
  // What b may do without asking ends after a second.
  expect(await waitOf(b)).toBe(0);
  await clock.advance(1000);
  const wait = await waitOf(b);
  expect(wait).toBeGreaterThan(58_900);
  expect(wait).toBeLessThan(59_300);
  // Told by each of them.
  expect(pauses.map(({ ms }) => Math.round(ms / 1000))).toEqual([60, 59]);
});

test('what a server says of its limit to one holds for the other', async () => {
  const { clock, a, b, waitOf } = openFleet();
  const slot = await clock.run(a.acquire('write'));
  a.throttled(slot, { retryAfterMs: 11, requestsPerMinute: 2000 });
  slot.release();
  await tick();
  await waitOf(b);
  expect(b.state.requestsPerMinute).toBe(1900);
});

test('a refusal is told at once, be it that nobody waits, and a second one of the same crowd changes nothing', async () => {
  const { clock, memory, a, b } = openFleet({ statedLimit: () => 1000 });
  const slots = [await clock.run(a.acquire('read')), await clock.run(b.acquire('read'))];
  await clock.advance(10);
  a.throttled(slots[0]!, { retryAfterMs: 0 });
  await tick();
  expect(memory.text).toContain('[1,855,1000,');
  await clock.advance(10);
  b.throttled(slots[1]!, { retryAfterMs: 0 });
  await tick();
  expect(memory.text).toContain('[1,855,1000,');
  expect(clock.timers).toEqual([]);
});

test('successes of both let the rate grow, and are told with the next draw', async () => {
  const { clock, a, b, waitOf } = openFleet({ statedLimit: () => 2000 });
  const slot = await clock.run(a.acquire('read'));
  await clock.advance(1);
  a.throttled(slot, { retryAfterMs: 0 });
  slot.release();
  await clock.advance(1000);
  await waitOf(a);
  expect(a.state.requestsPerMinute).toBe(1710);
  for (let i = 0; i < 30; i += 1) a.succeeded();
  for (let i = 0; i < 40; i += 1) b.succeeded();
  await clock.advance(1000);
  await waitOf(a);
  await waitOf(b);
  expect(b.state.requestsPerMinute).toBe(1780);
});

test('each credential has a state of its own', async () => {
  const clock = createVirtualClock();
  const asked: (string | undefined)[] = [];
  const limits = new HostLimits({
    ...clock,
    shared: (origin, identity) => {
      expect(origin).toBe(ORIGIN);
      asked.push(identity);
      return createSharedMemory({ now: clock.now });
    },
  });
  const url = new URL('/v2/', ORIGIN);
  const anonymous = limits.of({ url });
  const user = limits.of({ url, identity: 'user' });
  expect(limits.of({ url, identity: 'user' })).toBe(user);
  expect(asked).toEqual([undefined, 'user']);
  const slot = await clock.run(anonymous.acquire('read'));
  anonymous.throttled(slot, { retryAfterMs: 60_000 });
  const before = clock.now();
  await clock.run(user.acquire('read'));
  expect(clock.now()).toBe(before);
  await clock.run(anonymous.acquire('read'));
  expect(clock.now()).toBeGreaterThanOrEqual(before + 60_000);
});

test('without a state for a host all is as if there were none', async () => {
  const clock = createVirtualClock();
  const limiter = new HostLimiter(ORIGIN, { ...clock, shared: () => undefined });
  const slots = Array.from({ length: 32 }, async () => limiter.acquire('read'));
  expect(await Promise.all(slots)).toHaveLength(32);
});

test('as long as the state fails nothing goes, which is said once, and once more when it is over', async () => {
  const { clock, memory, notices, a } = openFleet({ statedLimit: () => 2000 });
  const gone = new Error('gone');
  memory.fail(gone);
  const granted: number[] = [];
  const waiting = [1, 2, 3].map(async (i) => {
    (await a.acquire('read')).release();
    granted.push(i);
  });
  await clock.advance(600_000);
  expect(granted).toEqual([]);
  expect(notices).toEqual([{ origin: ORIGIN, isLost: true, error: gone }]);
  memory.fail(undefined);
  await clock.advance(4000);
  await Promise.all(waiting);
  expect(granted).toEqual([1, 2, 3]);
  expect(notices.slice(1)).toEqual([{ origin: ORIGIN, isLost: false }]);
  expect(clock.timers).toEqual([]);
});

test('a state that does not answer counts as lost after five seconds, and is asked again', async () => {
  let answers = false;
  const clock = createVirtualClock();
  const memory = createSharedMemory({ now: clock.now });
  const state: SharedState = {
    update: async (change, signal) =>
      answers ? memory.update(change, signal) : new Promise(() => undefined),
  };
  const notices: SharedRateNotice[] = [];
  const limiter = new HostLimiter(ORIGIN, {
    ...clock,
    shared: () => state,
    onShared: (notice) => notices.push(notice),
  });
  const waiting = limiter.acquire('read');
  await clock.advance(4999);
  expect(notices).toEqual([]);
  await clock.advance(1);
  expect(notices).toMatchObject([{ isLost: true, error: { code: 'TIMEOUT' } }]);
  answers = true;
  await clock.advance(1000);
  (await waiting).release();
  expect(notices).toHaveLength(2);
});

test('who waits for a lost state may leave, and leaves no timer behind', async () => {
  const { clock, memory, a, waitOf } = openFleet();
  memory.fail(new Error('gone'));
  const controller = new AbortController();
  const leaver = rejection(a.acquire('read', controller.signal));
  await clock.advance(10_000);
  expect(clock.timers).toHaveLength(1);
  const reason = new Error('enough');
  controller.abort(reason);
  expect(await leaver).toBe(reason);
  await tick();
  expect(clock.timers).toEqual([]);
  memory.fail(undefined);
  expect(await waitOf(a)).toBeLessThan(4000);
});

test('who waits for an answer of the state may leave, and the next one is heard', async () => {
  const { clock, a } = openFleet({ state: { update: async () => new Promise(() => undefined) } });
  const controller = new AbortController();
  const leaver = rejection(a.acquire('read', controller.signal));
  await tick();
  controller.abort(new Error('enough'));
  const next = new AbortController();
  const second = rejection(a.acquire('read', next.signal));
  await leaver;
  await tick();
  expect(clock.timers).toHaveLength(1);
  next.abort(new Error('enough too'));
  await second;
  await tick();
  expect(clock.timers).toEqual([]);
});

test('a refusal that could not be told is told before the next turn is drawn', async () => {
  const { clock, memory, a, b, waitOf } = openFleet({ statedLimit: () => 2000 });
  const slot = await clock.run(a.acquire('read'));
  memory.fail(new Error('gone'));
  a.throttled(slot, { retryAfterMs: 30_000 });
  await clock.advance(10_000);
  // Nobody waits, so nothing keeps the process alive.
  expect(clock.timers).toEqual([]);
  memory.fail(undefined);
  expect(await waitOf(a)).toBeGreaterThanOrEqual(30_000);
  await waitOf(b);
  expect(b.state.requestsPerMinute).toBe(1710);
});

test('within a process requests go in the order of asking, tokens before writes before reads', async () => {
  const { clock, a, b } = openFleet({ statedLimit: () => 600 });
  b.exhausted(1000);
  await tick();
  const order: string[] = [];
  const lanes: Lane[] = ['read', 'write', 'token', 'read', 'write', 'token'];
  const all = lanes.map(async (lane, i) => {
    const slot = await a.acquire(lane);
    order.push(`${lane} ${i}`);
    slot.release();
  });
  await clock.run(Promise.all(all));
  expect(order).toEqual(['token 2', 'token 5', 'write 1', 'write 4', 'read 0', 'read 3']);
});

test('a pause that is longer than anybody wants to wait is told to those who ask', async () => {
  const { clock, a, b, waitOf } = openFleet({ maxWaitMs: 5000 });
  await waitOf(b);
  a.exhausted(60_000);
  await tick();
  await clock.advance(1000);
  const waiting = new AbortController();
  const first = rejection(b.acquire('read', waiting.signal));
  await tick();
  waiting.abort(new Error('enough'));
  await first;
  expect(await rejection(b.acquire('read'))).toMatchObject({ code: 'RATE_LIMITED' });
});
