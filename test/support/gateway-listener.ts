import type { Answered } from '#ferry/serve/listen/listen-reporter.js';
import { listen, type Listener, type ListenOptions } from '#ferry/serve/listen/listener.js';
import { contentResponse } from '#ferry/serve/reply/content-body.js';
import { onTestFinished } from 'vitest';

/** A gateway's server, and what it told. */
export interface TestListener {
  readonly listener: Listener;
  readonly url: string;
  readonly answered: Answered[];
  readonly failures: unknown[];
  /** How often handlers were asked. */
  readonly asked: Request[];
}

/** Serves `fetch` on a free port of loopback until the test ends. */
export async function listenTo(
  fetch: ListenOptions['fetch'],
  options: Partial<Pick<ListenOptions, 'limits' | 'tls'>> = {},
): Promise<TestListener> {
  const answered: Answered[] = [];
  const failures: unknown[] = [];
  const asked: Request[] = [];
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    fetch: (request) => {
      asked.push(request);
      return fetch(request);
    },
    reporter: {
      answered: (event) => answered.push(event),
      failed: ({ error }) => failures.push(error),
    },
    ...options,
  });
  onTestFinished(() => listener.close(0));
  return { listener, url: listener.url, answered, failures, asked };
}

// Repeats after 64 KiB.
const PATTERN = Buffer.from(Array.from({ length: 2 * 65_536 }, (_, at) => (at * 7 + (at >> 8)) & 0xff));

/** Bytes of any length that count how often they are open. */
export function openedBytes(size: number) {
  const state = { opened: 0, disposed: 0, reads: 0 };
  const fill = (target: Uint8Array, position: number): void => {
    for (let at = 0; at < target.byteLength; at += 65_536) {
      const begin = (position + at) % 65_536;
      target.set(PATTERN.subarray(begin, begin + Math.min(65_536, target.byteLength - at)), at);
    }
  };
  return {
    state,
    bytes: (start: number, end: number) => {
      const target = Buffer.alloc(end - start);
      fill(target, start);
      return target;
    },
    /** An answer with a part of them. */
    respond: (start = 0, end = size, init: ResponseInit = {}, readable = size): Response => {
      state.opened += 1;
      return contentResponse(
        {
          opened: {
            size,
            read: async (target, position) => {
              state.reads += 1;
              const count = Math.max(0, Math.min(target.byteLength, readable - position));
              fill(target.subarray(0, count), position);
              return count;
            },
            [Symbol.asyncDispose]: async () => {
              state.disposed += 1;
            },
          },
          start,
          end,
        },
        init,
      );
    },
  };
}
