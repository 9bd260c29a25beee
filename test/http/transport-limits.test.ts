import { createServer, type ServerResponse } from 'node:http';
import { createServer as createRawServer, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { HttpRequest } from '#ferry/http/send.js';
import { rejection } from '../contracts/artifacts.js';
import { everythingOf, get, openTestClient, textOf } from '../support/http.js';
import { listenHere } from '../support/listen.js';
import { startScriptedServer } from '../support/scripted-server.js';

const put = (url: URL, more: Partial<HttpRequest> = {}): HttpRequest => ({ method: 'PUT', url, ...more });

async function listen(server: Server): Promise<URL> {
  return new URL(`http://${await listenHere(server)}/?sig=canary`);
}

/** Answers every request with small pieces, for as long as anybody listens. */
async function startDripping(bytes: number, everyMs: number): Promise<URL> {
  const drip = (response: ServerResponse): void => {
    response.writeHead(200, { 'content-length': 1e9 });
    const timer = setInterval(() => response.write(Buffer.alloc(bytes)), everyMs);
    response.on('close', () => {
      clearInterval(timer);
    });
  };
  return listen(
    createServer((_, response) => {
      drip(response);
    }),
  );
}

/** Answers every connection with these bytes. */
async function startRaw(text: string): Promise<URL> {
  return listen(
    createRawServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(text));
    }),
  );
}

// undici's own timers are no finer than a second, whatever they are told.
test('a server that does not answer is given up after the time for headers', async () => {
  const server = await startScriptedServer(['PUT /?sig=canary', { fault: 'silent' }]);
  const { send } = openTestClient({ timeouts: { headersMs: 50 } });
  const error = await rejection(send(put(server.url('/?sig=canary'))));
  expect(error).toMatchObject({ code: 'TIMEOUT', attempts: 1, cause: { code: 'UND_ERR_HEADERS_TIMEOUT' } });
  expect(everythingOf(error)).not.toContain('canary');
});

test('an answer that stops in the middle is given up after the idle time', async () => {
  const server = await startScriptedServer(['GET /', { body: 'x'.repeat(1000), fault: 'stalled' }]);
  const response = await openTestClient({ timeouts: { bodyMs: 50 } }).send({
    method: 'GET',
    url: server.url('/'),
  });
  expect(await rejection(textOf(response))).toMatchObject({
    code: 'TIMEOUT',
    cause: { code: 'UND_ERR_BODY_TIMEOUT' },
  });
});

test('an answer that drips is given up though it never stops', async () => {
  const url = await startDripping(10, 5);
  const response = await openTestClient({ timeouts: { windowMs: 60 } }).send({ method: 'GET', url });
  const error = await rejection(textOf(response));
  expect(error).toMatchObject({ code: 'TIMEOUT', method: 'GET', cause: { code: 'ESLOW' } });
  expect(everythingOf(error)).not.toContain('canary');
});

test('an answer that brings enough in every window is not given up', async () => {
  // Far more than the least, however slow this machine is just now.
  const url = await startDripping(1024 * 1024, 1);
  const response = await openTestClient({ timeouts: { windowMs: 5 } }).send({ method: 'GET', url });
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > 20 * 1024 * 1024) break;
  }
  expect(size).toBeGreaterThan(20 * 1024 * 1024);
});

test('a slow reader is not taken for a slow server', async () => {
  const server = await startScriptedServer(['GET /', { body: Buffer.alloc(300_000, 'x') }]);
  const { send } = openTestClient({ timeouts: { windowMs: 200, bodyMs: 200 } });
  const response = await send({ method: 'GET', url: server.url('/') });
  let size = 0;
  for await (const chunk of response.body) {
    if (size === 0) await delay(300);
    size += chunk.byteLength;
  }
  expect(size).toBe(300_000);
});

test.each(['silent', 'stalled'] as const)(
  'a time limit ends the whole of an answer that is %s',
  async (fault) => {
    const server = await startScriptedServer(['PUT /', { body: 'x'.repeat(100), fault }]);
    const { send } = openTestClient();
    const whole = send(put(server.url('/'), { timeLimitMs: 50 })).then(textOf);
    expect(await rejection(whole)).toMatchObject({ code: 'TIMEOUT', cause: { code: 'ESLOW' } });
  },
);

test('a time limit is one for each attempt, and none is left running after the answer', async () => {
  const server = await startScriptedServer(
    ['GET /', { fault: 'silent' }],
    ['GET /', { body: 'a' }],
    ['GET /', { body: 'b' }],
  );
  const { send } = openTestClient();
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  expect(await get(send, server.url('/'), { timeLimitMs: 80 })).toBe('a');
  const before = timers();
  const response = await send({ method: 'GET', url: server.url('/'), timeLimitMs: 60_000 });
  await response.discard();
  expect(timers()).toBeLessThanOrEqual(before);
});

test('the reason of a caller comes before the time limit of the request', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const server = await startScriptedServer([
    'PUT /',
    () => {
      controller.abort(reason);
      return { fault: 'silent' };
    },
  ]);
  const sending = openTestClient().send(
    put(server.url('/'), { timeLimitMs: 10_000, signal: controller.signal }),
  );
  expect(await rejection(sending)).toBe(reason);
});

test.each([
  [200, 'gzip'],
  [200, 'br, gzip'],
  [206, 'zstd'],
])('CVE-2026-22036: %i in an encoding that nobody asked for (%s) is refused', async (status, encoding) => {
  const headers = { 'content-encoding': encoding };
  const server = await startScriptedServer(
    ['GET /?sig=canary', { status, headers, body: 'encoded' }],
    ['GET /', { body: 'plain' }],
  );
  const { send } = openTestClient();
  const error = await rejection(get(send, server.url('/?sig=canary')));
  expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(everythingOf(error)).not.toContain('canary');
  expect(await get(send, server.url('/'))).toBe('plain');
});

test('an encoding of 5000 characters is not repeated in full', async () => {
  const server = await startScriptedServer(['GET /', { headers: { 'content-encoding': 'x'.repeat(5000) } }]);
  const error = await rejection(get(openTestClient().send, server.url('/')));
  expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(String(error).length).toBeLessThan(200);
});

test.each([
  [200, 'identity'],
  [200, ' Identity '],
  [200, ''],
  [404, 'gzip'],
])('%i with the encoding %j passes', async (status, encoding) => {
  const server = await startScriptedServer([
    'GET /',
    { status, headers: { 'content-encoding': encoding }, body: 'bytes' },
  ]);
  expect(await get(openTestClient().send, server.url('/'))).toBe('bytes');
});

test.each([
  ['two lengths (CVE-2026-1525)', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!'],
  [
    'a length and chunks',
    'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['a megabyte of headers', `HTTP/1.1 200 OK\r\n${`x: ${'y'.repeat(1000)}\r\n`.repeat(1000)}\r\n`],
])('an answer with %s is a failure of the network', async (_, text) => {
  const url = await startRaw(text);
  const error = await rejection(openTestClient().send(put(url)).then(textOf));
  expect(error).toMatchObject({ code: 'NETWORK' });
  expect(everythingOf(error)).not.toContain('canary');
});
