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

/** Bytes of any length that count how often they are open. */
export function openedBytes(size: number) {
  const state = { opened: 0, disposed: 0, reads: 0 };
  const byteAt = (position: number): number => (position * 7 + (position >> 8)) & 0xff;
  return {
    state,
    byteAt,
    bytes: (start: number, end: number) =>
      Buffer.from(Array.from({ length: end - start }, (_, i) => byteAt(start + i))),
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
              for (let index = 0; index < count; index += 1) target[index] = byteAt(position + index);
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
