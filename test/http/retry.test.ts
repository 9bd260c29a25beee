import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { clockOf } from '#ferry/http/clock.js';
import { HostLimits } from '#ferry/http/limit.js';
import { openerOf } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { get, openTestClient, textOf } from '../support/http.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';
import { createVirtualClock } from '../support/virtual-clock.js';

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
  expect(client.pausesMs).toEqual([250, 500, 1000, 2000, 4000]);
});

test('after eight attempts the last answer is passed on', async () => {
  const server = await startScriptedServer(...times(8, ['GET /', { status: 503, body: 'no' }]));
  const client = openTestClient();
  const response = await client.send({ method: 'GET', url: server.url('/') });
  expect(response.status).toBe(503);
  expect(await textOf(response)).toBe('no');
  expect(server.lines).toHaveLength(8);
  expect(client.pausesMs).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000]);
});

test('what fails again and again is told once for each host, without secrets, while it is still tried', async () => {
  const told: string[] = [];
  const client = openTestClient({ onWarning: (text) => told.push(text) });
  const server = await startScriptedServer(
    ...times(3, ['GET /a', { status: 503 }]),
    ['GET /a', { body: 'soon enough' }],
    ...times(6, ['GET /b?token=secret', { status: 503 }]),
    ['GET /b?token=secret', { body: 'late' }],
    ...times(5, ['GET /c', { fault: 'reset' }]),
    ['GET /c', { body: 'late' }],
  );
  await get(client.send, server.url('/a'));
  expect(told).toEqual([]);
  await get(client.send, server.url('/b?token=secret'));
  await get(client.send, server.url('/c'));
  expect(told).toEqual([
    expect.stringMatching(/^GET http:\/\/127\S+\/b\S* answered 503, 4 times; trying again$/),
  ]);
  expect(told[0]).not.toContain('secret');
  const other = await startScriptedServer(...times(4, ['GET /', { fault: 'reset' }]), ['GET /', {}]);
  await get(client.send, other.url('/'));
  expect(told[1]).toContain(new URL(other.origin).host);
});

test('after eight broken connections the failure says how often it was tried', async () => {
  const server = await startScriptedServer(...times(8, ['GET /', { fault: 'reset' }]));
  const error = await rejection(get(openTestClient().send, server.url('/')));
  expect(error).toMatchObject({ code: 'NETWORK', attempts: 8, method: 'GET', url: `${server.origin}/` });
  expect(server.lines).toHaveLength(8);
});

