import { expect, test } from 'vitest';
import { rejection } from '../contracts/artifacts.js';
import { get, openTestClient, textOf } from '../support/http.js';
import { startScriptedServer, type Fault } from '../support/scripted-server.js';

/** `bufferUpTo`: documents are read whole, within the retries. */

const DOCUMENT = 'a document that is longer than a few bytes';

test.each<Fault>(['truncated', 'reset-in-body'])(
  'a document that breaks off (%s) is fetched again from its start',
  async (fault) => {
    const server = await startScriptedServer(
      ['GET /', { body: DOCUMENT, fault }],
      ['GET /', { body: DOCUMENT }],
    );
    const { send, pausesMs } = openTestClient();
    expect(await get(send, server.url('/'), { bufferUpTo: 1000 })).toBe(DOCUMENT);
    expect(server.requests.map(({ headers }) => headers.range)).toEqual([undefined, undefined]);
    expect(pausesMs).toEqual([250]);
  },
);

test('one that breaks off every time is a failure of the network', async () => {
  const row = ['GET /', { body: DOCUMENT, fault: 'truncated' }] as const;
  const server = await startScriptedServer(...Array.from({ length: 8 }, () => row));
  const { send } = openTestClient();
  expect(await rejection(get(send, server.url('/'), { bufferUpTo: 1000 }))).toMatchObject({
    code: 'NETWORK',
    attempts: 8,
  });
});

test('one that is too large is refused at once, and its connection is free again', async () => {
  const server = await startScriptedServer(
    ['GET /?secret=s3cret', { body: 'x'.repeat(300_000) }],
    ['GET /next', { body: 'next' }],
  );
  const { send } = openTestClient();
  const error = await rejection(get(send, server.url('/?secret=s3cret'), { bufferUpTo: 1000 }));
  expect(error).toMatchObject({
    code: 'SIZE_EXCEEDED',
    message: `the answer to GET ${server.origin}/?secret=*** has more than the allowed 1000 bytes`,
  });
  expect(server.lines).toHaveLength(1);
  // With one place at the host, this would wait for ever.
  for (let i = 0; i < 40; i += 1) {
    server.expect(['GET /large', { body: 'x'.repeat(2000) }]);
    await rejection(get(send, server.url('/large'), { bufferUpTo: 1000 }));
  }
  expect(await get(send, server.url('/next'))).toBe('next');
});

test('one of just the size is taken', async () => {
  const server = await startScriptedServer(['GET /', { body: DOCUMENT }]);
  const bufferUpTo = DOCUMENT.length;
  expect(await get(openTestClient().send, server.url('/'), { bufferUpTo })).toBe(DOCUMENT);
});

test('errors are passed on as they are, whatever their size', async () => {
  const body = 'e'.repeat(5000);
  const server = await startScriptedServer(['GET /', { status: 404, body }]);
  const response = await openTestClient().send({ method: 'GET', url: server.url('/'), bufferUpTo: 1000 });
  expect(response.status).toBe(404);
  expect(await textOf(response)).toBe(body);
});

test('headers and place of a document are those of its answer', async () => {
  const server = await startScriptedServer(
    ['GET /', { status: 302, headers: { location: '/there' } }],
    ['GET /there', { headers: { etag: '"1"' }, body: DOCUMENT }],
  );
  const response = await openTestClient().send({ method: 'GET', url: server.url('/'), bufferUpTo: 1000 });
  expect(response.header('etag')).toBe('"1"');
  expect(response.url.pathname).toBe('/there');
  await response.discard();
});
