import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { noteAnswer } from '#ferry/serve/listen/answer-note.js';
import { listen } from '#ferry/serve/listen/listener.js';
import { Agent, fetch as undiciFetch } from 'undici';
import { expect, test, vi } from 'vitest';
import { listenTo, openedBytes } from '../support/gateway-listener.js';
import { connectRaw } from '../support/raw-client.js';
import { createAuthority } from '../support/tls.js';

/** Never answers. */
async function untilAborted(signal: AbortSignal): Promise<Response> {
  await once(signal, 'abort');
  throw signal.reason;
}

const MIB = 1024 * 1024;
const FRESH = { 'cache-control': 'public, max-age=60' };

test('opened bytes are sent as they are, large and small, whole and in part', async () => {
  const content = openedBytes(2 * MIB + 123);
  const { url } = await listenTo((request) => {
    const [start, end] = new URL(request.url).pathname.slice(1).split('-').map(Number);
    return content.respond(start, end);
  });
  for (const [start, end] of [
    [0, 2 * MIB + 123],
    [0, 0],
    [5, 6],
    [1, 64 * 1024 + 1],
    [MIB - 1, 2 * MIB],
    [100, 65_637],
  ] as const) {
    const response = await fetch(`${url}/${String(start)}-${String(end)}`);
    const body = Buffer.from(await response.arrayBuffer());
    expect(response.headers.get('content-length')).toBe(String(end - start));
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(body.equals(content.bytes(start, end))).toBe(true);
  }
  await vi.waitFor(() => {
    expect(content.state.disposed).toBe(content.state.opened);
  });
});

test('HEAD has the headers and no body, and leaves nothing open', async () => {
  const content = openedBytes(MIB);
  const { url, answered } = await listenTo((request) =>
    request.url.endsWith('/stream')
      ? new Response('text', { headers: { 'content-length': '4' } })
      : content.respond(),
  );
  const client = await connectRaw(url);
  client.send('HEAD /content HTTP/1.1\r\nHost: a\r\n\r\n');
  expect(await client.received(/\r\n\r\n$/)).toMatch(/content-length: 1048576\r\n/i);
  client.send('HEAD /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  expect(await client.ended()).toMatch(/content-length: 4\r\n.*\r\n\r\n$/is);
  expect(content.state).toMatchObject({ opened: 1, disposed: 1, reads: 0 });
  expect(answered.map(({ method, status, bytes, isWhole }) => [method, status, bytes, isWhole])).toEqual([
    ['HEAD', 200, 0, true],
    ['HEAD', 200, 0, true],
  ]);
});

test('a 304 of opened bytes has no body', async () => {
  const content = openedBytes(MIB);
  const { url } = await listenTo(() => content.respond(0, MIB, { status: 200 }));
  const { url: other } = await listenTo(() => new Response(null, { status: 304, headers: { etag: '"a"' } }));
  expect((await fetch(url)).status).toBe(200);
  const response = await fetch(other);
  expect([response.status, response.headers.get('etag'), await response.text()]).toEqual([304, '"a"', '']);
});

test('short streams get a length; long ones come as they are made, and in order', async () => {
  const chunks = Array.from({ length: 40 }, (_, index) => Buffer.alloc(10_000, index));
  const { url } = await listenTo((request) => {
    if (request.url.endsWith('/short')) return new Response('short');
    let index = 0;
    return new Response(
      new ReadableStream({
        async pull(controller) {
          if (index % 7 === 3) await delay(1);
          const chunk = chunks[index];
          index += 1;
          if (chunk === undefined) controller.close();
          else controller.enqueue(chunk);
        },
      }),
    );
  });
  expect((await fetch(`${url}/short`)).headers.get('content-length')).toBe('5');
  const long = await fetch(`${url}/long`);
  expect(Buffer.from(await long.arrayBuffer()).equals(Buffer.concat(chunks))).toBe(true);
});

test('a handler that throws is a 500 that says nothing, and a failure that is told', async () => {
  const { url, failures, answered } = await listenTo((request) => {
    if (request.url.endsWith('/sync')) throw new Error('secret');
    return Promise.reject(new Error('secret'));
  });
  for (const path of ['sync', 'async']) {
    const response = await fetch(`${url}/${path}`);
    expect(response.status).toBe(500);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await response.text()).toMatch(/^internal error, request \S+\n$/);
  }
  expect(failures).toHaveLength(2);
  await vi.waitFor(() => {
    expect(answered.map(({ status }) => status)).toEqual([500, 500]);
  });
});