test.each<['POST' | 'PUT' | 'PATCH' | 'DELETE', Answer]>([
  ['POST', { status: 503 }],
  ['PUT', { status: 500 }],
  ['PATCH', { status: 503, headers: { 'retry-after': '1' } }],
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

test.each<['POST' | 'PUT' | 'PATCH' | 'DELETE', Answer]>([
  ['POST', { status: 429 }],
  ['PUT', { status: 429, headers: { 'retry-after': '1' } }],
  [
    'PATCH',
    { status: 403, body: 'You have exceeded a secondary rate limit', headers: { 'retry-after': '2' } },
  ],
  ['DELETE', { status: 429, body: '{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 10ms"}]}' }],
])('a %s that a rate limit turned away was not done, so it is sent again: %j', async (method, answer) => {
  const server = await startScriptedServer([`${method} /`, answer], [`${method} /`, { status: 202 }]);
  const response = await openTestClient().send({ method, url: server.url('/'), body });
  await response.discard();
  expect(response.status).toBe(202);
  expect(server.requests.map((request) => request.body.toString())).toEqual(['body', 'body']);
});

test('Retry-After in seconds is waited for by the clock of the host, and jitter follows only if it comes again', async () => {
  const clock = createVirtualClock();
  const at: number[] = [];
  const answer = (seconds: string, status: number): Row => [
    'GET /',
    () => {
      at.push(clock.now() - 1000);
      return { status, headers: { 'retry-after': seconds } };
    },
  ];
  const server = await startScriptedServer(
    answer('7', 429),
    answer(' 3 ', 503),
    answer('0', 429),
    answer('0', 200),
  );
  await clock.run(get(openTestClient(clock).send, server.url('/')));
  expect(at).toEqual([0, 7000, 7000 + 3000 + 500, 10_500 + 1000]);
});

test('Retry-After as a date is waited for, and a past one asks for nothing', async () => {
  const now = Math.floor(Date.now() / 1000) * 1000;
  vi.useFakeTimers({ toFake: ['Date'], now });
  const clock = createVirtualClock();
  const server = await startScriptedServer(
    ['GET /', { status: 429, headers: { 'retry-after': new Date(now + 60_000).toUTCString() } }],
    ['GET /', {}],
    ['GET /', { status: 429, headers: { 'retry-after': new Date(now - 60_000).toUTCString() } }],
    ['GET /', {}],
    ['GET /', { status: 429, headers: { 'retry-after': 'some day' } }],
    ['GET /', {}],
  );
  const { send } = openTestClient(clock);
  const passed: number[] = [];
  try {
    for (let i = 0; i < 3; i += 1) {
      const before = clock.now();
      await clock.run(get(send, server.url('/')));
      passed.push(clock.now() - before);
    }
  } finally {
    vi.useRealTimers();
  }
  expect(passed).toEqual([60_000, 0, 250]);
});

test('Retry-After beside any other failure is a floor under the back-off', async () => {
  const server = await startScriptedServer(
    ['GET /', { status: 502, headers: { 'retry-after': '7' } }],
    ['GET /', { status: 500, headers: { 'retry-after': '1' } }],
    ['GET /', {}],
  );
  const client = openTestClient();
  await get(client.send, server.url('/'));
  expect(client.pausesMs).toEqual([7250, 1500]);
});

test('a rate limit that never ends is passed on after eight attempts, with more time between them each time', async () => {
  const clock = createVirtualClock();
  const server = await startScriptedServer(
    ...times(8, ['GET /', { status: 429, headers: { 'retry-after': '0' }, body: 'no' }]),
  );
  const response = await clock.run(openTestClient(clock).send({ method: 'GET', url: server.url('/') }));
  expect([response.status, response.rateLimit, await textOf(response)]).toEqual([
    429,
    { retryAfterMs: 0 },
    'no',
  ]);
  expect(server.lines).toHaveLength(8);
  expect(clock.now() - 1000).toBe(500 + 1000 + 2000 + 4000 + 8000 + 15_000);
});

test.each([
  [429, '301'],
  [429, '1000000000'],
  [502, '301'],
])(
  'a server that asks by %i for %s s, more than five minutes, gets its answer passed on',
  async (status, value) => {
    const server = await startScriptedServer(['GET /', { status, headers: { 'retry-after': value } }]);
    const client = openTestClient();
    const response = await client.send({ method: 'GET', url: server.url('/') });
    await response.discard();
    expect(response.status).toBe(status);
    expect(server.lines).toHaveLength(1);
    expect(client.pausesMs).toEqual([]);
  },
);

test.each([429, 502])('an abort during a pause after %i rejects with the reason given', async (status) => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const server = await startScriptedServer(['GET /', { status, headers: { 'retry-after': '200' } }]);
  const clock = createVirtualClock();
  const sending = rejection(get(openTestClient(clock).send, server.url('/'), { signal: controller.signal }));
  await expect.poll(() => clock.timers.length).toBe(1);
  controller.abort(reason);
  expect(await sending).toBe(reason);
  expect(server.lines).toHaveLength(1);
  expect(clock.timers).toEqual([]);
});

test('the real clock, too, stops waiting when it is told to', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const waiting = rejection(clockOf({}).sleep(200_000, controller.signal));
  controller.abort(reason);
  expect(await waiting).toBe(reason);
});

