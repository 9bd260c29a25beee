import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { listenTo, openedBytes } from '../support/gateway-listener.js';
import { connectRaw } from '../support/raw-client.js';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

test('closing ends idle connections at once, and takes no new ones', async () => {
  const { listener, url } = await listenTo(() => new Response('ok'));
  const used = await connectRaw(url);
  used.send(GET);
  await used.received(/ok$/);
  const silent = await connectRaw(url);
  const started = performance.now();
  await listener.close(30_000);
  await Promise.all([used.ended(), silent.ended()]);
  expect(performance.now() - started).toBeLessThan(5000);
  await expect(fetch(url)).rejects.toThrow();
});

test('an answer under way ends, says that the connection does, and is waited for', async () => {
  let isDone = false;
  const { listener, url, asked } = await listenTo(async () => {
    await delay(300);
    isDone = true;
    return new Response('ok');
  });
  const client = await connectRaw(url);
  client.send(GET);
  await vi.waitFor(() => {
    expect(asked).toHaveLength(1);
  });
  await listener.close(30_000);
  expect(isDone).toBe(true);
  expect(await client.ended()).toMatch(/connection: close\r\n.*ok$/is);
});

test('content that is being sent is sent to its end', async () => {
  const content = openedBytes(16 * 1024 * 1024);
  const { listener, url } = await listenTo(() => content.respond());
  const client = await connectRaw(url);
  client.socket.pause();
  client.send(GET);
  await vi.waitFor(() => {
    expect(content.state.reads).toBeGreaterThan(0);
  });
  const closing = listener.close(30_000);
  await delay(100);
  client.socket.resume();
  expect((await client.ended()).split('\r\n\r\n', 2)[1]).toHaveLength(16 * 1024 * 1024);
  await closing;
  expect(content.state).toMatchObject({ opened: 1, disposed: 1 });
});

test('what takes longer than the grace is cut, and nothing is left open', async () => {
  const content = openedBytes(64 * 1024 * 1024);
  let aborted = false;
  const { listener, url, asked } = await listenTo(async (request) => {
    if (!request.url.endsWith('/waits')) return content.respond();
    await once(request.signal, 'abort');
    aborted = true;
    throw request.signal.reason;
  });
  const client = await connectRaw(url);
  client.socket.pause();
  client.send(GET);
  const waiting = await connectRaw(url);
  waiting.send('GET /waits HTTP/1.1\r\nHost: a\r\n\r\n');
  await vi.waitFor(() => {
    expect(asked).toHaveLength(2);
  });
  const started = performance.now();
  await listener.close(200);
  expect(performance.now() - started).toBeLessThan(5000);
  expect([listener.connections, aborted, content.state.disposed]).toEqual([0, true, 1]);
});

test('a handler that heeds nothing does not keep it from closing', async () => {
  const { listener, url, asked } = await listenTo(() => new Promise(() => undefined));
  const client = await connectRaw(url);
  client.send(GET);
  await vi.waitFor(() => {
    expect(asked).toHaveLength(1);
  });
  await Promise.all([listener.close(10_000), listener.close(50)]);
  expect(listener.connections).toBe(0);
});
