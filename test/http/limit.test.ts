import { expect, test } from 'vitest';
import { HostLimits } from '#ferry/http/limit.js';
import type { Credential } from '#ferry/http/credentials/credential.js';
import { openerOf } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { get, openTestClient, textOf } from '../support/http.js';
import { startScriptedServer, type Row } from '../support/scripted-server.js';
import { createVirtualClock } from '../support/virtual-clock.js';

test('a rate limit holds back all requests to that host, and none to another', async () => {
  const clock = createVirtualClock();
  const limits = new HostLimits(clock);
  const busy = await startScriptedServer(
    ['GET /0', { status: 429, headers: { 'retry-after': '60' } }],
    ...[0, 1, 2].map((i): Row => [`GET /${i}`, { body: String(i) }]),
  );
  const idle = await startScriptedServer(['GET /', { body: 'at once' }]);
  const { send } = openTestClient({ ...clock, limits });
  const first = get(send, busy.url('/0'));
  await expect.poll(() => clock.timers.length).toBe(1);
  const others = [1, 2].map(async (i) => get(send, busy.url(`/${i}`)));
  expect(await get(send, idle.url('/'))).toBe('at once');
  await clock.advance(59_999);
  expect(busy.lines).toEqual(['GET /0']);
  expect(await clock.run(Promise.all([first, ...others]))).toEqual(['0', '1', '2']);
  expect(clock.now()).toBe(61_000);
});

test('one credential does not wait for the rate limit of another', async () => {
  const clock = createVirtualClock();
  const limits = new HostLimits(clock);
  const server = await startScriptedServer(
    ...['a', 'b'].flatMap((user): Row[] => [
      [`GET /${user}`, { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }],
      [`GET /${user}`, { status: 200 }],
    ]),
    ['GET /a', { status: 429, headers: { 'retry-after': '60' } }],
    ['GET /a', { body: 'late' }],
    ['GET /b', { body: 'at once' }],
  );
  const clientOf = (username: string) => {
    const credential: Credential = { kind: 'basic', username, password: 'p' };
    return openTestClient({ ...clock, limits, findCredential: () => Promise.resolve(credential) });
  };
  const [a, b] = [clientOf('a'), clientOf('b')];
  await get(a.send, server.url('/a'));
  await get(b.send, server.url('/b'));
  const late = get(a.send, server.url('/a'));
  await expect.poll(() => clock.timers.length).toBe(1);
  expect(await get(b.send, server.url('/b'))).toBe('at once');
  expect(await clock.run(late)).toBe('late');
});

test('an answer that used up the limit holds the next request back until the reset', async () => {
  const clock = createVirtualClock();
  const server = await startScriptedServer(
    ['GET /', { headers: { 'ratelimit-remaining': '0', 'ratelimit-reset': '30' } }],
    ['GET /', {}],
  );
  const { send } = openTestClient(clock);
  await get(send, server.url('/'));
  await clock.run(get(send, server.url('/')));
  expect(clock.now()).toBe(31_000);
});

test('ghcr/G1: what GHCR writes into its body sets pause and pace', async () => {
  const clock = createVirtualClock();
  const limits = new HostLimits(clock);
  const server = await startScriptedServer(
    [
      'PATCH /',
      {
        status: 429,
        body: '{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 10.3ms, allowed: 2000/minute"}]}',
      },
    ],
    ['PATCH /', { status: 202 }],
  );
  const { send } = openTestClient({ ...clock, limits });
  const body = { size: 1, open: openerOf(Buffer.from('x')) };
  const response = await clock.run(send({ method: 'PATCH', url: server.url('/'), body }));
  await response.discard();
  expect(response.status).toBe(202);
  expect(clock.now()).toBe(1011);
  expect(limits.of({ url: server.url('/') }).state.requestsPerMinute).toBe(1900);
});

test('a place at the host is held until the body is read, discarded or given up', async () => {
  const server = await startScriptedServer(
    ...Array.from({ length: 4 }, (): Row => ['GET /', { body: 'body' }]),
    ['GET /', { fault: 'reset' }],
    ['GET /', { body: 'last' }],
  );
  const limits = new HostLimits({ maxConcurrency: 1 });
  const { send } = openTestClient({ limits });
  const request = () => send({ method: 'GET', url: server.url('/'), signal: AbortSignal.timeout(5000) });
  const held = await request();
  const waiting = request();
  await new Promise(setImmediate);
  expect(server.lines).toHaveLength(1);
  expect(await textOf(held)).toBe('body');
  await (await waiting).discard();
  for await (const _ of (await request()).body) break;
  const controller = new AbortController();
  const { body } = await send({ method: 'GET', url: server.url('/'), signal: controller.signal });
  controller.abort(new Error('enough'));
  await rejection(
    (async () => {
      for await (const _ of body) expect.unreachable();
    })(),
  );
  expect(await textOf(await request())).toBe('last');
});

test('503 and lost time mean fewer requests at once; a broken connection says nothing', async () => {
  const limits = new HostLimits();
  const server = await startScriptedServer(
    ['PUT /', { status: 503 }],
    ['PUT /', { fault: 'reset' }],
    ['PUT /', { fault: 'silent' }],
  );
  const { send } = openTestClient({ limits, timeouts: { headersMs: 50 } });
  const { concurrency } = limits.of({ url: server.url('/') }).state;
  const state = () => limits.of({ url: server.url('/') }).state.concurrency;
  await (await send({ method: 'PUT', url: server.url('/') })).discard();
  expect(state()).toBe(concurrency / 2);
  await rejection(send({ method: 'PUT', url: server.url('/') }));
  expect(state()).toBe(concurrency / 2);
  const slow = { method: 'PUT', url: server.url('/'), timeLimitMs: 50 } as const;
  expect(await rejection(send(slow))).toMatchObject({ code: 'TIMEOUT' });
  expect(state()).toBe(concurrency / 4);
});
