import { expect, test } from 'vitest';
import { responseError } from '#ferry/http/response-error.js';
import type { Access, HttpRequest } from '#ferry/http/send.js';
import type { Credential } from '#ferry/http/credentials/credential.js';
import { HostLimits } from '#ferry/http/limit.js';
import { collect, openerOf } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { everythingOf, get, openTestClient, textOf } from '../support/http.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';

const CREDENTIAL: Credential = { kind: 'basic', username: 'user', password: 'canary-secret' };
const known = { findCredential: () => Promise.resolve(CREDENTIAL) };

const bearer = (scope?: string, error?: string): Answer => {
  const more = [
    scope === undefined ? '' : `,scope="${scope}"`,
    error === undefined ? '' : `,error="${error}"`,
  ];
  return {
    status: 401,
    headers: { 'www-authenticate': `Bearer realm="/token",service="s"${more.join('')}` },
  };
};
const token = (value: string, more = {}): Answer => ({
  body: JSON.stringify({ token: value, expires_in: 300, ...more }),
});
const tokenRow = (scopes: string[], answer: Answer): Row => {
  const query = new URLSearchParams({ service: 's' });
  for (const scope of scopes) query.append('scope', scope);
  return [`GET /token?${query.toString()}`, answer];
};
const pull = (repository: string): { access: Access } => ({ access: { repository, actions: ['pull'] } });

test('a challenge is answered with a token, and from then on tokens are fetched before being asked', async () => {
  const server = await startScriptedServer(
    ['GET /v2/a', bearer('repository:a:pull')],
    tokenRow(['repository:a:pull'], token('for-a')),
    ['GET /v2/a', { body: 'a' }],
    ['GET /v2/a', { body: 'a again' }],
    tokenRow(['repository:b:pull'], token('for-b')),
    ['GET /v2/b', { body: 'b' }],
  );
  const { send } = openTestClient(known);
  expect(await get(send, server.url('/v2/a'), pull('a'))).toBe('a');
  expect(await get(send, server.url('/v2/a'), pull('a'))).toBe('a again');
  expect(await get(send, server.url('/v2/b'), pull('b'))).toBe('b');
  const basic = `Basic ${Buffer.from('user:canary-secret').toString('base64')}`;
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    basic,
    'Bearer for-a',
    'Bearer for-a',
    basic,
    'Bearer for-b',
  ]);
});

test('without credentials the token is an anonymous one', async () => {
  const server = await startScriptedServer(
    ['GET /v2/a', bearer('repository:a:pull')],
    tokenRow(['repository:a:pull'], token('anybody')),
    ['GET /v2/a', { body: 'a' }],
  );
  expect(await get(openTestClient().send, server.url('/v2/a'), pull('a'))).toBe('a');
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    undefined,
    'Bearer anybody',
  ]);
});

test('a ready token is sent as it is, and not twice if it is refused', async () => {
  const server = await startScriptedServer(
    ['GET /v2/a', bearer()],
    ['GET /v2/a', bearer()],
    ['GET /v2/b', bearer()],
  );
  const { send } = openTestClient({
    findCredential: async () => ({ kind: 'bearer', token: 'canary-ready' }),
  });
  for (const path of ['/v2/a', '/v2/b']) {
    const request: HttpRequest = { method: 'GET', url: server.url(path) };
    const error = await responseError(request, await send(request));
    expect(error.code).toBe('UNAUTHORIZED');
    expect(everythingOf(error)).not.toContain('canary');
  }
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    'Bearer canary-ready',
    'Bearer canary-ready',
  ]);
});

test('Bearer comes before Basic where both are offered', async () => {
  const server = await startScriptedServer(
    [
      'GET /v2/a',
      {
        status: 401,
        headers: { 'www-authenticate': ['Basic realm="x"', 'Bearer realm="/token",service="s"'] },
      },
    ],
    tokenRow([], token('t')),
    ['GET /v2/a', {}],
  );
  await get(openTestClient(known).send, server.url('/v2/a'));
  expect(server.requests[2]?.headers.authorization).toBe('Bearer t');
});

test('a mount asks for both repositories, the one written to first, with whatever the challenge adds', async () => {
  const server = await startScriptedServer(
    ['POST /v2/z', bearer('repository:a:pull repository:z:pull,push,delete')],
    tokenRow(['repository:z:delete,pull,push', 'repository:a:pull'], token('both')),
    ['POST /v2/z', { status: 201 }],
  );
  const response = await openTestClient(known).send({
    method: 'POST',
    url: server.url('/v2/z'),
    access: { repository: 'z', actions: ['pull', 'push'], from: 'a' },
  });
  expect(response.status).toBe(201);
  await response.discard();
});

