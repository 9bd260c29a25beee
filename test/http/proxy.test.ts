import { expect, test } from 'vitest';
import type { ProxySettings } from '#ferry/http/transport.js';
import { openerOf } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { everythingOf, get, openTestClient } from '../support/http.js';
import { startProxy } from '../support/proxy.js';
import { startScriptedServer, type ScriptedServer } from '../support/scripted-server.js';
import { createAuthority, startTlsServer } from '../support/tls.js';

/** The same server by a name that only the proxy knows. */
const byName = (server: ScriptedServer, path: string): URL =>
  new URL(path, `http://registry.test:${server.url('/').port}`);

test('http goes through its proxy by whole URLs, body and all, and its password stays there', async () => {
  const proxy = await startProxy({ credentials: 'user:canary@/secret' });
  const origin = await startScriptedServer(['GET /a?b=c', { body: 'hello' }], ['PUT /blob', { status: 201 }]);
  const { send } = openTestClient({ proxy: { httpProxy: `http://user:canary%40%2Fsecret@${proxy.host}` } });
  const url = byName(origin, '/a?b=c');
  expect(await get(send, url)).toBe('hello');
  const body = { size: 1_000_000, open: openerOf(Buffer.alloc(1_000_000, 7)) };
  const response = await send({ method: 'PUT', url: byName(origin, '/blob'), body });
  await response.discard();
  expect(response.status).toBe(201);
  expect(proxy.lines).toEqual([`GET ${url.href}`, `PUT ${url.origin}/blob`]);
  expect(origin.requests[1]?.body.byteLength).toBe(1_000_000);
  for (const { headers } of origin.requests) {
    expect(headers.host).toBe(url.host);
    expect(headers).not.toHaveProperty('proxy-authorization');
  }
});

test('https goes through its proxy by CONNECT: neither side sees what is meant for the other', async () => {
  const authority = await createAuthority();
  const origin = await startTlsServer(authority.issue('server'));
  const proxy = await startProxy({ credentials: 'user:canary' });
  const { send } = openTestClient({
    proxy: { httpsProxy: `http://user:canary@${proxy.host}` },
    findTlsSettings: () => ({ ca: [authority.ca], client: authority.issue('me') }),
  });
  const headers = { authorization: 'Bearer canary-token' };
  expect(await get(send, new URL(`https://registry.test:${origin.port}/x`), { headers })).toBe('secure');
  expect(proxy.lines).toEqual([`CONNECT registry.test:${origin.port}`]);
  expect(JSON.stringify(proxy.requests)).not.toContain('canary-token');
  const [request] = origin.requests;
  expect(request).toMatchObject({ line: 'GET /x', peer: 'me' });
  expect(request?.headers).not.toHaveProperty('proxy-authorization');
});

test('a certificate is checked through the proxy, too', async () => {
  const origin = await startTlsServer((await createAuthority()).issue('server'));
  const proxy = await startProxy();
  const { send } = openTestClient({ proxy: { httpsProxy: `http://${proxy.host}` } });
  const error = await rejection(get(send, new URL(`https://registry.test:${origin.port}/`)));
  expect(error).toMatchObject({
    code: 'NETWORK',
    attempts: 1,
    hint: expect.stringContaining('--ca-file') as string,
  });
});

test.each<[string, (proxy: string) => ProxySettings]>([
  ['a proxy without a scheme', (proxy) => ({ httpProxy: proxy })],
  ['a user name without a scheme', (proxy) => ({ httpProxy: `user:pass@${proxy}` })],
  [
    'other hosts in no_proxy',
    (proxy) => ({ httpProxy: `http://${proxy}`, noProxy: 'example.com,other.test' }),
  ],
])('%s is taken', async (_, settings) => {
  const proxy = await startProxy();
  const origin = await startScriptedServer(['GET /', { body: 'hello' }]);
  expect(await get(openTestClient({ proxy: settings(proxy.host) }).send, byName(origin, '/'))).toBe('hello');
  expect(proxy.lines).toHaveLength(1);
});

test.each(['registry.test', '.test', 'a,registry.test', '*'])(
  'what no_proxy names is reached directly: %s',
  async (noProxy) => {
    const proxy = await startProxy();
    const origin = await startScriptedServer(['GET /', {}]);
    const { send } = openTestClient({ proxy: { httpProxy: `http://${proxy.host}`, noProxy } });
    // Nobody but the proxy knows the name.
    const signal = AbortSignal.timeout(3000);
    await rejection(get(send, byName(origin, '/'), { signal }));
    expect(proxy.lines).toEqual([]);
  },
);

test('loopback is always reached directly, by any of its names', async () => {
  const proxy = await startProxy();
  const origin = await startScriptedServer(['GET /', {}], ['GET /', {}]);
  const { send } = openTestClient({
    proxy: { httpProxy: `http://${proxy.host}`, httpsProxy: `http://${proxy.host}` },
  });
  await get(send, origin.url('/'));
  await get(send, new URL(`http://localhost:${origin.url('/').port}/`));
  expect(origin.lines).toHaveLength(2);
  expect(proxy.lines).toEqual([]);
});

test('the environment is not looked at behind the back of whoever opens the client', async () => {
  const proxy = await startProxy();
  const before = { ...process.env };
  Object.assign(process.env, { http_proxy: `http://${proxy.host}`, no_proxy: '*' });
  try {
    const origin = await startScriptedServer(['GET /', {}]);
    await rejection(get(openTestClient().send, byName(origin, '/'), { signal: AbortSignal.timeout(3000) }));
    expect(proxy.lines).toEqual([]);
    await get(openTestClient({ proxy: { httpProxy: proxy.host } }).send, byName(origin, '/'));
    expect(proxy.lines).toHaveLength(1);
  } finally {
    process.env = before;
  }
});

test('the proxy of one kind of URL does not stand in for the other', async () => {
  const proxy = await startProxy();
  const { send } = openTestClient({ proxy: { httpProxy: `http://${proxy.host}` } });
  await rejection(get(send, new URL('https://registry.test:1/'), { signal: AbortSignal.timeout(3000) }));
  expect(proxy.lines).toEqual([]);
});

test.each([
  ['http', 'with the wrong password', 'user:canary@'],
  ['http', 'without one', ''],
  ['https', 'with the wrong password', 'user:canary@'],
  ['https', 'without one', ''],
])('a proxy that does not let %s in %s fails the request, and no secret is told', async (scheme, _, user) => {
  const proxy = await startProxy({ credentials: 'user:right' });
  const url = `http://${user}${proxy.host}`;
  const { send } = openTestClient({ proxy: { httpProxy: url, httpsProxy: url } });
  const error = await rejection(get(send, new URL(`${scheme}://registry.test:1/?sig=canary`)));
  expect(error).toMatchObject({ code: 'NETWORK' });
  expect(everythingOf(error)).not.toMatch(/canary|Y2FuYXJ5/);
});

test('a proxy that is no URL is said so, without its text', async () => {
  const { send } = openTestClient({ proxy: { httpProxy: 'http://user:canary@:bad' } });
  const error = await rejection(get(send, new URL('http://registry.test/')));
  expect(error).toMatchObject({ code: 'USAGE' });
  expect(everythingOf(error)).not.toContain('canary');
});
