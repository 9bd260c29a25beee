import { expect, test } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { everythingOf, get, openTestClient } from '../support/http.js';
import { startScriptedServer, type ScriptedServer } from '../support/scripted-server.js';
import { responseError } from '#ferry/http/response-error.js';

const BASIC = `Basic ${Buffer.from('üser:pass:wörd').toString('base64')}`;
const challenge = (...challenges: string[]) =>
  ({ status: 401, headers: { 'www-authenticate': challenges } }) as const;

function clientFor(server: ScriptedServer): ReturnType<typeof openTestClient> {
  return openTestClient({
    findCredentials: (origin) =>
      origin === server.origin ? { username: 'üser', password: 'pass:wörd' } : undefined,
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
  ['after another in the same line', ['Bearer realm="https://x/token",service="s", Basic realm="x"']],
  ['in a line of its own', ['Negotiate', 'Basic realm="x"']],
])('a Basic challenge %s counts', async (_, challenges) => {
  const server = await startScriptedServer(['GET /', challenge(...challenges)], ['GET /', { body: 'in' }]);
  expect(await get(clientFor(server).send, server.url('/'))).toBe('in');
});

test.each([
  ['Bearer realm="a, Basic b"'],
  ['Basically realm="x"'],
  ['Bearer realm="x", error="basic"'],
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
  expect(error.hint).toContain('CONDA_FERRY_USERNAME');
  expect(everythingOf(error)).not.toMatch(/w.rd|3JkZ|Basic/);
  expect(server.lines).toHaveLength(2);
});
