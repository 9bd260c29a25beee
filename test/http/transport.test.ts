import { createReadStream } from 'node:fs';
import { setImmediate as tick } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { collect, openerOf, type OpenBytes } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { get, openTestClient, textOf } from '../support/http.js';
import { startScriptedServer } from '../support/scripted-server.js';

/** Above this a body is streamed. */
const LARGE = 600 * 1024;

/** Opens `count` pieces of 64 KiB. */
function pieces(count: number): OpenBytes {
  return async function* () {
    for (let piece = 0; piece < count; piece += 1) yield await Promise.resolve(Buffer.alloc(65_536, piece));
  };
}

test('says who it is, and asks for bytes as they are', async () => {
  const server = await startScriptedServer(['GET /a?b=c', { body: 'hello' }]);
  expect(await get(openTestClient().send, server.url('/a?b=c'), { headers: { 'x-more': '1' } })).toBe(
    'hello',
  );
  expect(server.requests[0]?.headers).toMatchObject({
    'user-agent': 'ferry-test/1',
    'accept-encoding': 'identity',
    'x-more': '1',
  });
  expect(server.requests[0]?.headers).not.toHaveProperty('authorization');
});

test('calls onRequest for every request that goes out', async () => {
  const server = await startScriptedServer(
    ['GET /', { status: 503 }],
    ['GET /', { status: 302, headers: { location: '/there' } }],
    ['GET /there', {}],
  );
  const seen: string[] = [];
  const client = openTestClient({ onRequest: ({ url }) => seen.push(url.pathname) });
  await get(client.send, server.url('/'));
  expect(seen).toEqual(['/', '/', '/there']);
});

test('several headers of one name are joined', async () => {
  const server = await startScriptedServer(['GET /', { headers: { link: ['<a>', '<b>'] } }]);
  const response = await openTestClient().send({ method: 'GET', url: server.url('/') });
  await response.discard();
  expect(response.header('link')).toBe('<a>, <b>');
  expect(response.header('etag')).toBeUndefined();
});

test.each([
  ['of no bytes', 0],
  ['in one piece', 5],
  ['in a stream', 1_000_003],
])('a body %s is announced with its exact length', async (_, size) => {
  const server = await startScriptedServer(['PUT /', { status: 201 }]);
  const bytes = Buffer.alloc(size, 7);
  const response = await openTestClient().send({
    method: 'PUT',
    url: server.url('/'),
    body: { size, open: openerOf(bytes) },
  });
  await response.discard();
  const [request] = server.requests;
  expect(request?.headers).toMatchObject({ 'content-length': String(size) });
  expect(request?.headers).not.toHaveProperty('transfer-encoding');
  expect(request?.body.equals(bytes)).toBe(true);
});

test.each([
  ['too few bytes', 3, 'abc', 4, 'SIZE_MISMATCH'],
  ['too many bytes', 3, 'abc', 2, 'SIZE_EXCEEDED'],
  ['far too few bytes', LARGE, 'x', LARGE + 1, 'SIZE_MISMATCH'],
  ['far too many bytes', 2 * LARGE, 'x', LARGE, 'SIZE_EXCEEDED'],
])('a body of %s is refused here, not blamed on the network', async (_, length, text, size, code) => {
  const server = await startScriptedServer(['PUT /', { status: 201 }]);
  const open = openerOf(Buffer.from(text.repeat(length / text.length)));
  const sending = openTestClient().send({ method: 'PUT', url: server.url('/'), body: { size, open } });
  expect(await rejection(sending)).toMatchObject({ code });
  // No server ever has a whole request with the wrong bytes.
  expect(server.lines).toEqual([]);
});

test.each([
  ['small', 10],
  ['large', LARGE],
])(
  'what opening a %s body fails with passes unchanged, even if it looks like the network',
  async (_, size) => {
    const server = await startScriptedServer();
    for (const code of ['EISDIR', 'ECONNRESET', 'EMFILE', 'ENOSPC']) {
      const failure = Object.assign(new Error('of the source'), { code });
      const open: OpenBytes = async function* () {
        yield await Promise.resolve(Buffer.alloc(5));
        throw failure;
      };
      const sending = openTestClient().send({
        method: 'PUT',
        url: server.url('/'),
        body: { size, open },
        repeatable: true,
      });
      expect(await rejection(sending)).toBe(failure);
    }
  },
);

test('a real file error passes unchanged', async () => {
  const server = await startScriptedServer();
  const open: OpenBytes = () => createReadStream(import.meta.dirname);
  const sending = openTestClient().send({ method: 'PUT', url: server.url('/'), body: { size: LARGE, open } });
  expect(await rejection(sending)).toMatchObject({ name: 'Error', code: 'EISDIR' });
});

