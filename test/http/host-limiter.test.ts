import { setImmediate as tick } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { HostLimiter, type HostLimitOptions, type HostPause, type Slot } from '#ferry/http/host-limiter.js';
import type { Lane } from '#ferry/http/send.js';
import { rejection } from '../contracts/artifacts.js';
import { createVirtualClock } from '../support/virtual-clock.js';

const ORIGIN = 'https://ghcr.io';

function openLimiter(options: HostLimitOptions & { chance?: number } = {}) {
  const clock = createVirtualClock({ chance: options.chance ?? 0.5 });
  const pauses: HostPause[] = [];
  const limiter = new HostLimiter(ORIGIN, { ...clock, onPause: (pause) => pauses.push(pause), ...options });
  /** Times at which `count` requests were let go, from now on, each of them over at once. */
  const times = async (count: number, lane: Lane = 'read'): Promise<number[]> => {
    const start = clock.now();
    const all = Array.from({ length: count }, async () => {
      const slot = await limiter.acquire(lane);
      const at = clock.now() - start;
      slot.release();
      return at;
    });
    return clock.run(Promise.all(all));
  };
  return { clock, limiter, pauses, times };
}

/** What of these promises is settled by now. */
async function settled(promises: readonly Promise<unknown>[]): Promise<number[]> {
  const done: number[] = [];
  promises.forEach((promise, index) => {
    promise.then(
      () => done.push(index),
      () => done.push(index),
    );
  });
  await tick();
  return done.sort((a, b) => a - b);
}

test('without a stated limit requests go at once, but only 32 of a lane together', async () => {
  const { limiter } = openLimiter();
  const slots = Array.from({ length: 33 }, async () => limiter.acquire('read'));
  expect(await settled(slots)).toHaveLength(32);
  (await slots[0]!).release();
  expect(await settled(slots)).toHaveLength(33);
});

test('a stated limit of 2000 a minute: a burst of a quarter of a second, then 1900 a minute evenly', async () => {
  const { times } = openLimiter({ statedLimit: () => 2000 });
  const spacing = 60_000 / 1900;
  const at = await times(400);
  const burst = at.filter((ms) => ms === 0).length;
  expect(burst).toBe(Math.floor(250 / spacing) + 1);
  at.slice(burst).forEach((ms, i) => {
    const due = (burst + i) * spacing - 250;
    // Timers count whole milliseconds.
    expect(ms).toBeGreaterThanOrEqual(due - 1e-6);
    expect(ms).toBeLessThan(due + 1 + 1e-6);
  });
});

test('never more than the stated limit goes in any minute, burst and rests included', async () => {
  const { times, clock } = openLimiter({ statedLimit: () => 600 });
  const at: number[] = [];
  for (const [count, restMs] of [
    [300, 20_000],
    [500, 70_000],
    [800, 0],
  ] as const) {
    const start = clock.now();
    at.push(...(await times(count)).map((ms) => start + ms));
    await clock.advance(restMs);
  }
  const most = Math.max(...at.map((from) => at.filter((ms) => ms >= from && ms < from + 60_000).length));
  expect(most).toBeLessThanOrEqual(600);
});

test('Retry-After holds back all requests of both lanes until then', async () => {
  const { limiter, clock, times } = openLimiter();
  const slot = await limiter.acquire('read');
  limiter.throttled(slot, { retryAfterMs: 7000 });
  slot.release();
  const lanes = (['read', 'write', 'token'] as const).map(async (lane) => times(2, lane));
  expect((await Promise.all(lanes)).flat()).toEqual(Array.from({ length: 6 }, () => 7000));
  expect(clock.timers).toEqual([]);
});

test('a shorter pause does not end a longer one, which may be made longer still', async () => {
  const { limiter, clock } = openLimiter();
  limiter.exhausted(7000);
  limiter.exhausted(1000);
  const waiting = [limiter.acquire('read')];
  await clock.advance(6999);
  expect(await settled(waiting)).toEqual([]);
  limiter.exhausted(3001);
  await clock.advance(3000);
  expect(await settled(waiting)).toEqual([]);
  await clock.advance(1);
  expect(await settled(waiting)).toEqual([0]);
});

test('an absurd time holds nobody back: whoever meets it is told', async () => {
  const { limiter, times } = openLimiter();
  limiter.exhausted(1e12);
  expect(await times(1)).toEqual([0]);
  limiter.throttled(await limiter.acquire('read'), { retryAfterMs: 300_001 });
  expect(await times(1)).toEqual([0]);
});

