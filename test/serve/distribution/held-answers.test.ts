import { expect, test } from 'vitest';
import { HeldAnswers } from '#ferry/serve/distribution/held-answers.js';
import { rejection } from '../../contracts/artifacts.js';
import { createGate } from '../../support/gate.js';

/** Answers of ten bytes each, and a clock in the test's hands. */
function held(maxBytes = 10_000): { readonly answers: HeldAnswers<string>; readonly clock: { ms: number } } {
  const clock = { ms: 0 };
  const answers = new HeldAnswers<string>({
    maxAgeMs: (answer) => (answer === 'lasting' ? Infinity : 100),
    bytesOf: () => 10,
    maxBytes,
    timeLimitMs: 50,
    now: () => clock.ms,
  });
  return { answers, clock };
}

test('many at once are one question, and later ones none until it is old', async () => {
  const { answers, clock } = held();
  const gate = createGate();
  let asked = 0;
  const load = async (): Promise<string> => {
    asked += 1;
    await gate.passed;
    return `answer ${asked}`;
  };
  const all = Array.from({ length: 200 }, () => answers.get('a', load));
  gate.open();
  expect(new Set(await Promise.all(all))).toEqual(new Set(['answer 1']));
  clock.ms = 99;
  expect(await answers.get('a', load)).toBe('answer 1');
  clock.ms = 100;
  expect(await answers.get('a', load)).toBe('answer 2');
});

test('each answer has its own age', async () => {
  const { answers, clock } = held();
  await answers.get('a', () => Promise.resolve('lasting'));
  clock.ms = 1e12;
  expect(await answers.get('a', () => Promise.resolve('new'))).toBe('lasting');
});

test('a failure is not held', async () => {
  const { answers } = held();
  expect(await rejection(answers.get('a', () => Promise.reject(new Error('no'))))).toEqual(new Error('no'));
  expect(await answers.get('a', () => Promise.resolve('yes'))).toBe('yes');
});

test('a store that never answers, and heeds no signal, is left after a while', async () => {
  const { answers } = held();
  const never = new Promise<string>(() => undefined);
  expect(await rejection(answers.get('a', () => never))).toMatchObject({ name: 'TimeoutError' });
  expect(await answers.get('a', () => Promise.resolve('yes'))).toBe('yes');
});

test('the least used make room, and what is too large is not held at all', async () => {
  const { answers } = held(3 * 523);
  const asked: string[] = [];
  const get = async (key: string): Promise<string> =>
    answers.get(key, () => {
      asked.push(key);
      return Promise.resolve(key);
    });
  for (const key of ['a', 'b', 'c', 'a', 'd', 'a', 'c', 'b']) await get(key);
  expect(asked).toEqual(['a', 'b', 'c', 'd', 'b']);
  const small = held(100).answers;
  small.put('x', 'too large');
  expect(await small.get('x', () => Promise.resolve('asked again'))).toBe('asked again');
});
