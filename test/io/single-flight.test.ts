import { expect, test } from 'vitest';
import { SingleFlight } from '#ferry/io/single-flight.js';
import { rejection } from '../contracts/artifacts.js';
import { createGate } from '../support/gate.js';

test('calls for one key at once are one call, those for others are not', async () => {
  const flights = new SingleFlight<number>();
  const gate = createGate();
  let count = 0;
  const work = async (): Promise<number> => {
    count += 1;
    const mine = count;
    await gate.passed;
    return mine;
  };
  const calls = [flights.do('a', work), flights.do('a', work), flights.do('b', work)];
  gate.open();
  expect(await Promise.all(calls)).toEqual([1, 1, 2]);
  expect(await flights.do('a', work)).toBe(3);
});

test('a failure goes to all who wait, and to nobody after', async () => {
  const flights = new SingleFlight<string>();
  const failure = new Error('no');
  const calls = [1, 2].map(() => flights.do('a', () => Promise.reject(failure)));
  for (const call of calls) expect(await rejection(call)).toBe(failure);
  expect(await flights.do('a', () => Promise.resolve('yes'))).toBe('yes');
});

test('work that throws at once blocks nobody', async () => {
  const flights = new SingleFlight<string>();
  const failure = new Error('at once');
  const work = (): never => {
    throw failure;
  };
  expect(await rejection(flights.do('a', work))).toBe(failure);
  expect(await flights.do('a', () => Promise.resolve('yes'))).toBe('yes');
});

test('who waits for another may leave early', async () => {
  const flights = new SingleFlight<string>();
  const gate = createGate();
  const controller = new AbortController();
  const reason = new Error('no time');
  const first = flights.do('a', async () => {
    await gate.passed;
    return 'first';
  });
  const second = flights.do('a', () => Promise.reject(new Error('never called')), controller.signal);
  controller.abort(reason);
  expect(await rejection(second)).toBe(reason);
  gate.open();
  expect(await first).toBe('first');
});

test('when the one who works gives up, one of those who wait goes on for the others', async () => {
  const flights = new SingleFlight<string>();
  const controller = new AbortController();
  const reason = new Error('given up');
  const first = flights.do(
    'a',
    () =>
      new Promise<string>((_, reject) => {
        controller.signal.addEventListener('abort', () => {
          reject(reason);
        });
      }),
    controller.signal,
  );
  let count = 0;
  const others = [1, 2, 3].map(() =>
    flights.do('a', async () => {
      count += 1;
      await Promise.resolve();
      return 'done';
    }),
  );
  controller.abort(reason);
  expect(await rejection(first)).toBe(reason);
  expect(await Promise.all(others)).toEqual(['done', 'done', 'done']);
  expect(count).toBe(1);
});

test('what is aborted before it starts does no work', async () => {
  const flights = new SingleFlight<string>();
  const reason = new Error('not today');
  const call = flights.do('a', () => Promise.reject(new Error('never called')), AbortSignal.abort(reason));
  expect(await rejection(call)).toBe(reason);
});
