import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { get, openTestClient, textOf } from '../support/http.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';

const times = (count: number, row: Row): Row[] => Array.from({ length: count }, () => row);
const body = { size: 4, open: openerOf(Buffer.from('body')) };

test('a GET is repeated after broken connections and answers that mean "not now", with growing pauses', async () => {
  const server = await startScriptedServer(
    ['GET /', { fault: 'reset' }],
    ['GET /', { status: 502, body: '<html>bad gateway</html>' }],
    ['GET /', { status: 503, body: 'x'.repeat(300_000) }],
    ['GET /', { status: 408 }],
    ['GET /', { status: 500, body: 'cut off', fault: 'truncated' }],
    ['GET /', { body: 'at last' }],
  );
  const client = openTestClient();
  expect(await get(client.send, server.url('/'))).toBe('at last');
  expect(client.pausesMs).toEqual([125, 250, 500, 1000, 2000]);
});

test('after six attempts the last answer is passed on', async () => {
  const server = await startScriptedServer(...times(6, ['GET /', { status: 503, body: 'no' }]));
  const client = openTestClient();
  const response = await client.send({ method: 'GET', url: server.url('/') });
  expect(response.status).toBe(503);
  expect(await textOf(response)).toBe('no');
  expect(server.lines).toHaveLength(6);
});

test('after six broken connections the failure says how often it was tried', async () => {
  const server = await startScriptedServer(...times(6, ['GET /', { fault: 'reset' }]));
  const error = await rejection(get(openTestClient().send, server.url('/')));
  expect(error).toMatchObject({ code: 'NETWORK', attempts: 6, method: 'GET', url: `${server.origin}/` });
  expect(server.lines).toHaveLength(6);
});

test.each<['POST' | 'PUT' | 'PATCH' | 'DELETE', Answer]>([
  ['POST', { status: 503 }],
  ['PUT', { status: 500 }],
  ['PATCH', { status: 429, headers: { 'retry-after': '1' } }],
  ['DELETE', { status: 502 }],
])('a %s that was not called repeatable is sent once', async (method, answer) => {
  const server = await startScriptedServer([`${method} /`, answer]);
  const client = openTestClient();
  const response = await client.send({ method, url: server.url('/'), body });
  await response.discard();
  expect(response.status).toBe(answer.status);
  expect(server.lines).toEqual([`${method} /`]);
  expect(client.pausesMs).toEqual([]);
});

test('a PUT that was not called repeatable is not sent again over a broken connection', async () => {
  const server = await startScriptedServer(['PUT /', { fault: 'reset' }]);
  const sending = openTestClient().send({ method: 'PUT', url: server.url('/'), body });
  expect(await rejection(sending)).toMatchObject({ code: 'NETWORK', attempts: 1 });
  expect(server.lines).toEqual(['PUT /']);
});

test('a repeatable PUT is sent again with its body opened anew', async () => {
  const server = await startScriptedServer(['PUT /', { fault: 'reset' }], ['PUT /', { status: 201 }]);
  const open = vi.fn(body.open);
  const response = await openTestClient().send({
    method: 'PUT',
    url: server.url('/'),
    body: { size: 4, open },
    repeatable: true,
  });
  await response.discard();
  expect(response.status).toBe(201);
  expect(open).toHaveBeenCalledTimes(2);
  expect(server.requests.map((request) => request.body.toString())).toEqual(['body', 'body']);
});

test.each([400, 401, 403, 404, 405, 409, 413, 416, 422, 501])('%i is final', async (status) => {
  const server = await startScriptedServer(['GET /', { status }]);
  const response = await openTestClient().send({ method: 'GET', url: server.url('/') });
  await response.discard();
  expect(response.status).toBe(status);
  expect(server.lines).toHaveLength(1);
});

test('Retry-After in seconds is a floor under the pause', async () => {
  const server = await startScriptedServer(
    ['GET /', { status: 429, headers: { 'retry-after': '7' } }],
    ['GET /', { status: 503, headers: { 'retry-after': ' 3 ' } }],
    ['GET /', {}],
  );
  const client = openTestClient();
  await get(client.send, server.url('/'));
  expect(client.pausesMs).toEqual([7125, 3250]);
});

test('Retry-After as a date is a floor under the pause, and a past one is none', async () => {
  const now = Math.floor(Date.now() / 1000) * 1000;
  vi.useFakeTimers({ toFake: ['Date'], now });
  const server = await startScriptedServer(
    ['GET /', { status: 429, headers: { 'retry-after': new Date(now + 60_000).toUTCString() } }],
    ['GET /', { status: 429, headers: { 'retry-after': new Date(now - 60_000).toUTCString() } }],
    ['GET /', { status: 429, headers: { 'retry-after': 'some day' } }],
    ['GET /', {}],
  );
  const client = openTestClient();
  try {
    await get(client.send, server.url('/'));
  } finally {
    vi.useRealTimers();
  }
  expect(client.pausesMs).toEqual([60_125, 250, 500]);
});

test('a server that asks for more than five minutes gets its answer passed on', async () => {
  const server = await startScriptedServer(['GET /', { status: 429, headers: { 'retry-after': '301' } }]);
  const client = openTestClient();
  const response = await client.send({ method: 'GET', url: server.url('/') });
  await response.discard();
  expect(response.status).toBe(429);
  expect(client.pausesMs).toEqual([]);
});

test('an abort during a pause rejects with the reason given', async () => {
  const server = await startScriptedServer(['GET /', { status: 429, headers: { 'retry-after': '200' } }]);
  const controller = new AbortController();
  const reason = new Error('enough');
  // The clock that users have: `undefined` stands for none given.
  const client = openTestClient({
    sleep: undefined as never,
    random: () => {
      setImmediate(() => {
        controller.abort(reason);
      });
      return 0;
    },
  });
  const error = await rejection(get(client.send, server.url('/'), { signal: controller.signal }));
  expect(error).toBe(reason);
  expect(server.lines).toHaveLength(1);
});

test('a port where nobody listens is told at once', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const client = openTestClient();
  const error = await rejection(get(client.send, new URL(`http://127.0.0.1:${port}/`)));
  expect(error).toMatchObject({ code: 'NETWORK', attempts: 1, cause: { code: 'ECONNREFUSED' } });
  expect(String(error)).toContain('ECONNREFUSED');
  expect(client.pausesMs).toEqual([]);
});

test('a host name that nobody knows is told at once', async () => {
  const client = openTestClient();
  // Too long a label for any name server to be asked.
  const error = await rejection(get(client.send, new URL(`http://${'a'.repeat(64)}.invalid/`)));
  expect(error).toMatchObject({ code: 'NETWORK', attempts: 1, cause: { code: 'ENOTFOUND' } });
  expect(client.pausesMs).toEqual([]);
});

test('a server without TLS is told at once, with what may help', async () => {
  const server = await startScriptedServer();
  const client = openTestClient();
  const error = await rejection(get(client.send, new URL(`https://${server.host}/`)));
  expect(error).toMatchObject({
    code: 'NETWORK',
    attempts: 1,
    hint: expect.stringContaining('--plain-http') as string,
  });
  expect(client.pausesMs).toEqual([]);
});