test('no request is begun again after a quarter of an hour', async () => {
  const clock = createVirtualClock();
  const server = await startScriptedServer(
    ...times(8, ['GET /', { status: 502, headers: { 'retry-after': '300' } }]),
  );
  const response = await clock.run(openTestClient(clock).send({ method: 'GET', url: server.url('/') }));
  await response.discard();
  expect(response.status).toBe(502);
  expect(server.lines).toHaveLength(4);
});

test('a host has a budget of retries for all requests together, and successes fill it', async () => {
  const clock = createVirtualClock();
  const limits = new HostLimits(clock);
  const { send } = openTestClient({ ...clock, limits });
  const server = await startScriptedServer(
    ...times(200, ['GET /bad', { status: 500 }]),
    ...times(10, ['GET /good', {}]),
  );
  const bad = async (): Promise<number> => {
    const before = server.lines.length;
    const response = await clock.run(send({ method: 'GET', url: server.url('/bad') }));
    await response.discard();
    return server.lines.length - before;
  };
  const attempts: number[] = [];
  for (let i = 0; i < 16; i += 1) attempts.push(await bad());
  // 100 retries: seven for each of fourteen requests, then two.
  expect(attempts).toEqual([...Array.from({ length: 14 }, () => 8), 3, 1]);
  for (let i = 0; i < 10; i += 1) await get(send, server.url('/good'));
  expect(await bad()).toBe(6);
});

test('retries never exceed the attempts or the budget, whatever a server answers', async () => {
  const outcome = fc.constantFrom<Answer>(
    { status: 200 },
    { status: 429 },
    { status: 429, headers: { 'retry-after': '1' } },
    { status: 503, headers: { 'retry-after': '0' } },
    { status: 500 },
    { fault: 'reset' },
    { status: 403 },
  );
  const clock = createVirtualClock();
  const server = await startScriptedServer();
  const { send } = openTestClient(clock);
  await fc.assert(
    fc.asyncProperty(
      fc.array(outcome, { minLength: 8, maxLength: 8 }),
      fc.boolean(),
      async (answers, isGet) => {
        const limits = new HostLimits(clock);
        const path = `/${server.lines.length}`;
        const method = isGet ? 'GET' : 'PUT';
        server.expect(...answers.map((answer): Row => [`${method} ${path}`, answer]));
        const client = isGet ? send : openTestClient({ ...clock, limits }).send;
        const before = server.lines.length;
        const sent = client({ method, url: server.url(path) }).then(async (response) => response.discard());
        await clock.run(sent.catch(() => undefined));
        const count = server.lines.length - before;
        expect(count).toBeLessThanOrEqual(8);
        const last = answers[count - 1];
        const isAgain = ({ status, fault }: Answer): boolean =>
          status === 429 || (isGet && (fault === 'reset' || status === 503 || status === 500));
        expect(answers.slice(0, count - 1).every(isAgain)).toBe(true);
        expect(count === 8 || !isAgain(last!)).toBe(true);
      },
    ),
    { numRuns: 25 },
  );
});

test('a port where nobody ever listened is told at once', async () => {
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

test('a server that answered before is looked for four times, since it may be starting anew', async () => {
  const server = createHttpServer((_, response) => response.end('hello'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const client = openTestClient();
  expect(await get(client.send, url)).toBe('hello');
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  const error = await rejection(get(client.send, url));
  expect(error).toMatchObject({ code: 'NETWORK', cause: { code: 'ECONNREFUSED' } });
  // One more where the old connection was tried first.
  expect((error as { attempts: number }).attempts).toBeOneOf([4, 5]);
});

test('a host name that nobody knows is looked up twice, since name servers have bad moments', async () => {
  const client = openTestClient();
  // Too long a label for any name server to be asked.
  const error = await rejection(get(client.send, new URL(`http://${'a'.repeat(64)}.invalid/`)));
  expect(error).toMatchObject({ code: 'NETWORK', attempts: 2, cause: { code: 'ENOTFOUND' } });
  expect(client.pausesMs).toEqual([250]);
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
