import { onTestFinished } from 'vitest';
import { openHttpClient, type HttpClientOptions } from '#ferry/http/client.js';
import type { HttpRequest, HttpResponse, Send } from '#ferry/http/send.js';
import { collect, openerOf } from '#ferry/io/bytes.js';

/** The whole HTTP stack, with time and chance in the test's hands. */
export interface TestClient {
  readonly send: Send;
  /** Pauses before repeated requests; none of them is waited for. */
  readonly pausesMs: number[];
  /** What goes to clients that pause by themselves. */
  readonly retry: Required<Pick<HttpClientOptions, 'sleep' | 'random' | 'now'>>;
}

/** Opens a client that goes away with the test. Half of each back-off is waited, in thought. */
export function openTestClient(options: Partial<HttpClientOptions> = {}): TestClient {
  const pausesMs: number[] = [];
  let sleptMs = 0;
  const retry = {
    now: () => performance.now() + sleptMs,
    sleep: (ms: number): Promise<void> => {
      pausesMs.push(ms);
      sleptMs += ms;
      return Promise.resolve();
    },
    random: () => 0.5,
  };
  const client = openHttpClient({ userAgent: 'ferry-test/1', ...retry, ...options });
  onTestFinished(async () => client[Symbol.asyncDispose]());
  return { send: client.send, pausesMs, retry };
}

/** Sends a GET and reads what comes. */
export async function get(send: Send, url: URL, more: Partial<HttpRequest> = {}): Promise<string> {
  return textOf(await send({ method: 'GET', url, ...more }));
}

/** The body of an answer. */
export async function textOf(response: HttpResponse): Promise<string> {
  return Buffer.from(await collect(response.body, 1_000_000, 'test answer')).toString();
}

/** Everything of an error that could be printed: messages, JSON and own properties, of its causes too. */
export function everythingOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = Object.getOwnPropertyNames(error)
    .filter((name) => name !== 'cause')
    .map((name) => JSON.stringify((error as unknown as Record<string, unknown>)[name]));
  return [error.message, JSON.stringify(error), ...own, everythingOf(error.cause)].join('\n');
}

/** An answer without a server. */
export function answerOf(
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body: string | Uint8Array = '',
): HttpResponse {
  return {
    status,
    url: new URL('https://registry.example/'),
    header: (name) => headers[name],
    body: openerOf(Buffer.from(body))(),
    discard: () => Promise.resolve(),
  };
}