test('a request that does not know its scope learns it from its challenge, each in turn', async () => {
  const server = await startScriptedServer(
    ['GET /v2/_catalog', bearer('registry:catalog:*')],
    tokenRow(['registry:catalog:*'], token('catalog')),
    ['GET /v2/_catalog', { body: 'all' }],
    ['GET /other', bearer('registry:other:*')],
    tokenRow(['registry:other:*'], token('other')),
    ['GET /other', { body: 'more' }],
  );
  const { send } = openTestClient(known);
  expect(await get(send, server.url('/v2/_catalog'))).toBe('all');
  expect(await get(send, server.url('/other'))).toBe('more');
});

test('a token that is too narrow is widened by what the challenge names', async () => {
  const wide = ['repository:a:delete,pull', 'repository:b:pull'];
  const server = await startScriptedServer(
    ['GET /v2/a', bearer()],
    tokenRow(['repository:a:pull'], token('narrow')),
    ['GET /v2/a', { body: 'a' }],
    ['GET /v2/a', bearer('repository:a:delete repository:b:pull', 'insufficient_scope')],
    tokenRow(wide, token('wide')),
    ['GET /v2/a', { body: 'more' }],
    ['GET /v2/a', { body: 'and more' }],
  );
  const { send } = openTestClient(known);
  expect(await get(send, server.url('/v2/a'), pull('a'))).toBe('a');
  expect(await get(send, server.url('/v2/a'), pull('a'))).toBe('more');
  expect(await get(send, server.url('/v2/a'), pull('a'))).toBe('and more');
});

test('a wider token that is refused leaves the narrow one in use', async () => {
  const server = await startScriptedServer(
    ['GET /v2/a', bearer()],
    tokenRow(['repository:a:pull'], token('narrow')),
    ['GET /v2/a', { body: 'a' }],
    ['DELETE /v2/a', bearer('repository:a:delete', 'insufficient_scope')],
    tokenRow(['repository:a:delete,pull'], { status: 403 }),
    ['GET /v2/a', { body: 'still' }],
  );
  const { send } = openTestClient(known);
  await get(send, server.url('/v2/a'), pull('a'));
  const deleting = send({ method: 'DELETE', url: server.url('/v2/a'), ...pull('a') });
  expect(await rejection(deleting)).toMatchObject({ code: 'DENIED' });
  expect(await get(send, server.url('/v2/a'), pull('a'))).toBe('still');
});

test.each([
  [401, 'UNAUTHORIZED'],
  [403, 'DENIED'],
] as const)('an endless insufficient_scope ends after one wider token, as %i', async (status, code) => {
  const refusal = bearer('repository:a:delete', 'insufficient_scope');
  const server = await startScriptedServer(
    ['DELETE /v2/a', bearer('repository:a:pull')],
    tokenRow(['repository:a:pull'], token('narrow')),
    ['DELETE /v2/a', { ...refusal, status }],
    ['DELETE /v2/a', refusal],
    tokenRow(['repository:a:delete,pull'], token('wide')),
    ['DELETE /v2/a', { ...refusal, status }],
  );
  const { send } = openTestClient(known);
  const request: HttpRequest = { method: 'DELETE', url: server.url('/v2/a'), ...pull('a') };
  for (let i = 0; i < 2; i += 1) {
    const error = await responseError(request, await send(request));
    expect(error).toMatchObject({ code, status });
    expect(everythingOf(error)).not.toMatch(/canary|narrow|wide/);
    if (i === 0) expect(server.lines).toHaveLength(3);
  }
  expect(server.lines.length).toBeLessThanOrEqual(6);
});

test('a token that ran out before its time is replaced once, for all who met its end', async () => {
  const expired = bearer('repository:a:pull', 'invalid_token');
  const server = await startScriptedServer(
    ['GET /v2/a', bearer()],
    tokenRow(['repository:a:pull'], token('old')),
    ['GET /v2/a', {}],
    tokenRow(['repository:a:pull'], token('new')),
  );
  const { send } = openTestClient(known);
  await get(send, server.url('/v2/a'), pull('a'));
  const answer = (request: { headers: { authorization?: string | undefined } }): Answer =>
    request.headers.authorization === 'Bearer new' ? { body: 'fresh' } : expired;
  server.expect(...Array.from({ length: 16 }, (): Row => ['GET /v2/a', answer]));
  const texts = await Promise.all(
    Array.from({ length: 8 }, async () => get(send, server.url('/v2/a'), pull('a'))),
  );
  expect(new Set(texts)).toEqual(new Set(['fresh']));
  expect(server.lines.filter((line) => line.startsWith('GET /token'))).toHaveLength(2);
});

