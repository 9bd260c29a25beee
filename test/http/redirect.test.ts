import { expect, test } from 'vitest';
import type { FindCredential } from '#ferry/http/credentials/credential.js';
import { resolveServerUrl } from '#ferry/http/server-url.js';
import { openerOf } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { everythingOf, get, openTestClient } from '../support/http.js';
import { startScriptedServer, type Row } from '../support/scripted-server.js';

/** A finder without any judgement. */
const findCredential: FindCredential = () =>
  Promise.resolve({ kind: 'basic', username: 'user', password: 'canary-secret' });

const toLocation = (location: string, status = 307): { status: number; headers: { location: string } } => ({
  status,
  headers: { location },
});

/** `/0` leads to `/1`, and so on. */
function chain(hops: number): Row[] {
  return Array.from({ length: hops }, (_, i) => [`GET /${i}`, toLocation(`/${i + 1}`)]);
}

test.each([301, 302, 303, 307, 308])('follows a %i of GET and HEAD', async (status) => {
  const server = await startScriptedServer(
    ['GET /a/b', toLocation('../c?d=e', status)],
    ['GET /c?d=e', { body: 'there' }],
    ['HEAD /a/b', toLocation('/c', status)],
    ['HEAD /c', {}],
  );
  const { send } = openTestClient();
  const response = await send({ method: 'HEAD', url: server.url('/a/b') });
  await response.discard();
  expect([response.status, response.url.pathname]).toEqual([200, '/c']);
  expect(await get(send, server.url('/a/b'))).toBe('there');
});

const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE'] as const;

test.each(METHODS.flatMap((method) => [301, 302, 303].map((status) => [method, status] as const)))(
  'does not follow a %s to %i, which may mean another method',
  async (method, status) => {
    const server = await startScriptedServer([`${method} /`, toLocation('/other', status)]);
    const response = await openTestClient().send({ method, url: server.url('/') });
    await response.discard();
    expect(response.status).toBe(status);
    expect(server.lines).toEqual([`${method} /`]);
  },
);

test.each(METHODS)(
  '%s keeps method, headers, credentials and body through 307 and 308 within one origin',
  async (method) => {
    const server = await startScriptedServer(
      [`${method} /`, { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }],
      [`${method} /`, toLocation('/one', 307)],
      [`${method} /one`, toLocation('two', 308)],
      [`${method} /two`, { status: 201 }],
    );
    const body = { size: 4, open: openerOf(Buffer.from('body')) };
    const headers = { 'content-type': 'a/b' };
    const response = await openTestClient({ findCredential }).send({
      method,
      url: server.url('/'),
      body,
      headers,
    });
    await response.discard();
    expect([response.status, response.url.pathname]).toEqual([201, '/two']);
    for (const request of server.requests) {
      expect(request.body.toString()).toBe('body');
      expect(request.headers).toMatchObject(headers);
    }
    expect(server.requests[3]?.headers.authorization).toMatch(/^Basic /);
  },
);

test.each(METHODS)('%s is not followed to another origin, port and all', async (method) => {
  const other = await startScriptedServer();
  const server = await startScriptedServer([`${method} /`, toLocation(other.origin, 307)]);
  const body = { size: 4, open: openerOf(Buffer.from('body')) };
  const response = await openTestClient().send({ method, url: server.url('/'), body });
  await response.discard();
  expect(response.status).toBe(307);
  expect(other.lines).toEqual([]);
});

test('an answer that redirects nowhere, or means no redirect, is passed on', async () => {
  const server = await startScriptedServer(
    ['GET /', { status: 302 }],
    ['GET /', { status: 304, headers: { location: '/x' } }],
    ['GET /', { status: 201, headers: { location: '/x' } }],
  );
  const { send } = openTestClient();
  for (const status of [302, 304, 201]) {
    const response = await send({ method: 'GET', url: server.url('/') });
    await response.discard();
    expect(response.status).toBe(status);
  }
});

test('follows ten redirects and refuses the eleventh', async () => {
  const server = await startScriptedServer(...chain(10), ['GET /10', { body: 'there' }]);
  const { send } = openTestClient();
  expect(await get(send, server.url('/0'))).toBe('there');
  server.expect(...chain(11));
  expect(await rejection(get(send, server.url('/0')))).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(server.lines).toHaveLength(22);
});

test('each hop is repeated like any request', async () => {
  const server = await startScriptedServer(
    ['GET /', toLocation('/there')],
    ['GET /there', { status: 503 }],
    ['GET /there', { body: 'yes' }],
  );
  expect(await get(openTestClient().send, server.url('/'))).toBe('yes');
  expect(server.lines).toEqual(['GET /', 'GET /there', 'GET /there']);
});

