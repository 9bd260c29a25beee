/** What went wrong in clients like this one: one test for each class of advisory that concerns HTTP. */
import { lookup } from 'node:dns/promises';
import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import { isPrivateAddress } from '#ferry/http/address.js';
import type { FindCredential } from '#ferry/http/credentials/credential.js';
import { resolveServerUrl } from '#ferry/http/server-url.js';
import { rejection } from '../contracts/artifacts.js';
import { everythingOf, get, openTestClient } from '../support/http.js';
import { startScriptedServer, type Answer, type ScriptedServer } from '../support/scripted-server.js';

const findCredential: FindCredential = () =>
  Promise.resolve({ kind: 'basic', username: 'user', password: 'canary-secret' });
const CHALLENGE: Answer = { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
const PUBLIC = new URL('https://93.184.216.34/');

const to = (location: string): Answer => ({ status: 307, headers: { location } });

/** Everything a request may not carry to where another origin sent us. */
function expectNoSecrets(server: ScriptedServer): void {
  for (const { headers, line, body } of server.requests) {
    expect(Object.keys(headers).sort()).toEqual(['accept-encoding', 'connection', 'host', 'user-agent']);
    expect(JSON.stringify(headers) + line + body.toString()).not.toMatch(/canary|Y2FuYXJ5/);
  }
}

test('GHSA-vh4v-2xq2-g5cg: a password does not follow a redirect to another port of the same host', async () => {
  const attacker = await startScriptedServer(['GET /', {}], ['GET /again', CHALLENGE]);
  const registry = await startScriptedServer(
    ['GET /', CHALLENGE],
    ['GET /', to(`${attacker.origin}/`)],
    ['GET /again', to(`${attacker.origin}/again`)],
  );
  const { send } = openTestClient({ findCredential });
  await get(send, registry.url('/'));
  await get(send, registry.url('/again'));
  expect(registry.requests[1]?.headers.authorization).toMatch(/^Basic /);
  expect(attacker.lines).toEqual(['GET /', 'GET /again']);
  expectNoSecrets(attacker);
});

test('GHSA-vh4v-2xq2-g5cg: a bearer token does not follow either, nor is one fetched for where it leads', async () => {
  const bearer = (realm: string): Answer => ({
    status: 401,
    headers: { 'www-authenticate': `Bearer realm="${realm}"` },
  });
  const attacker = await startScriptedServer();
  attacker.expect(['GET /', bearer(`${attacker.origin}/token`)]);
  const registry = await startScriptedServer(
    ['GET /', bearer('/token')],
    ['GET /token', { body: '{"token":"canary-token"}' }],
    ['GET /', to(attacker.origin)],
  );
  const response = await openTestClient({ findCredential }).send({ method: 'GET', url: registry.url('/') });
  await response.discard();
  expect(response.status).toBe(401);
  expect(attacker.lines).toEqual(['GET /']);
  expectNoSecrets(attacker);
});

test('ggcr #2349: what was taken off on the way out is not put back on the way home', async () => {
  const registry = await startScriptedServer(['GET /', CHALLENGE]);
  const attacker = await startScriptedServer(['GET /', to(`${registry.origin}/admin`)]);
  registry.expect(
    ['GET /', to(attacker.origin)],
    ['GET /admin', to('/admin/more')],
    ['GET /admin/more', CHALLENGE],
  );
  const headers = { 'x-token': 'canary-header', cookie: 'canary=1' };
  const response = await openTestClient({ findCredential }).send({
    method: 'GET',
    url: registry.url('/'),
    headers,
  });
  await response.discard();
  expect(response.status).toBe(401);
  expectNoSecrets(attacker);
  for (const { headers: sent } of registry.requests.slice(2)) {
    expect(sent).not.toHaveProperty('authorization');
    expect(sent).not.toHaveProperty('x-token');
    expect(sent).not.toHaveProperty('cookie');
  }
});

test.each(['authorization', 'cookie', 'proxy-connection-id', 'x-api-key', 'private-token'])(
  'GHSA-whvf-jp7m-59f3: the header %s that a user adds stays with the origin it was added for',
  async (name) => {
    const attacker = await startScriptedServer(['GET /', {}]);
    const registry = await startScriptedServer(['GET /', to('/same')], ['GET /same', to(attacker.origin)]);
    await get(openTestClient().send, registry.url('/'), { headers: { [name]: 'canary' } });
    expect(registry.requests.map(({ headers }) => headers[name])).toEqual(['canary', 'canary']);
    expectNoSecrets(attacker);
  },
);

test('undici, Proxy-Authorization and Cookie: a cookie that a server sets is never sent to anybody', async () => {
  const registry = await startScriptedServer(
    ['GET /', { ...to('/next'), headers: { location: '/next', 'set-cookie': ['canary=1; Path=/', 'b=2'] } }],
    ['GET /next', {}],
  );
  await get(openTestClient().send, registry.url('/'));
  expectNoSecrets(registry);
});

test('GHSA-jxpm-75mh-9fp7: an upload location on another origin gets neither password nor token', async () => {
  const attacker = await startScriptedServer(['PUT /upload', CHALLENGE]);
  const registry = await startScriptedServer(
    ['POST /uploads/', CHALLENGE],
    ['POST /uploads/', { status: 202, headers: { location: `${attacker.origin}/upload` } }],
  );
  const { send } = openTestClient({ findCredential });
  const session = await send({ method: 'POST', url: registry.url('/uploads/') });
  await session.discard();
  const url = resolveServerUrl(session.header('location')!, registry.url('/uploads/'));
  const response = await send({ method: 'PUT', url, givenBy: registry.url('/uploads/') });
  await response.discard();
  expect(response.status).toBe(401);
  expect(attacker.lines).toHaveLength(1);
  expect(attacker.requests[0]?.headers).not.toHaveProperty('authorization');
});

test.each(['redirect', 'realm', 'location'])('from https to http: refused, as %s or otherwise', (what) => {
  expect(() =>
    resolveServerUrl('http://registry.example/', new URL(`https://registry.example/${what}`)),
  ).toThrow(expect.objectContaining({ code: 'REGISTRY_REFUSED' }) as Error);
});

test.each([
  'https://169.254.169.254/latest/meta-data/iam/security-credentials/',
  'https://[fd00:ec2::254]/',
  'https://[::ffff:169.254.169.254]/',
  'https://[64:ff9b::a9fe:a9fe]/',
  'https://127.0.0.1:2375/',
  'https://localhost/',
  'https://10.1.2.3/',
  'https://192.168.0.1/',
  'https://2852039166/',
])(
  'GHSA-28r5-37g7-p6mp, GHSA-h7vf-4x9w-h99v: a server on the internet does not lead us to %s',
  async (location) => {
    expect(() => resolveServerUrl(location, PUBLIC)).toThrow(
      expect.objectContaining({ code: 'REGISTRY_REFUSED' }) as Error,
    );
    // Nor where a name hid what it is until now.
    const sending = openTestClient().send({ method: 'GET', url: new URL(location), givenBy: PUBLIC });
    expect(await rejection(sending)).toMatchObject({ code: 'REGISTRY_REFUSED' });
  },
);

const own = await lookup(hostname()).catch(() => undefined);

test.skipIf(own === undefined || !isPrivateAddress(own.address))(
  'CVE-2020-15157: a name that resolves into a private network is refused at the connection, once',
  async () => {
    const client = openTestClient();
    const url = new URL(`https://${hostname()}/?sig=canary`);
    const error = await rejection(client.send({ method: 'GET', url, givenBy: PUBLIC }));
    expect(error).toMatchObject({ code: 'NETWORK', attempts: 1, cause: { code: 'EPRIVATEADDRESS' } });
    expect(everythingOf(error)).not.toContain('canary');
    expect(client.pausesMs).toEqual([]);
  },
);

test('from one private server to another is allowed: registry and blobs of one house', async () => {
  const blobs = await startScriptedServer(['GET /', { body: 'bytes' }]);
  const registry = await startScriptedServer(['GET /', to(blobs.origin)]);
  expect(await get(openTestClient().send, registry.url('/'))).toBe('bytes');
});

test('each hop answers for itself: the chooser of a URL is the server that named it, not the first of the chain', async () => {
  const third = await startScriptedServer(['GET /', {}]);
  const second = await startScriptedServer(['GET /', to('/same')], ['GET /same', to(third.origin)]);
  const first = await startScriptedServer(['GET /', to(second.origin)]);
  const choosers: (string | undefined)[] = [];
  const { send } = openTestClient({ onRequest: ({ givenBy }) => choosers.push(givenBy?.origin) });
  await get(send, first.url('/'));
  // So a server on the internet that a private one led us to does not lead us back inside.
  expect(choosers).toEqual([undefined, first.origin, first.origin, second.origin]);
});

test('GHSA-5jhf-2qmf-m8c5: neither password, token nor signature is in an error of any step', async () => {
  const registry = await startScriptedServer(
    ['GET /?sig=canary', CHALLENGE],
    ['GET /?sig=canary', to('http://user:canary@x/?canary')],
  );
  const error = await rejection(get(openTestClient({ findCredential }).send, registry.url('/?sig=canary')));
  expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(everythingOf(error)).not.toMatch(/canary|Y2FuYXJ5/);
});