test('without a time the pauses double, with full jitter, until something succeeds', async () => {
  const { limiter, times, clock } = openLimiter({ chance: 0.5, statedLimit: () => 1e9 });
  const pauseAfter = async (): Promise<number> => {
    const slot = await clock.run(limiter.acquire('read'));
    limiter.throttled(slot, {});
    slot.release();
    return (await times(1))[0]!;
  };
  const pauses: number[] = [];
  for (let i = 0; i < 8; i += 1) pauses.push(await pauseAfter());
  expect(pauses).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  limiter.succeeded();
  expect(await pauseAfter()).toBe(250);
});

test('a server that names too short a time again and again is given more', async () => {
  const { limiter, times, clock } = openLimiter({ statedLimit: () => 1e9 });
  const pauses: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const slot = await clock.run(limiter.acquire('read'));
    limiter.throttled(slot, { retryAfterMs: 10 });
    slot.release();
    pauses.push((await times(1))[0]!);
  }
  expect(pauses).toEqual([10, 510, 1010, 2010, 4010]);
});

test('requests at once are halved once for all that met the same crowd, and come back one by one', async () => {
  const { limiter, clock } = openLimiter();
  const slots = await Promise.all(Array.from({ length: 32 }, async () => limiter.acquire('read')));
  await clock.advance(10);
  for (const slot of slots) {
    limiter.overloaded(slot);
    slot.release();
  }
  expect(limiter.state.concurrency).toBe(16);
  await clock.advance(10);
  limiter.overloaded(await limiter.acquire('read'));
  expect(limiter.state.concurrency).toBe(8);
  // One more for each round of as many successes.
  for (let i = 0; i < 9; i += 1) limiter.succeeded();
  expect(limiter.state.concurrency).toBe(9);
  for (let i = 0; i < 2000; i += 1) limiter.succeeded();
  expect(limiter.state.concurrency).toBe(32);
});

test('one request at a time is the least, whatever happens', async () => {
  const { limiter, clock } = openLimiter();
  for (let i = 0; i < 20; i += 1) {
    await clock.advance(1);
    const slot = await limiter.acquire('write');
    limiter.overloaded(slot);
    slot.release();
  }
  expect(limiter.state.concurrency).toBe(1);
  const slots = [limiter.acquire('write'), limiter.acquire('write')];
  expect(await settled(slots)).toEqual([0]);
});

test('no lane takes the places of another', async () => {
  const { limiter } = openLimiter({ maxConcurrency: 1 });
  const slots = (['write', 'write', 'read', 'read', 'token', 'token'] as const).map(async (lane) =>
    limiter.acquire(lane),
  );
  expect(await settled(slots)).toEqual([0, 2, 4]);
  (await slots[2]!).release();
  expect(await settled(slots)).toEqual([0, 2, 3, 4]);
});

test('within a lane requests go in the order of asking; after a pause, tokens before writes before reads', async () => {
  const { limiter, clock } = openLimiter({ statedLimit: () => 60 });
  limiter.exhausted(1000);
  const order: string[] = [];
  const lanes: Lane[] = ['read', 'write', 'token', 'read', 'write', 'token'];
  const all = lanes.map(async (lane, i) => {
    const slot = await limiter.acquire(lane);
    order.push(`${lane} ${i}`);
    slot.release();
  });
  await clock.run(Promise.all(all));
  expect(order).toEqual(['token 2', 'token 5', 'write 1', 'write 4', 'read 0', 'read 3']);
});

test('whoever waits may leave, and leaves no place, no listener and no timer behind', async () => {
  const { limiter, clock } = openLimiter({ maxConcurrency: 1 });
  limiter.exhausted(200_000);
  const controller = new AbortController();
  const reason = new Error('enough');
  const leavers = [1, 2, 3].map(async () => rejection(limiter.acquire('read', controller.signal)));
  await tick();
  expect(clock.timers).toHaveLength(1);
  controller.abort(reason);
  expect(await Promise.all(leavers)).toEqual([reason, reason, reason]);
  // A timer that nobody needs would keep the process alive for minutes.
  expect(clock.timers).toEqual([]);
  const stayer = limiter.acquire('read');
  await clock.advance(200_000);
  expect(await settled([stayer])).toEqual([0]);
});

test('one that leaves from the middle lets those behind move up', async () => {
  const { limiter } = openLimiter({ maxConcurrency: 1 });
  const slot = await limiter.acquire('read');
  const controller = new AbortController();
  const leaver = rejection(limiter.acquire('read', controller.signal));
  const next = limiter.acquire('read');
  controller.abort(new Error('enough'));
  await leaver;
  slot.release();
  slot.release();
  expect(await settled([next])).toEqual([0]);
  expect(await settled([limiter.acquire('read')])).toEqual([]);
});