test('an abort on a later hop rejects with the reason given', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const server = await startScriptedServer(
    ['GET /', toLocation('/there')],
    [
      'GET /there',
      () => {
        controller.abort(reason);
        return { fault: 'silent' };
      },
    ],
  );
  const sending = get(openTestClient().send, server.url('/'), { signal: controller.signal });
  expect(await rejection(sending)).toBe(reason);
});

test('headers stay on the origin they were given for, but range and accept', async () => {
  const blobs = await startScriptedServer(['GET /blob?sig=secret', { body: 'bytes' }]);
  const registry = await startScriptedServer(
    ['GET /', toLocation('/same')],
    ['GET /same', toLocation(`${blobs.origin}/blob?sig=secret`)],
  );
  const headers = {
    range: 'bytes=1-',
    accept: 'a/b',
    cookie: 'c=d',
    'x-token': 'secret',
    authorization: 'mine',
  };
  expect(await get(openTestClient().send, registry.url('/'), { headers })).toBe('bytes');
  for (const request of registry.requests) expect(request.headers).toMatchObject(headers);
  const [foreign] = blobs.requests;
  expect(foreign?.headers).toMatchObject({ range: 'bytes=1-', accept: 'a/b' });
  for (const name of ['cookie', 'x-token', 'authorization', 'referer']) {
    expect(foreign?.headers).not.toHaveProperty(name);
  }
});

test('credentials go neither to another origin, port and all, nor back with a redirect from there', async () => {
  const registry = await startScriptedServer(
    ['GET /first', { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }],
    ['GET /first', { body: 'authorized' }],
    ['GET /blob', (request) => (request.headers.authorization === undefined ? { status: 418 } : toFirst)],
    ['GET /back', { body: 'came back' }],
  );
  const other = await startScriptedServer(['GET /elsewhere', toLocation(`${registry.origin}/back`)]);
  const toFirst = toLocation(`${other.origin}/elsewhere`);
  const { send } = openTestClient({ findCredential });
  expect(await get(send, registry.url('/first'))).toBe('authorized');
  expect(await get(send, registry.url('/blob'))).toBe('came back');
  expect(other.requests[0]?.headers).not.toHaveProperty('authorization');
  expect(registry.requests.map((request) => request.headers.authorization !== undefined)).toEqual([
    false,
    true,
    true,
    false,
  ]);
});

test('a redirect target that asks for Basic does not get it', async () => {
  const other = await startScriptedServer([
    'GET /',
    { status: 401, headers: { 'www-authenticate': 'Basic realm="give"' } },
  ]);
  const registry = await startScriptedServer(['GET /', toLocation(other.origin)]);
  const { send } = openTestClient({ findCredential });
  const response = await send({ method: 'GET', url: registry.url('/') });
  await response.discard();
  expect(response.status).toBe(401);
  expect(other.lines).toEqual(['GET /']);
});

test('credentials stay with redirects on the same origin', async () => {
  const server = await startScriptedServer(
    ['GET /', { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }],
    ['GET /', toLocation('/there')],
    ['GET /there', {}],
  );
  await get(openTestClient({ findCredential }).send, server.url('/'));
  expect(server.requests[2]?.headers.authorization).toMatch(/^Basic /);
});

test.each(['file:///etc/passwd', 'ftp://127.0.0.1/', 'data:text/plain,x', 'http://'])(
  'refuses to follow to %s, and keeps secrets to itself',
  async (location) => {
    const server = await startScriptedServer(['GET /t/token-1/x?sig=secret-1', toLocation(location)]);
    const error = await rejection(get(openTestClient().send, server.url('/t/token-1/x?sig=secret-1')));
    expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
    expect(everythingOf(error)).not.toMatch(/token-1|secret-1/);
  },
);

test.each([
  ['/a?b=c', 'https://h/x/y', 'https://h/a?b=c'],
  ['a', 'http://h:1/x/y', 'http://h:1/x/a'],
  ['//other/a', 'https://h/', 'https://other/a'],
  ['https://other:444/', 'http://h/', 'https://other:444/'],
  ['https://h:443/a?_state=x%2F+y%3D%3D', 'https://h/', 'https://h/a?_state=x%2F+y%3D%3D'],
])('resolves %s against %s', (location, base, expected) => {
  expect(resolveServerUrl(location, new URL(base)).href).toBe(expected);
});

test.each([
  ['http://h/', 'https://h/'],
  ['http://other/', 'https://h/'],
  ['ftp://h/', 'http://h/'],
  ['http://user:secret@[', 'http://user:secret@h/t/secret/?a=secret'],
])('refuses %s from %s', (location, base) => {
  let error: unknown;
  try {
    resolveServerUrl(location, new URL(base));
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(everythingOf(error)).not.toContain('secret');
});
