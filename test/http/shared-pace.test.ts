import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BURST_MS, noteRefusal, openPace, type Pace } from '#ferry/http/pace.js';
import { drawTurns, formatPace, parsePace, withNotes, type Trouble } from '#ferry/http/shared-pace.js';

const START = 1_763_788_000_123.456;

interface Step {
  readonly afterMs: number;
  readonly wanted: number;
  readonly permitted: number;
  readonly successes: number;
  readonly troubles: readonly Trouble[];
}

const refusal = fc.record({
  limit: fc.record({
    retryAfterMs: fc.option(fc.double({ min: 0, max: 400_000, noNaN: true }), { nil: undefined }),
    requestsPerMinute: fc.option(fc.double({ min: 1, max: 1e6, noNaN: true }), { nil: undefined }),
  }),
  grantedAt: fc.option(fc.double({ min: START - 1e5, max: START + 1e5, noNaN: true }), { nil: undefined }),
  chance: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
});

/** Whoever draws, and tells of what: with one text it makes no difference. */
const step = (troubles: fc.Arbitrary<readonly Trouble[]>): fc.Arbitrary<Step> =>
  fc.record({
    afterMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 50, noNaN: true }), fc.nat(30_000)),
    wanted: fc.nat(96),
    permitted: fc.nat(5),
    successes: fc.nat(50),
    troubles,
  });

const anyTroubles = fc.array(
  fc.oneof(refusal, fc.record({ exhaustedMs: fc.double({ min: 0, max: 400_000, noNaN: true }) })),
  { maxLength: 2 },
);

/** One draw, from a text to the next. */
function draw(text: string | undefined, at: number, { wanted, ...notes }: Step, statedLimit?: number) {
  const drawn = drawTurns(withNotes(parsePace(text, at), { statedLimit, ...notes }, at), wanted, at);
  return { ...drawn, text: formatPace(drawn.pace) };
}

test('of a known rate no draws give more than time and burst allow, in any stretch of time', () => {
  const steps = fc.array(step(fc.constant([])), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 30, max: 50_000 }), steps, (limit, all) => {
      let at = START;
      let text: string | undefined;
      const grants: { readonly at: number; readonly count: number }[] = [];
      for (const one of all) {
        at += one.afterMs;
        const drawn = draw(text, at, one, limit);
        expect(drawn.granted).toBeLessThanOrEqual(one.wanted);
        expect(drawn.permitMs).toBe(0);
        text = drawn.text;
        grants.push({ at, count: drawn.granted });
      }
      const perMs = (0.95 * limit) / 60_000;
      grants.forEach((first, from) => {
        let sum = 0;
        for (const { at: until, count } of grants.slice(from)) {
          sum += count;
          // Times since 1970 have no more digits than for a microsecond.
          expect(sum).toBeLessThanOrEqual((until - first.at + BURST_MS + 0.01) * perMs + 1);
        }
      });
    }),
  );
});

test('who waits as long as it was told gets a turn, if nobody else was there', () => {
  fc.assert(
    fc.property(fc.array(step(anyTroubles), { maxLength: 20 }), fc.nat(30), (all, wanted) => {
      let at = START;
      let text: string | undefined;
      for (const one of all) {
        at += one.afterMs;
        ({ text } = draw(text, at, one));
      }
      const quiet = { afterMs: 0, permitted: 0, successes: 0, troubles: [], wanted: wanted + 1 };
      // The slow start lasts some seconds at most, however often it is asked.
      for (let asks = 0; ; asks += 1) {
        const drawn = draw(text, at, quiet);
        if (drawn.granted > 0) break;
        expect(asks).toBeLessThan(210);
        expect(drawn.waitMs).toBeGreaterThan(0);
        at += drawn.waitMs + 0.01;
        text = drawn.text;
      }
    }),
  );
});