test('bytes that end early never look whole', async () => {
  const content = openedBytes(2 * MIB);
  const { url, failures, answered } = await listenTo((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/large') return content.respond(0, 2 * MIB, {}, MIB);
    if (pathname === '/small') return content.respond(0, 1000, {}, 10);
    const body = new ReadableStream({
      async pull(controller) {
        await delay(5);
        if (pathname === '/broken') controller.error(new Error('broken'));
        else controller.close();
      },
      start(controller) {
        controller.enqueue(Buffer.alloc(100_000));
      },
    });
    return new Response(body, { headers: { 'content-length': '200000' } });
  });
  await expect(fetch(`${url}/large`).then((response) => response.arrayBuffer())).rejects.toThrow();
  expect((await fetch(`${url}/small`)).status).toBe(500);
  await expect(fetch(`${url}/broken`).then((response) => response.arrayBuffer())).rejects.toThrow();
  await expect(fetch(`${url}/short`).then((response) => response.arrayBuffer())).rejects.toThrow();
  await vi.waitFor(() => {
    expect(answered.map(({ isWhole }) => isWhole)).toEqual([false, true, false, false]);
  });
  expect(failures).toHaveLength(4);
  expect(content.state.disposed).toBe(2);
});

test('a stream that is longer than its headers say is cut before the next answer is forged', async () => {
  const { url, failures } = await listenTo(
    () =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            await delay(2);
            controller.enqueue(Buffer.from(`${'x'.repeat(70_000)}HTTP/1.1 200 OK\r\n\r\n`));
          },
        }),
        { headers: { 'content-length': '70000' } },
      ),
  );
  const client = await connectRaw(url);
  client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  expect(await client.ended()).not.toContain('HTTP/1.1 200 OK\r\n\r\n');
  expect(failures).toHaveLength(1);
});

