import { describe, expect, onTestFinished, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import { Refreshed, type RefreshTimes } from '#ferry/serve/channels/refreshed.js';

const TIMES: RefreshTimes = {
  freshMs: 30_000,
  patienceMs: 20,
  firstMs: 5000,
  retryMs: 5000,
  limitMs: 60_000,
};

/** A value on a clock that the test moves, with answers that the test decides. */
function setUp(times: Partial<RefreshTimes> = {}) {
  let now = 1_000_000;
  const answers: ((last: string | undefined) => Promise<string>)[] = [];
  const replaced: string[] = [];
  let asked = 0;
  const refreshed = new Refreshed<string>({
    ...TIMES,
    ...times,
    now: () => now,
    load: async (last) => {
      asked += 1;
      const answer = answers.shift();
      if (answer === undefined) throw new Error('nobody expected to be asked');
      return answer(last);
    },
    onReplaced: (last) => replaced.push(last),
  });
  onTestFinished(() => refreshed.close());
  return {
    refreshed,
    replaced,
    answer: (value: string) => answers.push(async () => Promise.resolve(value)),
    fail: (code: 'NETWORK' | 'RATE_LIMITED' = 'NETWORK') =>
      answers.push(async () => Promise.reject(new FerryError(code, 'no'))),
    answerWith: (make: () => Promise<string>) => answers.push(make),
    pass: (ms: number) => (now += ms),
    now: () => now,
    asked: () => asked,
  };
}

describe('what others may change', () => {
  test('is news when it comes, however long that took', async () => {
    const { refreshed, answerWith, pass, fail, now } = setUp();
    answerWith(async () => {
      pass(40_000);
      return Promise.resolve('one');
    });
    const beganAt = now();
    expect(await refreshed.get()).toEqual({ value: 'one', staleness: undefined });
    fail();
    const { staleness } = await refreshed.get();
    expect(staleness).toEqual({ since: new Date(beganAt), code: 'NETWORK' });
  });

  test('is asked for once, by all who ask at the same time', async () => {
    const { refreshed, answer, asked } = setUp();
    answer('one');
    const all = await Promise.all(Array.from({ length: 50 }, () => refreshed.get()));
    expect(new Set(all.map(({ value }) => value))).toEqual(new Set(['one']));
    expect(asked()).toBe(1);
  });

  test('is asked for again when it is no more fresh, and kept where it is unchanged', async () => {
    const { refreshed, answer, pass, asked, replaced } = setUp();
    answer('one');
    await refreshed.get();
    pass(29_999);
    await refreshed.get();
    expect(asked()).toBe(1);
    pass(1);
    answer('unchanged');
    expect(await refreshed.get()).toEqual({ value: 'one', staleness: undefined });
    pass(30_000);
    answer('two');
    expect((await refreshed.get()).value).toBe('two');
    expect(replaced).toEqual(['one']);
  });

  test('is given as it was last where asking fails, and says since when', async () => {
    const { refreshed, answer, fail, pass, now, asked } = setUp();
    answer('one');
    const since = new Date(now());
    await refreshed.get();
    pass(40_000);
    fail('RATE_LIMITED');
    expect(await refreshed.get()).toEqual({ value: 'one', staleness: { since, code: 'RATE_LIMITED' } });
    // Nobody asks again at once, and it stays marked.
    expect((await refreshed.get()).staleness?.code).toBe('RATE_LIMITED');
    expect(asked()).toBe(2);
    pass(5000);
    answer('two');
    expect(await refreshed.get()).toEqual({ value: 'two', staleness: undefined });
  });

  test('fails where nothing was there before, and is asked for again after a while', async () => {
    const { refreshed, answer, fail, pass, asked } = setUp();
    fail();
    await expect(refreshed.get()).rejects.toMatchObject({ code: 'NETWORK' });
    await expect(refreshed.get()).rejects.toMatchObject({ code: 'NETWORK' });
    expect(asked()).toBe(1);
    pass(5000);
    answer('one');
    expect((await refreshed.get()).value).toBe('one');
  });

  test('is given as it was last to who would wait too long, and asking goes on', async () => {
    const { refreshed, answer, answerWith, pass, asked } = setUp();
    answer('one');
    await refreshed.get();
    pass(40_000);
    let finish: (value: string) => void = () => undefined;
    answerWith(() => new Promise((resolve) => (finish = resolve)));
    expect((await refreshed.get()).staleness?.code).toBe('TIMEOUT');
    finish('two');
    await expect.poll(() => refreshed.last).toBe('two');
    expect(await refreshed.get()).toEqual({ value: 'two', staleness: undefined });
    expect(asked()).toBe(2);
  });

  test('takes no longer than anybody waits where nothing was there', async () => {
    const { refreshed, answerWith } = setUp({ firstMs: 10 });
    let finish: (value: string) => void = () => undefined;
    answerWith(() => new Promise((resolve) => (finish = resolve)));
    await expect(refreshed.get()).rejects.toMatchObject({ code: 'TIMEOUT' });
    finish('one');
    await expect.poll(() => refreshed.last).toBe('one');
  });

  test('leaves those who go away alone, and goes on for the others', async () => {
    const { refreshed, answerWith, asked } = setUp();
    let finish: (value: string) => void = () => undefined;
    answerWith(() => new Promise((resolve) => (finish = resolve)));
    const leaving = new AbortController();
    const left = refreshed.get(leaving.signal);
    const stays = refreshed.get();
    leaving.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    finish('one');
    expect((await stays).value).toBe('one');
    expect(asked()).toBe(1);
  });

  test('lets go of what it had when it is closed, also of what comes after', async () => {
    const { refreshed, answer, answerWith, pass, replaced } = setUp();
    answer('one');
    await refreshed.get();
    pass(40_000);
    let finish: (value: string) => void = () => undefined;
    answerWith(() => new Promise((resolve) => (finish = resolve)));
    await refreshed.get();
    const closing = refreshed.close();
    finish('two');
    await closing;
    expect(replaced.sort()).toEqual(['one', 'two']);
  });
});