test('nothing goes before a pause is over, whoever asked for it and whatever else is told', () => {
  fc.assert(
    fc.property(fc.array(step(anyTroubles), { maxLength: 40 }), (all) => {
      let at = START;
      let text: string | undefined;
      let until = 0;
      for (const one of all) {
        at += one.afterMs;
        for (const trouble of one.troubles) {
          const ms = 'exhaustedMs' in trouble ? trouble.exhaustedMs : (trouble.limit.retryAfterMs ?? 0);
          // What is too long holds nobody back.
          if (ms <= 300_000) until = Math.max(until, at + ms);
        }
        const drawn = draw(text, at, one);
        if (at < until) expect([drawn.granted, drawn.permitMs]).toEqual([0, 0]);
        text = drawn.text;
      }
    }),
  );
});

test('a pace survives being written, in less than 400 bytes', () => {
  fc.assert(
    fc.property(fc.array(step(anyTroubles), { maxLength: 30 }), (all) => {
      let at = START;
      let pace: Pace = openPace(undefined, at);
      for (const { afterMs, wanted, ...notes } of all) {
        at += afterMs;
        pace = drawTurns(withNotes(pace, { statedLimit: undefined, ...notes }, at), wanted, at).pace;
        const text = formatPace(pace);
        expect(parsePace(text, at)).toEqual(pace);
        expect(text.length).toBeLessThan(400);
      }
    }),
  );
});

test.each([
  undefined,
  '',
  '{}',
  '[]',
  '[1]',
  '[2,1,1,1,1,1,1,1,1,1,1,1,1]',
  '[1,"x",1,1,1,1,1,1,1,1,1,1,1]',
  'x',
])('what is no pace (%j) is begun anew', (text) => {
  expect(parsePace(text, START)).toEqual(openPace(undefined, START));
});

test('a clock that is set back holds nobody until it is where it was; the rate is kept', () => {
  const told = { statedLimit: 2000, permitted: 0, successes: 0 };
  const limit = { retryAfterMs: 60_000 };
  const troubles = [{ limit, grantedAt: START, chance: 0 }];
  const { pace } = drawTurns(withNotes(openPace(undefined, START), { ...told, troubles }, START), 1, START);
  const text = formatPace(pace);
  const before = START - 3_600_000;
  const drawn = drawTurns(parsePace(text, before), 5, before);
  expect(drawn.granted).toBe(1);
  expect(drawn.pace).toMatchObject({ statedLimit: 2000, requestsPerMinute: 1710 });
  // A little is nothing: servers agree to the millisecond at best.
  expect(drawTurns(parsePace(text, START - 500), 5, START - 500).granted).toBe(0);
});

test('the rate falls once for all whose turn was granted before it fell', () => {
  let pace = openPace(1000, START);
  const limit = { retryAfterMs: 0 };
  const refuse = (grantedAt: number | undefined, now: number): number => {
    pace = noteRefusal(pace, { limit, grantedAt, chance: 0 }, now);
    return Math.round(pace.requestsPerMinute!);
  };
  expect(refuse(START + 1, START + 100)).toBe(855);
  expect(refuse(START + 99, START + 110)).toBe(855);
  expect(refuse(undefined, START + 120)).toBe(855);
  expect(refuse(START + 100, START + 130)).toBe(770);
});

test.each([
  [2000, 40, 1],
  [44_000, 40, 34],
  [44_000, 7, 7],
  [30, 40, 1],
])('of %i a minute %i who wait draw %i at once', (limit, wanted, granted) => {
  expect(drawTurns(openPace(limit, START), wanted, START).granted).toBe(granted);
});

test('without a limit few begin, more go with each answer, and then all for a while', () => {
  let text: string | undefined;
  const ask = (afterMs: number, successes: number) => {
    const drawn = draw(text, START + afterMs, {
      afterMs,
      wanted: 20,
      permitted: 0,
      successes,
      troubles: [],
    });
    text = drawn.text;
    return [drawn.granted, drawn.permitMs];
  };
  expect(ask(0, 0)).toEqual([4, 0]);
  expect(ask(20, 0)).toEqual([0, 0]);
  expect(ask(100, 4)).toEqual([6, 0]);
  expect(ask(200, 6)).toEqual([9, 0]);
  expect(ask(300, 9)).toEqual([13, 0]);
  // Nobody heard of the others again.
  expect(ask(4100, 0)).toEqual([20, 1000]);
  expect(ask(14_200, 0)).toEqual([4, 0]);
});
