import { setTimeout as delay } from 'node:timers/promises';
import { HotAnswers } from '#ferry/serve/listen/hot-answers.js';
import { readRequestFacts } from '#ferry/serve/listen/request-facts.js';
import { expect, test } from 'vitest';
import { listenTo, openedBytes } from '../support/gateway-listener.js';

const FRESH = { 'cache-control': 'public, max-age=60' };

async function ask(url: string, headers: Record<string, string> = {}, method = 'GET') {
  const response = await fetch(url, { headers, method });
  return {
    status: response.status,
    body: await response.text(),
    length: response.headers.get('content-length'),
  };
}

test('a small fresh answer is repeated for a second, and then made anew', async () => {
  let version = 0;
  const { url, asked, answered } = await listenTo(() => {
    version += 1;
    return new Response(`version ${String(version)}`, { headers: FRESH });
  });
  for (let time = 0; time < 5; time += 1) expect((await ask(url)).body).toBe('version 1');
  expect([asked.length, answered.length]).toEqual([1, 5]);
  await delay(1050);
  expect((await ask(url)).body).toBe('version 2');
});

test('opened bytes are repeated as well, and not opened for it', async () => {
  const content = openedBytes(8192);
  const { url } = await listenTo(() => content.respond(0, 8192, { headers: FRESH }));
  const bodies = [];
  for (let time = 0; time < 3; time += 1) bodies.push(Buffer.from(await (await fetch(url)).arrayBuffer()));
  expect(bodies.every((body) => body.equals(content.bytes(0, 8192)))).toBe(true);
  expect(content.state).toMatchObject({ opened: 1, disposed: 1 });
});

test('HEAD and GET, encodings, tags and credentials are told apart', async () => {
  const { url, asked } = await listenTo((request) => {
    const of = (name: string): string => request.headers.get(name) ?? '-';
    const text = [
      request.method,
      of('accept-encoding'),
      of('if-none-match'),
      of('authorization'),
      of('accept'),
    ];
    return new Response(text.join(' '), { headers: FRESH });
  });
  const variants: [Record<string, string>, string?][] = [
    [{ 'accept-encoding': 'gzip' }],
    [{ 'accept-encoding': 'identity' }],
    [{ 'accept-encoding': 'gzip', 'if-none-match': '"a"' }],
    [{ 'accept-encoding': 'gzip', 'if-none-match': '"b"' }],
    [{ 'accept-encoding': 'gzip', authorization: 'Bearer a' }],
    [{ 'accept-encoding': 'gzip', authorization: 'Bearer b' }],
    [{ 'accept-encoding': 'gzip', accept: 'text/html' }],
    [{ 'accept-encoding': 'gzip' }, 'HEAD'],
  ];
  const first = [];
  const second = [];
  for (const [headers, method] of variants) first.push(await ask(url, headers, method));
  for (const [headers, method] of variants) second.push(await ask(url, headers, method));
  expect(second).toEqual(first);
  expect(new Set(first.map(({ body }) => body)).size).toBe(variants.length);
  expect(first.at(-1)?.body).toBe('');
  expect(asked).toHaveLength(variants.length);
});

test.each([
  ['a cookie that is set', { ...FRESH, 'set-cookie': 'a=b' }, {}],
  ['no word on how long it is good', {}, {}],
  ['max-age=0', { 'cache-control': 'max-age=0' }, {}],
  ['no-cache', { 'cache-control': 'max-age=60, no-cache' }, {}],
  ['no-store', { 'cache-control': 'no-store, max-age=60' }, {}],
  ['a Vary that goes further', { ...FRESH, vary: 'Accept-Encoding, User-Agent' }, {}],
  ['Vary: *', { ...FRESH, vary: '*' }, {}],
  ['a range asked for', FRESH, { range: 'bytes=0-1' }],
  ['a date asked for', FRESH, { 'if-modified-since': 'Sun, 22 Nov 2026 00:00:00 GMT' }],
  ['a cookie that is sent', FRESH, { cookie: 'a=b' }],
])('with %s it is made each time', async (_what, headers, asking) => {
  const { url, asked } = await listenTo(
    () => new Response('a', { headers: headers as Record<string, string> }),
  );
  await ask(url, asking);
  await ask(url, asking);
  expect(asked).toHaveLength(2);
});

test('errors, redirects and large answers are made each time', async () => {
  const { url, asked } = await listenTo((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/large') return new Response('a'.repeat(70_000), { headers: FRESH });
    return new Response('a', { status: Number(pathname.slice(1)), headers: FRESH });
  });
  for (const path of ['404', '206', '503', 'large']) {
    await ask(`${url}/${path}`);
    await ask(`${url}/${path}`);
  }
  expect(asked).toHaveLength(8);
});

test('it holds a bounded number of answers, and of bytes', () => {
  const hot = new HotAnswers();
  const facts = readRequestFacts([]);
  const keys = Array.from({ length: 2000 }, (_, index) => hot.keyOf('GET', `/${String(index)}`, facts)!);
  const answer = (bytes: number) => ({
    status: 200,
    headers: ['Cache-Control', 'max-age=60'],
    body: Buffer.alloc(bytes),
    route: 'other' as const,
    cache: 'none' as const,
  });
  const held = () => keys.filter((key) => hot.get(key, 1) !== undefined).length;
  for (const key of keys) hot.set(key, answer(1), 0);
  expect(held()).toBe(1024);
  for (const key of keys) hot.set(key, answer(64 * 1024), 0);
  expect(held() * 64 * 1024).toBeLessThanOrEqual(16 * 1024 * 1024);
  expect(held()).toBeGreaterThan(200);
  expect(hot.get(keys.at(-1)!, 999)).toBeDefined();
  expect(hot.get(keys.at(-1)!, 1000)).toBeUndefined();
});
