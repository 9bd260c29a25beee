import { describe, expect, test } from 'vitest';
import { forEachConcurrently } from '#ferry/io/pool.js';
import { rejection } from '../contracts/artifacts.js';
import { createGate, type Gate } from '../support/gate.js';

/** Counts what is taken, and notices being closed. */
class Source {
  taken = 0;
  isClosed = false;

  *[Symbol.iterator](): Generator<number> {
    try {
      for (;;) yield this.taken++;
    } finally {
      this.isClosed = true;
    }
  }
}

test('works on every item once', async () => {
  const seen: number[] = [];
  await forEachConcurrently([1, 2, 3, 4, 5], { concurrency: 2 }, async (item) => {
    await Promise.resolve();
    seen.push(item);
  });
  expect(seen.sort()).toEqual([1, 2, 3, 4, 5]);
  await forEachConcurrently([], { concurrency: 2 }, () => Promise.reject(new Error('nothing to do')));
});

test('takes items that come with time', async () => {
  const seen: number[] = [];
  const items = (async function* () {
    for (const item of [1, 2, 3]) yield await Promise.resolve(item);
  })();
  await forEachConcurrently(items, { concurrency: 5 }, async (item) => void seen.push(item));
  expect(seen).toEqual([1, 2, 3]);
});

test.each([
  [3, 3],
  [1, 1],
  [0, 1],
  [-1, 1],
  [Number.NaN, 1],
])(
  'with a concurrency of %d runs %i at once, and takes no item before its turn',
  async (concurrency, atOnce) => {
    const source = new Source();
    const gates: Gate[] = [];
    const controller = new AbortController();
    const running = forEachConcurrently(source, { concurrency, signal: controller.signal }, async () => {
      const gate = createGate();
      gates.push(gate);
      await gate.passed;
    });
    await expect.poll(() => gates.length).toBe(atOnce);
    expect(source.taken).toBe(atOnce);
    gates[0]?.open();
    await expect.poll(() => gates.length).toBe(atOnce + 1);
    expect(source.taken).toBe(atOnce + 1);
    controller.abort(new Error('done'));
    for (const gate of gates) gate.open();
    await rejection(running);
  },
);

describe('the first failure', () => {
  test('stops the taking, and is thrown once the calls under way have settled', async () => {
    const source = new Source();
    const gate = createGate();
    const failure = new Error('the third');
    let started = 0;
    let settled = 0;
    const running = forEachConcurrently(source, { concurrency: 3 }, async (item) => {
      if (item === 2) throw failure;
      started += 1;
      await gate.passed;
      settled += 1;
      throw new Error('too late to count');
    });
    let isOver = false;
    const over = rejection(running).finally(() => {
      isOver = true;
    });
    await expect.poll(() => source.taken).toBe(3);
    expect(isOver).toBe(false);
    gate.open();
    expect(await over).toBe(failure);
    expect([started, settled]).toEqual([2, 2]);
    expect(source.taken).toBe(3);
    expect(source.isClosed).toBe(true);
  });

  test('leaves an item alone that came too late', async () => {
    const gate = createGate();
    const items = (async function* () {
      yield 'fails';
      await gate.passed;
      yield 'late';
    })();
    const seen: string[] = [];
    const running = forEachConcurrently(items, { concurrency: 2 }, async (item) => {
      seen.push(item);
      setImmediate(() => {
        gate.open();
      });
      throw new Error(item);
    });
    expect(String(await rejection(running))).toContain('fails');
    expect(seen).toEqual(['fails']);
  });

  test('may be that of the items themselves', async () => {
    const failure = new Error('the list broke');
    const items = (async function* () {
      yield await Promise.resolve(1);
      throw failure;
    })();
    expect(await rejection(forEachConcurrently(items, { concurrency: 2 }, () => Promise.resolve()))).toBe(
      failure,
    );
  });

  test('is not hidden by what closing the items fails with', async () => {
    const failure = new Error('the first');
    const items = (function* () {
      try {
        yield 1;
        yield 2;
      } finally {
        throw new Error('cannot even be closed');
      }
    })();
    expect(
      await rejection(forEachConcurrently(items, { concurrency: 1 }, () => Promise.reject(failure))),
    ).toBe(failure);
  });
});

describe('an abort', () => {
  test('stops the taking, and rejects with its reason once the calls under way have settled', async () => {
    const source = new Source();
    const controller = new AbortController();
    const reason = new Error('enough');
    let started = 0;
    let settled = 0;
    const running = forEachConcurrently(
      source,
      { concurrency: 2, signal: controller.signal },
      async (item) => {
        started += 1;
        await Promise.resolve();
        if (item === 3) controller.abort(reason);
        await Promise.resolve();
        settled += 1;
      },
    );
    expect(await rejection(running)).toBe(reason);
    expect(settled).toBe(started);
    expect(source.taken).toBeLessThan(7);
    expect(source.isClosed).toBe(true);
  });

  test('before the start takes nothing', async () => {
    const source = new Source();
    const reason = new Error('not today');
    const options = { concurrency: 2, signal: AbortSignal.abort(reason) };
    expect(await rejection(forEachConcurrently(source, options, () => Promise.resolve()))).toBe(reason);
    expect(source.taken).toBe(0);
  });
});
