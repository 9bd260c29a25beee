import { setTimeout as delay } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { listenTo } from '../support/gateway-listener.js';
import { connectRaw } from '../support/raw-client.js';

const HOST = 'Host: a\r\n';

test.each([
  ['no HTTP at all', 'hello\r\n\r\n', 400],
  ['TLS on a plain port', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
  ['a byte that is no ASCII', `GET /\xff HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a body with a length', `POST / HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`, 413],
  [
    'a body in chunks',
    `PUT / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
    413,
  ],
  ['a GET with a body', `GET / HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`, 413],
  ['two lengths', `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx`, 400],
  [
    'length and chunks',
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    400,
  ],
  ['a length that is none', `POST / HTTP/1.1\r\n${HOST}Content-Length: -1\r\n\r\n`, 400],
  ['an expectation', `PUT / HTTP/1.1\r\n${HOST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`, 417],
  ['another expectation', `GET / HTTP/1.1\r\n${HOST}Expect: miracles\r\n\r\n`, 417],
  ['TRACE', `TRACE / HTTP/1.1\r\n${HOST}\r\n`, 405],
  ['a method of no standard', `HACK / HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a long URL', `GET /${'a'.repeat(9000)} HTTP/1.1\r\n${HOST}\r\n`, 414],
  ['a very long URL', `GET /${'a'.repeat(60_000)} HTTP/1.1\r\n${HOST}\r\n`, 414],
  ['long headers', `GET / HTTP/1.1\r\n${HOST}X: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
  ['many headers', `GET / HTTP/1.1\r\n${HOST}${'a: b\r\n'.repeat(20_000)}\r\n`, 431],
  ['a header with a break in it', `GET / HTTP/1.1\r\n${HOST}X: a\rb\r\n\r\n`, 400],
  ['a zero byte in a header', `GET / HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n`, 400],
  ['a target that is no path', `GET nothing HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a backslash', `GET /a\\..\\b HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['another scheme', `GET file:///etc/passwd HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a star', `GET * HTTP/1.1\r\n${HOST}\r\n`, 400],
  ['a question about everything', `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, 204],
])('%s is refused without a handler, and the connection closed', async (_what, request, status) => {
  const { url, asked, answered, failures } = await listenTo(() => new Response('asked'));
  const client = await connectRaw(url);
  client.send(request);
  const text = await client.ended();
  expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
  expect(text).toMatch(/x-content-type-options: nosniff\r\n/i);
  expect(text).toMatch(/connection: close\r\n/i);
  expect([asked, failures]).toEqual([[], []]);
  await vi.waitFor(() => {
    expect(answered.map((event) => event.status)).toEqual([status]);
  });
});

test('CONNECT gets nothing', async () => {
  const { url, asked } = await listenTo(() => new Response('asked'));
  const client = await connectRaw(url);
  client.send('CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n');
  expect(await client.ended()).toBe('');
  expect(asked).toEqual([]);
});

test('another protocol is not spoken, and the connection closed after the answer', async () => {
  const { url } = await listenTo(() => new Response('plain', { headers: { 'cache-control': 'max-age=60' } }));
  for (let time = 0; time < 2; time += 1) {
    const client = await connectRaw(url);
    client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
    const text = await client.ended();
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(text).toMatch(/connection: close\r\n/i);
  }
});

test.each([
  ['/a/b?c=d', '/a/b?c=d'],
  ['http://evil.test/a?b', '/a?b'],
  ['https://user:secret@evil.test:1/a', '/a'],
  ['HTTP://evil.test', '/'],
  ['http://evil.test?q', '/?q'],
  ['//evil.test/a', '//evil.test/a'],
  ['/a/../../b', '/b'],
  ['/%2e%2e/b', '/b'],
  ['/a%2f..%2fb', '/a%2f..%2fb'],
  ['/%', '/%'],
  ['/%zz', '/%zz'],
  ['/a|b"<>^`{}', '/a|b%22%3C%3E^%60%7B%7D'],
  ['/?', '/?'],
  ['/@a:b', '/@a:b'],
  ['/:80', '/:80'],
])('the target %j is read as %j, under our own name', async (target, path) => {
  const { url, asked } = await listenTo(() => new Response('ok'));
  const client = await connectRaw(url);
  client.send(`GET ${target} HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n`);
  expect(await client.ended()).toMatch(/^HTTP\/1\.1 200 /);
  expect(asked.map((request) => request.url)).toEqual([`${url}${path}`]);
});

test.each(['a b', '[', 'user@host', 'a/b', '1.2.3.4.5:99999999', ''])(
  'whatever the Host header says, as %j, it is an answer below 500',
  async (host) => {
    const { url, failures } = await listenTo((request) => new Response(request.url));
    const client = await connectRaw(url);
    client.send(`GET /a HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    const text = await client.ended();
    expect(text).toMatch(/^HTTP\/1\.1 [24]/);
    if (text.startsWith('HTTP/1.1 2')) expect(text).toContain(`${url}/a`);
    expect(failures).toEqual([]);
  },
);

test('whoever is slow with headers, or silent, is closed', async () => {
  const { url, listener } = await listenTo(() => new Response('ok'), {
    limits: { headersTimeoutMs: 400, keepAliveTimeoutMs: 400 },
  });
  const slow = await connectRaw(url);
  slow.send('GET / HTTP/1.1\r\nHost: a\r\nX');
  const silent = await connectRaw(url);
  const idle = await connectRaw(url);
  idle.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const started = performance.now();
  expect(await slow.ended()).toMatch(/^HTTP\/1\.1 408 /);
  await silent.ended();
  expect(await idle.ended()).toMatch(/^HTTP\/1\.1 200 /);
  expect(performance.now() - started).toBeLessThan(10_000);
  await vi.waitFor(() => {
    expect(listener.connections).toBe(0);
  });
});

test('one connection too many is closed, and told', async () => {
  const { url } = await listenTo(() => new Response('ok'), { limits: { maxConnections: 2 } });
  const first = await connectRaw(url);
  await connectRaw(url);
  const third = await connectRaw(url);
  third.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  expect(await third.ended()).toBe('');
  first.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  expect(await first.ended()).toMatch(/^HTTP\/1\.1 200 /);
});

test('garbage behind a request does not get into its answer', async () => {
  const { url } = await listenTo(async () => {
    await delay(50);
    return new Response('whole');
  });
  const client = await connectRaw(url);
  client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n\x00\x00garbage\r\n\r\n');
  expect(await client.ended()).not.toContain('400');
});

test('a thousand hostile requests leave the server as it was', async () => {
  const { url, listener, failures } = await listenTo(() => new Response('ok'));
  const requests = [
    'GET / HTTP/1.1\r\n\r\n',
    `GET /${'../'.repeat(500)}etc/passwd HTTP/1.1\r\n${HOST}\r\n`,
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 99999999999\r\n\r\nx`,
    `GET /\x01\x7f HTTP/1.1\r\n${HOST}\r\n`,
    'x'.repeat(70_000),
    `GET / HTTP/9.9\r\n${HOST}\r\n`,
    `GET / HTTP/1.1\r\n${HOST}Content-Length: 1, 1\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n`,
    `GET /%00%0d%0aSet-Cookie:%20a HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}Range: bytes=${'0-0,'.repeat(1000)}\r\nConnection: close\r\n\r\n`,
  ];
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(
      requests.flatMap((request) =>
        Array.from({ length: 10 }, async () => {
          const client = await connectRaw(url);
          client.send(request);
          client.socket.end();
          expect(await client.ended()).not.toMatch(/^HTTP\/1\.1 5|set-cookie/i);
        }),
      ),
    );
  }
  expect(failures).toEqual([]);
  await vi.waitFor(() => {
    expect(listener.connections).toBe(0);
  });
  expect(await (await fetch(url)).text()).toBe('ok');
});