test('a client that goes away is no failure, and what was opened is disposed of', async () => {
  const content = openedBytes(64 * MIB);
  let aborted = false;
  const { url, failures, answered } = await listenTo(async (request) => {
    if (!request.url.endsWith('/slow')) return content.respond();
    await once(request.signal, 'abort');
    aborted = true;
    throw request.signal.reason;
  });
  for (const path of ['content', 'slow']) {
    const client = await connectRaw(url);
    client.send(`GET /${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    if (path === 'content') await client.received(/\r\n\r\n./s);
    else await delay(50);
    client.socket.destroy();
  }
  await vi.waitFor(() => {
    expect([content.state.disposed, aborted]).toEqual([1, true]);
  });
  await vi.waitFor(() => {
    expect(answered.map(({ isWhole }) => isWhole)).toEqual([false, false]);
  });
  expect(answered.map(({ status }) => status).sort()).toEqual([0, 200]);
  expect(failures).toEqual([]);
});

test('200 clients that take nothing hold a bounded number of buffers, and are cut in the end', async () => {
  const content = openedBytes(64 * MIB);
  const { url, listener } = await listenTo(() => content.respond(), { limits: { stallTimeoutMs: 1500 } });
  const before = process.memoryUsage().arrayBuffers;
  const clients = await Promise.all(Array.from({ length: 200 }, () => connectRaw(url)));
  for (const client of clients) {
    client.socket.pause();
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  }
  await vi.waitFor(
    () => {
      expect(content.state.opened).toBe(200);
    },
    { timeout: 20_000 },
  );
  // What is no longer needed may stay until somebody collects it; it does not grow.
  await vi.waitFor(
    () => {
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * MIB);
    },
    { timeout: 10_000 },
  );
  await vi.waitFor(
    () => {
      expect([content.state.disposed, listener.connections]).toEqual([200, 0]);
    },
    {
      timeout: 30_000,
    },
  );
});

test('a handler may take longer than a client may stall', async () => {
  const { url } = await listenTo(
    async () => {
      await delay(700);
      return new Response('late');
    },
    { limits: { stallTimeoutMs: 200 } },
  );
  expect(await (await fetch(url)).text()).toBe('late');
});

test('requests on one connection are answered in order, one at a time', async () => {
  let running = 0;
  let most = 0;
  const { url, asked } = await listenTo(async (request) => {
    running += 1;
    most = Math.max(most, running);
    await delay(5);
    running -= 1;
    const { pathname } = new URL(request.url);
    return new Response(`<${pathname}>`, { headers: pathname.startsWith('/hot') ? FRESH : {} });
  });
  const client = await connectRaw(url);
  const paths = ['/hot', '/1', '/hot', '/hot', '/2', '/hot', '/3'];
  client.send(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''));
  const text = await client.received(/<\/3>/);
  expect(text.match(/<[^>]+>/g)).toEqual(paths.map((path) => `<${path}>`));
  expect([most, asked.length]).toEqual([1, 4]);
});

test('a connection with too many requests at once is ended', async () => {
  const { url, asked } = await listenTo((request) => untilAborted(request.signal), {
    limits: { maxPipelined: 10 },
  });
  const client = await connectRaw(url);
  client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(500));
  expect(await client.ended()).toBe('');
  expect(asked).toHaveLength(1);
});

test('a client that leaves its later requests behind leaves nothing open', async () => {
  const content = openedBytes(MIB);
  const { url, listener, answered } = await listenTo(() => content.respond());
  const client = await connectRaw(url);
  client.socket.pause();
  client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20));
  await vi.waitFor(() => {
    expect(content.state.opened).toBeGreaterThan(0);
  });
  client.socket.destroy();
  await vi.waitFor(() => {
    expect(listener.connections).toBe(0);
  });
  await vi.waitFor(() => {
    expect(content.state.disposed).toBe(content.state.opened);
  });
  expect(answered.length).toBe(content.state.opened);
});

test('a stream whose client goes away, or that fails late, is told to stop and ends nothing else', async () => {
  let stopped = 0;
  const { url } = await listenTo((request) => {
    const { pathname } = new URL(request.url);
    return new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(Buffer.alloc(100_000));
          if (pathname === '/fails')
            setTimeout(() => {
              controller.error(new Error('late'));
            }, 30);
        },
        cancel() {
          stopped += 1;
        },
      }),
    );
  });
  for (const path of ['waits', 'fails']) {
    const client = await connectRaw(url);
    client.send(`GET /${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    await client.received(/\r\n\r\n./s);
    client.socket.destroy();
  }
  await vi.waitFor(() => {
    expect(stopped).toBeGreaterThan(0);
  });
  await delay(50);
  const again = await connectRaw(url);
  again.send('GET /fails HTTP/1.1\r\nHost: a\r\n\r\n');
  await again.ended();
});

test('notes of handlers reach the reporter', async () => {
  const { url, answered } = await listenTo(() =>
    noteAnswer(new Response('a', { headers: FRESH }), { route: 'archive', cache: 'hit' }),
  );
  const headers = { 'user-agent': 'conda/25' };
  for (let time = 0; time < 2; time += 1) await (await fetch(`${url}/x?q=1`, { headers })).text();
  await vi.waitFor(() => {
    expect(answered).toHaveLength(2);
  });
  for (const event of answered) {
    expect(event).toMatchObject({
      remote: '127.0.0.1',
      method: 'GET',
      target: '/x?q=1',
      userAgent: 'conda/25',
      status: 200,
      bytes: 1,
      route: 'archive',
      cache: 'hit',
      isWhole: true,
    });
  }
  expect(answered[0]?.id).not.toBe(answered[1]?.id);
});

test('a slow client of large content gets it whole', async () => {
  const content = openedBytes(8 * MIB);
  const { url } = await listenTo(() => content.respond());
  const response = await fetch(url);
  let length = 0;
  let pauses = 0;
  for await (const chunk of response.body!) {
    length += (chunk as Uint8Array).byteLength;
    if (length > (pauses + 1) * 2 * MIB) {
      pauses += 1;
      await delay(300);
    }
  }
  expect(length).toBe(8 * MIB);
});

test('with a certificate it speaks TLS, and survives who does not', async () => {
  const authority = await createAuthority();
  const { url } = await listenTo((request) => new Response(request.url), {
    tls: authority.issue('127.0.0.1'),
  });
  const dispatcher = new Agent({ connect: { ca: authority.ca } });
  const plain = await connectRaw(url);
  plain.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await plain.ended();
  const response = await undiciFetch(`${url}/a`, { dispatcher });
  expect(await response.text()).toBe(`${url}/a`);
  await dispatcher.close();
});

test('an address that is taken, or is not ours, or a certificate that is none, is a clear error', async () => {
  const { listener } = await listenTo(() => new Response('a'));
  const fetchNothing = () => new Response('a');
  const { port } = listener.address;
  await expect(listen({ fetch: fetchNothing, host: '127.0.0.1', port })).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    message: `cannot listen on \`127.0.0.1\`, port ${String(port)}: something else listens there`,
  });
  await expect(listen({ fetch: fetchNothing, host: '192.0.2.1', port: 0 })).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
  });
  const tls = { cert: 'no certificate', key: 'no key' };
  await expect(listen({ fetch: fetchNothing, host: '127.0.0.1', port: 0, tls })).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    message: 'the certificate or its key cannot be used',
  });
});
