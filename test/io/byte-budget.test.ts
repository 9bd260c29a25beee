import { expect, test } from 'vitest';
import { ByteBudget } from '#ferry/io/byte-budget.js';

/** Asks for room, and notes under `name` when it is had; `end` gives it back. */
function ask(budget: ByteBudget, bytes: number, name: string, log: string[], signal?: AbortSignal) {
  const turn = budget.take(bytes, { signal }).then((room) => {
    log.push(name);
    return room;
  });
  return {
    turn,
    end: async () => {
      (await turn)[Symbol.dispose]();
    },
  };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await Promise.resolve();
}

test('gives room as long as there is some, and more when some is given back', async () => {
  const budget = new ByteBudget(10);
  const log: string[] = [];
  const a = ask(budget, 6, 'a', log);
  ask(budget, 4, 'b', log);
  const c = ask(budget, 5, 'c', log);
  await settle();
  expect(log).toEqual(['a', 'b']);
  expect(budget.freeBytes).toBe(0);
  await a.end();
  await c.turn;
  expect(log).toEqual(['a', 'b', 'c']);
  expect(budget.freeBytes).toBe(1);
});

test('serves whoever came first, also where something smaller would fit', async () => {
  const budget = new ByteBudget(10);
  const log: string[] = [];
  const a = ask(budget, 6, 'a', log);
  const large = ask(budget, 8, 'large', log);
  const small = ask(budget, 1, 'small', log);
  await settle();
  expect(log).toEqual(['a']);
  await a.end();
  await large.end();
  await small.end();
  expect(log).toEqual(['a', 'large', 'small']);
  expect(budget.freeBytes).toBe(10);
});

test('what is larger than the whole goes alone', async () => {
  const budget = new ByteBudget(10);
  const log: string[] = [];
  const a = ask(budget, 1, 'a', log);
  const huge = ask(budget, 1000, 'huge', log);
  const b = ask(budget, 1, 'b', log);
  await settle();
  expect(log).toEqual(['a']);
  await a.end();
  await settle();
  expect(log).toEqual(['a', 'huge']);
  await huge.end();
  await b.end();
  expect(budget.freeBytes).toBe(10);
});

test('whoever gives up waiting leaves the queue, and those behind go on', async () => {
  const budget = new ByteBudget(10);
  const log: string[] = [];
  const a = ask(budget, 6, 'a', log);
  const stop = new AbortController();
  const large = ask(budget, 8, 'large', log, stop.signal);
  const small = ask(budget, 4, 'small', log);
  stop.abort(new Error('stopped'));
  await expect(large.turn).rejects.toThrow('stopped');
  await small.end();
  await a.end();
  expect(log).toEqual(['a', 'small']);
  expect(budget.freeBytes).toBe(10);
  await expect(budget.take(1, { signal: stop.signal })).rejects.toThrow('stopped');
});

test('a turn that comes at the moment of giving up is not lost', async () => {
  const budget = new ByteBudget(10);
  const log: string[] = [];
  const a = await budget.take(10);
  const stop = new AbortController();
  const b = ask(budget, 10, 'b', log, stop.signal);
  await settle();
  stop.abort(new Error('stopped'));
  a[Symbol.dispose]();
  await expect(b.turn).rejects.toThrow('stopped');
  expect(budget.freeBytes).toBe(10);
});

test('room is given back once, and without a limit there is always some', async () => {
  const budget = new ByteBudget(10);
  const room = await budget.take(4);
  room[Symbol.dispose]();
  room[Symbol.dispose]();
  expect(budget.freeBytes).toBe(10);
  const endless = new ByteBudget(Infinity);
  using _ = await endless.take(Infinity);
  await endless.take(5);
  expect(endless.freeBytes).toBe(Infinity);
});

test('without any room at all one goes after the other', async () => {
  const budget = new ByteBudget(0);
  const log: string[] = [];
  const a = ask(budget, 5, 'a', log);
  const b = ask(budget, 5, 'b', log);
  await settle();
  expect(log).toEqual(['a']);
  await a.end();
  await b.end();
});