test('a server that takes no token at all is asked eight times, not for ever', async () => {
  const server = await startScriptedServer();
  const rows = (): Row[] => [
    ['GET /v2/a', bearer('repository:a:pull', 'invalid_token')],
    tokenRow(['repository:a:pull'], token('t')),
  ];
  server.expect(...Array.from({ length: 20 }, rows).flat());
  const response = await openTestClient(known).send({
    method: 'GET',
    url: server.url('/v2/a'),
    ...pull('a'),
  });
  await response.discard();
  expect(response.status).toBe(401);
  expect(server.lines.filter((line) => line === 'GET /v2/a')).toHaveLength(8);
});

test('a token between POST and PUT that runs out: the body is opened anew', async () => {
  const server = await startScriptedServer(
    ['POST /v2/a', bearer()],
    tokenRow(['repository:a:push'], token('one')),
    ['POST /v2/a', { status: 202 }],
    ['PUT /v2/a', bearer(undefined, 'invalid_token')],
    tokenRow(['repository:a:push'], token('two')),
    ['PUT /v2/a', { status: 201 }],
  );
  const { send } = openTestClient(known);
  const access: Access = { repository: 'a', actions: ['push'] };
  await (await send({ method: 'POST', url: server.url('/v2/a'), access })).discard();
  const body = { size: 4, open: openerOf(Buffer.from('body')) };
  const response = await send({ method: 'PUT', url: server.url('/v2/a'), access, body });
  await response.discard();
  expect(response.status).toBe(201);
  expect(
    server.requests.filter(({ line }) => line.startsWith('PUT')).map((put) => put.body.toString()),
  ).toEqual(['body', 'body']);
});

test('a realm of its own host that is refused fails the request with what to do', async () => {
  const server = await startScriptedServer(
    ['GET /v2/a', bearer('repository:a:pull')],
    tokenRow(['repository:a:pull'], { status: 403 }),
  );
  const { send } = openTestClient();
  const failing = async () => rejection(get(send, server.url('/v2/a'), pull('a')));
  expect(await failing()).toMatchObject({
    code: 'DENIED',
    hint: expect.stringContaining('conda-ferry login') as string,
  });
  // Believed for a while: neither the server nor its realm is asked again.
  expect(await failing()).toMatchObject({ code: 'DENIED' });
  expect(server.lines).toHaveLength(2);
});

test('with one request at a time a challenge, its token and the answer still get through', async () => {
  const server = await startScriptedServer(
    ['GET /v2/a', bearer('repository:a:pull')],
    tokenRow(['repository:a:pull'], token('t')),
    ['GET /v2/a', { body: 'a' }],
  );
  const limits = new HostLimits({ maxConcurrency: 1 });
  const { send } = openTestClient({ ...known, limits });
  expect(await get(send, server.url('/v2/a'), { ...pull('a'), signal: AbortSignal.timeout(5000) })).toBe('a');
});

test.each<[string, Credential | undefined]>([
  ['nobody', undefined],
  ['a user', CREDENTIAL],
  ['a refresh token', { kind: 'refresh', token: 'canary-refresh' }],
])(
  'with one request at a time the body of an upload by %s can come from the same host, by a token',
  async (_, credential) => {
    const isPost = credential?.kind === 'refresh';
    const answerToken = (scope: string): Row =>
      isPost ? ['POST /token', token(scope)] : tokenRow([scope], token(scope));
    const server = await startScriptedServer(
      answerToken('repository:from:pull'),
      answerToken('repository:to:push'),
      ['GET /v2/from', bearer('repository:from:pull')],
      ['GET /v2/from', { body: 'bytes' }],
      ['GET /v2/from', { body: 'bytes' }],
      ['PUT /v2/to', bearer('repository:to:push')],
      ['PUT /v2/to', { status: 201 }],
    );
    const signal = AbortSignal.timeout(5000);
    const limits = new HostLimits({ maxConcurrency: 1 });
    const { send } = openTestClient({ limits, findCredential: () => Promise.resolve(credential) });
    const response = await send({
      method: 'PUT',
      url: server.url('/v2/to'),
      access: { repository: 'to', actions: ['push'] },
      signal,
      body: {
        size: 5,
        open: async function* () {
          const source = await send({ method: 'GET', url: server.url('/v2/from'), ...pull('from'), signal });
          yield await collect(source.body, 100, 'source');
        },
      },
    });
    expect([response.status, await textOf(response)]).toEqual([201, '']);
  },
);
