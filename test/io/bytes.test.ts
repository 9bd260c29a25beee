import { expect, test } from 'vitest';
import { collect, noteFailure, openerOf, type Bytes, type NotedFailure } from '#ferry/io/bytes.js';
import { readAll, rejection } from '../contracts/artifacts.js';

async function* chunksOf(...texts: string[]): Bytes {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text));
}

test('an opener gives the same bytes each time, from any offset', async () => {
  const open = openerOf(Buffer.from('0123456789'));
  for (const offset of [undefined, 0, 3, 9, 10, 99]) {
    expect(String(await readAll(open({ offset })))).toBe('0123456789'.slice(offset ?? 0));
  }
  const reason = new Error('enough');
  expect(await rejection(readAll(open({ signal: AbortSignal.abort(reason) })))).toBe(reason);
});

test('collect takes as many bytes as allowed, and refuses one more without reading on', async () => {
  const take = (source: Bytes, maxBytes: number): Promise<Uint8Array> =>
    collect(source, maxBytes, 'the list');
  expect(String(await take(chunksOf('01', '', '234'), 5))).toBe('01234');
  expect(String(await take(chunksOf('01234'), 5))).toBe('01234');
  expect(await take(chunksOf(), 0)).toHaveLength(0);
  let isClosed = false;
  const endless = (async function* (): Bytes {
    try {
      for (;;) yield await Promise.resolve(Buffer.alloc(2));
    } finally {
      isClosed = true;
    }
  })();
  const error = await rejection(take(endless, 5));
  expect(error).toMatchObject({ code: 'SIZE_EXCEEDED', expected: '5', actual: '6' });
  expect(String(error)).toContain('the list');
  expect(isClosed).toBe(true);
});

test('noteFailure notes what the bytes fail with, and nothing of who takes them', async () => {
  const noted: NotedFailure = {};
  const failure = new Error('of the source');
  const failing = noteFailure(async function* () {
    yield await Promise.resolve(Buffer.from('x'));
    throw failure;
  }, noted);
  expect(await rejection(readAll(failing))).toBe(failure);
  expect(noted.error).toBe(failure);

  const calm: NotedFailure = {};
  const taking = (async () => {
    for await (const chunk of noteFailure(() => chunksOf('x', 'y'), calm)) throw new Error(String(chunk));
  })();
  expect(await rejection(taking)).toBeInstanceOf(Error);
  expect(calm).toEqual({});
});
