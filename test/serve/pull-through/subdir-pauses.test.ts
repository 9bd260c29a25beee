import { describe, expect, test } from 'vitest';
import { CopyError, FerryError, ResponseError } from '#ferry/errors.js';
import { SubdirPauses } from '#ferry/serve/pull-through/subdir-pauses.js';
import { createVirtualClock } from '../../support/virtual-clock.js';

const MINUTE = 60_000;
const down = new FerryError('NETWORK', 'down');
const run = { fromMs: 0, toMs: 1 };

function limited(retryAfterMs: number): CopyError {
  const response = { method: 'PUT', url: 'https://registry.example/v2/', status: 429, retryAfterMs };
  return new CopyError('destination', 'refused', new ResponseError('RATE_LIMITED', 'too many', response));
}

describe('pauses after failures', () => {
  test('double up to ten minutes, begin anew after a run that went well, and are each subdir’s own', () => {
    const pauses = new SubdirPauses(createVirtualClock({ start: 0, chance: 0 }));
    const lengths = Array.from({ length: 9 }, () => pauses.fail('noarch', down, run) / 1000);
    expect(lengths).toEqual([5, 10, 20, 40, 80, 160, 320, 600, 600]);
    expect([pauses.untilMs('noarch'), pauses.hasFailed('noarch')]).toEqual([600_000, true]);
    expect([pauses.untilMs('linux-64'), pauses.hasFailed('linux-64')]).toEqual([-Infinity, false]);
    pauses.succeed('noarch');
    expect(pauses.fail('noarch', down, run)).toBe(5_000);
  });

  test('are shortened by chance to no less than half', () => {
    const pauses = new SubdirPauses(createVirtualClock({ chance: 1 }));
    expect(pauses.fail('noarch', down, run)).toBe(2_500);
  });

  test('are as long as the server asks for, up to ten minutes', () => {
    const pauses = new SubdirPauses(createVirtualClock({ chance: 0 }));
    expect(pauses.fail('noarch', limited(90_000), run)).toBe(90_000);
    expect(pauses.fail('linux-64', limited(1e12), run)).toBe(600_000);
  });
});

describe("somebody else's run", () => {
  const marker = (id: string, publishing?: `sha256:${string}`) => ({
    id,
    started: new Date(5).toISOString(),
    ...(publishing === undefined ? {} : { publishing }),
  });

  test('is waited for as long as it publishes something every half hour', async () => {
    const clock = createVirtualClock({ start: 0 });
    const pauses = new SubdirPauses(clock);
    expect(pauses.waitFor('noarch', marker('a'))).toBe(true);
    expect(pauses.untilMs('noarch')).toBe(5_000);
    await clock.advance(29 * MINUTE);
    expect(pauses.waitFor('noarch', marker('a', 'sha256:1'))).toBe(true);
    await clock.advance(29 * MINUTE);
    expect(pauses.waitFor('noarch', marker('a', 'sha256:1'))).toBe(true);
    expect(pauses.untilMs('noarch')).toBe(clock.now() + MINUTE);
    await clock.advance(MINUTE);
    expect(pauses.waitFor('noarch', marker('a', 'sha256:1'))).toBe(false);
  });

  test('that follows another is not waited for all over again, unless nobody was at work in between', async () => {
    const clock = createVirtualClock({ start: 0 });
    const pauses = new SubdirPauses(clock);
    pauses.waitFor('noarch', marker('a'));
    await clock.advance(29 * MINUTE);
    expect(pauses.waitFor('noarch', marker('b'))).toBe(true);
    await clock.advance(MINUTE);
    expect(pauses.waitFor('noarch', marker('c'))).toBe(false);
    pauses.isAlone('noarch');
    expect(pauses.waitFor('noarch', marker('d'))).toBe(true);
  });

  test('is told from one of ours that failed by when it began', () => {
    const pauses = new SubdirPauses(createVirtualClock());
    expect(pauses.isOwn('noarch', marker('a'))).toBe(false);
    pauses.fail('noarch', down, { fromMs: 0, toMs: 10 });
    expect(pauses.isOwn('noarch', marker('a'))).toBe(true);
    pauses.fail('noarch', down, { fromMs: 6, toMs: 10 });
    expect(pauses.isOwn('noarch', marker('a'))).toBe(false);
  });
});