test('a connection that breaks under a body is blamed on the network, not on the body', async () => {
  const server = await startScriptedServer(['PUT /', { fault: 'early', status: 413 }]);
  let isClosed = false;
  const open: OpenBytes = async function* () {
    try {
      for (;;) {
        yield Buffer.alloc(65_536);
        await tick();
      }
    } finally {
      isClosed = true;
    }
  };
  // Either is fair: the answer that was there before the body ended, or the broken connection.
  const outcome = await openTestClient()
    .send({ method: 'PUT', url: server.url('/'), body: { size: 1e12, open } })
    .then(
      async (response) => {
        await response.discard();
        return String(response.status);
      },
      (error: unknown) => (error as { code: string }).code,
    );
  expect(['413', 'NETWORK']).toContain(outcome);
  await expect.poll(() => isClosed).toBe(true);
});

test.each(['truncated', 'reset-in-body'] as const)(
  'a body that ends early (%s) fails its reader',
  async (fault) => {
    const server = await startScriptedServer(['GET /', { body: 'x'.repeat(1000), fault }]);
    const response = await openTestClient().send({ method: 'GET', url: server.url('/') });
    expect(response.status).toBe(200);
    expect(await rejection(textOf(response))).toMatchObject({ code: 'NETWORK', method: 'GET' });
  },
);

test('what is aborted before it starts sends nothing', async () => {
  const server = await startScriptedServer();
  const reason = new Error('not today');
  const sending = get(openTestClient().send, server.url('/'), { signal: AbortSignal.abort(reason) });
  expect(await rejection(sending)).toBe(reason);
  expect(server.lines).toEqual([]);
});

test('an abort while waiting for the answer rejects with the reason given', async () => {
  const controller = new AbortController();
  const reason = new Error('too slow');
  const server = await startScriptedServer([
    'GET /',
    () => {
      controller.abort(reason);
      return { fault: 'silent' };
    },
  ]);
  const sending = get(openTestClient().send, server.url('/'), { signal: controller.signal });
  expect(await rejection(sending)).toBe(reason);
  expect(server.lines).toHaveLength(1);
});

test('an abort in the middle of an answer rejects its reader with the reason given', async () => {
  const controller = new AbortController();
  const reason = 'a reason that is no error';
  const server = await startScriptedServer(['GET /', { body: 'x'.repeat(1000), fault: 'stalled' }]);
  const response = await openTestClient().send({
    method: 'GET',
    url: server.url('/'),
    signal: controller.signal,
  });
  const reading = (async () => {
    for await (const chunk of response.body) if (chunk.byteLength > 0) controller.abort(reason);
  })();
  expect(await rejection(reading)).toBe(reason);
});

test.each([
  ['small', 10],
  ['large', 10 * 65_536],
])('an abort in the middle of a %s body rejects with the reason given', async (_, size) => {
  const server = await startScriptedServer();
  const controller = new AbortController();
  const reason = new Error('enough');
  const open: OpenBytes = async function* ({ signal } = {}) {
    yield await Promise.resolve(Buffer.alloc(5));
    controller.abort(reason);
    if (signal?.aborted === true) throw new Error('an opener of its own mind');
  };
  const { send } = openTestClient();
  const sending = send({
    method: 'PUT',
    url: server.url('/'),
    body: { size, open },
    signal: controller.signal,
  });
  expect(await rejection(sending)).toBe(reason);
});

test('discarding a long body drops its connection, a short one keeps it', async () => {
  const long = 'x'.repeat(1_000_000);
  const server = await startScriptedServer(
    ['GET /', { body: 'short' }],
    ['GET /', { body: long }],
    ['GET /', { body: long, headers: { 'transfer-encoding': 'chunked' } }],
    ['GET /', { body: 'end' }],
  );
  const { send } = openTestClient();
  for (let i = 0; i < 3; i += 1) await (await send({ method: 'GET', url: server.url('/') })).discard();
  expect(await get(send, server.url('/'))).toBe('end');
});

test('a header block of 48 KiB is taken', async () => {
  const server = await startScriptedServer(['GET /', { headers: { location: `/${'x'.repeat(48 * 1024)}` } }]);
  const response = await openTestClient().send({ method: 'GET', url: server.url('/') });
  await response.discard();
  expect(response.header('location')).toHaveLength(48 * 1024 + 1);
});

test('a disposed client sends nothing more, and says so at once', async () => {
  const server = await startScriptedServer();
  const pauses: number[] = [];
  const client = openHttpClient({ userAgent: 'x', sleep: async (ms) => void pauses.push(ms) });
  await client[Symbol.asyncDispose]();
  await expect(get(client.send, server.url('/'))).rejects.toMatchObject({ code: 'NETWORK' });
  expect(pauses).toEqual([]);
});

test('a large body arrives piece by piece as it was', async () => {
  const server = await startScriptedServer(['POST /', {}]);
  const size = 20 * 65_536;
  const response = await openTestClient().send({
    method: 'POST',
    url: server.url('/'),
    body: { size, open: pieces(20) },
  });
  await response.discard();
  const sent = await collect(pieces(20)(), size, 'pieces');
  expect(server.requests[0]?.body.equals(sent)).toBe(true);
});
