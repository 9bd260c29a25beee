import { expect, test } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { HostLimits } from '#ferry/http/limit.js';
import { rejection } from '../contracts/artifacts.js';
import { createGate } from '../support/gate.js';
import { everythingOf, get, openTestClient } from '../support/http.js';
import { startScriptedServer, type Row, type ScriptedServer } from '../support/scripted-server.js';
import { responseError } from '#ferry/http/response-error.js';

const BASIC = `Basic ${Buffer.from('üser:pass:wörd').toString('base64')}`;
const challenge = (...challenges: string[]) =>
  ({ status: 401, headers: { 'www-authenticate': challenges } }) as const;

function clientFor(server: ScriptedServer): ReturnType<typeof openTestClient> {
  return openTestClient({
    findCredential: async ({ origin }) =>
      origin === server.origin ? { kind: 'basic', username: 'üser', password: 'pass:wörd' } : undefined,
  });
}

test('Basic is sent only once a challenge asks for it, and from then on without asking', async () => {
  const server = await startScriptedServer(
    ['GET /open', {}],
    ['GET /a', challenge('Basic realm="x"')],
    ['GET /a', { body: 'a' }],
    ['GET /b', { body: 'b' }],
  );
  const { send } = clientFor(server);
  await get(send, server.url('/open'));
  expect(await get(send, server.url('/a'))).toBe('a');
  expect(await get(send, server.url('/b'))).toBe('b');
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    undefined,
    BASIC,
    BASIC,
  ]);
});

test.each([
  ['in lower case', ['basic realm="x"']],
  ['after another in the same line', ['Digest realm="https://x/token",qop="auth", Basic realm="x"']],
  ['after a Bearer that does not say where from', ['Bearer service="s", Basic realm="x"']],
  ['in a line of its own', ['Negotiate', 'Basic realm="x"']],
])('a Basic challenge %s counts', async (_, challenges) => {
  const server = await startScriptedServer(['GET /', challenge(...challenges)], ['GET /', { body: 'in' }]);
  expect(await get(clientFor(server).send, server.url('/'))).toBe('in');
});

test.each([
  ['Digest realm="a, Basic b"'],
  ['Basically realm="x"'],
  ['Digest realm="x", error="basic"'],
  [''],
])('the challenge %j gets no password', async (header) => {
  const server = await startScriptedServer(['GET /', challenge(header)]);
  const response = await clientFor(server).send({ method: 'GET', url: server.url('/') });
  await response.discard();
  expect(response.status).toBe(401);
  expect(server.lines).toEqual(['GET /']);
});

test('a challenge without a 401 gets no password', async () => {
  const server = await startScriptedServer([
    'GET /',
    { status: 403, headers: { 'www-authenticate': 'Basic realm="x"' } },
  ]);
  const response = await clientFor(server).send({ method: 'GET', url: server.url('/') });
  await response.discard();
  expect(server.lines).toEqual(['GET /']);
});

test('an origin without credentials is asked once, though it is on the same host', async () => {
  const server = await startScriptedServer();
  const neighbour = await startScriptedServer(['GET /', challenge('Basic realm="x"')]);
  const response = await clientFor(server).send({ method: 'GET', url: neighbour.url('/') });
  await response.discard();
  expect(response.status).toBe(401);
  expect(neighbour.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
});

test('a challenged request is sent again with its body opened anew, repeatable or not', async () => {
  const server = await startScriptedServer(
    ['PUT /', challenge('Basic realm="x"')],
    ['PUT /', { status: 201 }],
  );
  const response = await clientFor(server).send({
    method: 'PUT',
    url: server.url('/'),
    body: { size: 4, open: openerOf(Buffer.from('body')) },
  });
  await response.discard();
  expect(response.status).toBe(201);
  expect(server.requests.map(({ body }) => body.toString())).toEqual(['body', 'body']);
});

test('wrong credentials end in an error that does not name them', async () => {
  const server = await startScriptedServer(
    ['GET /', challenge('Basic realm="x"')],
    ['GET /', challenge('Basic realm="x"')],
  );
  const request = { method: 'GET', url: server.url('/') } as const;
  const error = await responseError(request, await clientFor(server).send(request));
  expect(error).toMatchObject({ code: 'UNAUTHORIZED', status: 401 });
  expect(error.hint).toContain('conda-ferry login');
  expect(everythingOf(error)).not.toMatch(/w.rd|3JkZ|Basic/);
  expect(server.lines).toHaveLength(2);
});

test('a credential that cannot be had fails the request, and its place at the host is free again', async () => {
  const failure = new Error('the helper is not there');
  const server = await startScriptedServer(['GET /', challenge('Basic realm="x"')]);
  const limits = new HostLimits({ maxConcurrency: 1 });
  const { send } = openTestClient({ limits, findCredential: () => Promise.reject(failure) });
  expect(await rejection(get(send, server.url('/')))).toBe(failure);
  const slot = await limits.of({ url: server.url('/') }).acquire('read', AbortSignal.timeout(1000));
  slot.release();
});

test('the first request to an origin goes alone, and what it learns spares all others a challenge', async () => {
  const gate = createGate();
  const server = await startScriptedServer(['GET /first', challenge('Basic realm="x"')], ['GET /first', {}]);
  server.expect(...Array.from({ length: 16 }, (_, i): Row => [`GET /${i}`, {}]));
  const { send } = openTestClient({
    findCredential: async () => {
      await gate.passed;
      return { kind: 'basic', username: 'u', password: 'p' };
    },
  });
  const first = get(send, server.url('/first'));
  const others = Array.from({ length: 16 }, async (_, i) => get(send, server.url(`/${i}`)));
  await expect.poll(() => server.lines).toEqual(['GET /first']);
  gate.open();
  await Promise.all([first, ...others]);
  expect(server.requests.filter(({ headers }) => headers.authorization === undefined)).toHaveLength(1);
});

test('who waits for the first request may leave, and if it fails all others go together', async () => {
  const controller = new AbortController();
  const server = await startScriptedServer(
    ['GET /first', { fault: 'silent' }],
    ['GET /b', {}],
    ['GET /c', {}],
  );
  const { send } = openTestClient();
  const first = rejection(get(send, server.url('/first'), { signal: controller.signal }));
  const impatient = new AbortController();
  const leaver = rejection(get(send, server.url('/a'), { signal: impatient.signal }));
  const stayers = Promise.all([get(send, server.url('/b')), get(send, server.url('/c'))]);
  await expect.poll(() => server.lines).toEqual(['GET /first']);
  const reason = new Error('enough');
  impatient.abort(reason);
  expect(await leaver).toBe(reason);
  controller.abort(reason);
  expect(await first).toBe(reason);
  await stayers;
  expect(server.lines).not.toContain('GET /a');
});