test('what is aborted before it asks never waits', async () => {
  const { limiter } = openLimiter();
  const reason = new Error('enough');
  expect(await rejection(limiter.acquire('read', AbortSignal.abort(reason)))).toBe(reason);
});

test('a host has a hundred retries, half a one more for each success, and a thousand at most', () => {
  const { limiter } = openLimiter();
  const takeAll = (): number => {
    let count = 0;
    while (limiter.takeRetry()) count += 1;
    return count;
  };
  expect(takeAll()).toBe(100);
  for (let i = 0; i < 5; i += 1) limiter.succeeded();
  expect(takeAll()).toBe(2);
  for (let i = 0; i < 10_000; i += 1) limiter.succeeded();
  expect(takeAll()).toBe(1000);
});

/** Lets a request go each `everyMs` for a while. */
async function pace(
  limiter: HostLimiter,
  clock: { advance(ms: number): Promise<void> },
  count: number,
  everyMs: number,
): Promise<Slot> {
  for (let i = 0; i < count; i += 1) {
    (await limiter.acquire('read')).release();
    await clock.advance(everyMs);
  }
  return limiter.acquire('read');
}

test('a server that does not say how fast is asked at four fifths of the pace it objected to, growing slowly', async () => {
  const { limiter, clock } = openLimiter();
  // 1200 a minute.
  const slot = await pace(limiter, clock, 200, 50);
  limiter.throttled(slot, {});
  expect(limiter.state.requestsPerMinute).toBeCloseTo(0.8 * 1200, -1);
  const before = limiter.state.requestsPerMinute!;
  for (let i = 0; i < Math.round(before); i += 1) limiter.succeeded();
  expect(limiter.state.requestsPerMinute! / before).toBeCloseTo(1.3, 2);
});

test('refusals that have other reasons than the pace do not bring it below a tenth of the best', async () => {
  const { limiter, clock } = openLimiter();
  // 1200 a minute.
  const last = await pace(limiter, clock, 200, 50);
  limiter.throttled(last, {});
  last.release();
  for (let i = 0; i < 50; i += 1) {
    await clock.advance(60_000);
    const slot = await clock.run(limiter.acquire('read'));
    limiter.throttled(slot, { retryAfterMs: 1 });
    slot.release();
  }
  expect(limiter.state.requestsPerMinute).toBeCloseTo(120, -1);
});

test('the pace is that since the last rest, not the average of a long life', async () => {
  const { limiter, clock } = openLimiter();
  await pace(limiter, clock, 3, 50);
  await clock.advance(10 * 3_600_000);
  limiter.throttled(await pace(limiter, clock, 200, 50), {});
  expect(limiter.state.requestsPerMinute).toBeCloseTo(0.8 * 1200, -1);
});

test('thirty a minute is the least, and of a few requests no pace is learned', async () => {
  const { limiter, clock } = openLimiter();
  limiter.throttled(await pace(limiter, clock, 10, 5000), {});
  expect(limiter.state.requestsPerMinute).toBeUndefined();
  await clock.advance(60_000);
  limiter.throttled(await pace(limiter, clock, 40, 5000), {});
  expect(limiter.state.requestsPerMinute).toBe(30);
});

test('`allowed: N/minute` takes the place of any guess; where it does not hold a tenth is left to others, and won back', async () => {
  const { limiter, clock } = openLimiter();
  limiter.throttled(await limiter.acquire('read'), { retryAfterMs: 11, requestsPerMinute: 2000 });
  expect(limiter.state.requestsPerMinute).toBe(1900);
  for (let i = 0; i < 100; i += 1) limiter.succeeded();
  await clock.advance(1000);
  limiter.throttled(await clock.run(limiter.acquire('read')), {});
  expect(limiter.state.requestsPerMinute).toBe(1710);
  for (let i = 0; i < 300; i += 1) limiter.succeeded();
  expect(limiter.state.requestsPerMinute).toBe(1900);
});

test('a pause of two seconds or more is told once, not by every request that met it', async () => {
  const { limiter, clock, pauses } = openLimiter();
  const slots = await Promise.all(Array.from({ length: 8 }, async () => limiter.acquire('read')));
  for (const slot of slots) {
    limiter.throttled(slot, { retryAfterMs: 60_000 });
    await clock.advance(100);
  }
  expect(pauses).toEqual([{ origin: ORIGIN, ms: 60_000 }]);
  await clock.advance(100_000);
  limiter.exhausted(1999);
  limiter.exhausted(5000);
  expect(pauses.map(({ ms }) => ms)).toEqual([60_000, 5000]);
});
