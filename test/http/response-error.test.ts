import { expect, test } from 'vitest';
import type { ResponseError } from '#ferry/errors.js';
import { responseError } from '#ferry/http/response-error.js';
import type { HttpRequest } from '#ferry/http/send.js';
import { rejection } from '../contracts/artifacts.js';
import { everythingOf, openTestClient } from '../support/http.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';

async function errorOf(answer: Answer, path = '/v2/x'): Promise<ResponseError> {
  // A rate limit is met again and again.
  const server = await startScriptedServer(...Array.from({ length: 8 }, (): Row => [`PUT ${path}`, answer]));
  const request: HttpRequest = { method: 'PUT', url: server.url(path) };
  return responseError(request, await openTestClient().send(request));
}

const errors = (...list: unknown[]): string => JSON.stringify({ errors: list });

test.each<[string, Answer]>([
  ['RATE_LIMITED', { status: 429 }],
  ['RATE_LIMITED', { status: 403, body: errors({ code: 'TOOMANYREQUESTS', message: 'slow down' }) }],
  ['UNAUTHORIZED', { status: 401 }],
  ['DENIED', { status: 403, body: errors({ code: 'DENIED' }) }],
  ['NOT_FOUND', { status: 404, body: '404 page not found' }],
  ['NOT_FOUND', { status: 410 }],
  ['UNSUPPORTED', { status: 405 }],
  ['MANIFEST_BLOB_UNKNOWN', { status: 404, body: errors({ code: 'MANIFEST_BLOB_UNKNOWN' }) }],
  ['DIGEST_MISMATCH', { status: 400, body: errors({ code: 'DIGEST_INVALID' }) }],
  ['REGISTRY_REFUSED', { status: 400 }],
  ['REGISTRY_REFUSED', { status: 502, body: '<html><h1>Bad Gateway</h1></html>' }],
])('%s stands for %j', async (code, answer) => {
  expect(await errorOf(answer)).toMatchObject({ code, status: answer.status, method: 'PUT' });
});

test('says what was asked and what came, with what the registry says of it', async () => {
  const error = await errorOf({
    status: 400,
    headers: { 'retry-after': '2' },
    body: errors({ code: 'MANIFEST_INVALID', message: 'no layers', detail: { a: 1 } }, { code: 'UNKNOWN' }),
  });
  expect(error.message).toBe(`PUT ${error.url} answered 400 (MANIFEST_INVALID: no layers; UNKNOWN)`);
  expect(error.errors).toEqual([
    { code: 'MANIFEST_INVALID', message: 'no layers' },
    { code: 'UNKNOWN', message: '' },
  ]);
  expect(error.retryAfterMs).toBe(2000);
});

test.each([
  'null',
  '[]',
  '{"errors":null}',
  '{"errors":{}}',
  '{"errors":[null,1,"x"]}',
  '{"errors":[{"code":5,"message":{}}]}',
  '{"errors":',
  '\u0000\uffff',
])('takes %j for a body that says nothing', async (body) => {
  const error = await errorOf({ status: 500, body });
  expect(error.message).toBe(`PUT ${error.url} answered 500`);
});

test('reads a bounded part of the body', async () => {
  const error = await errorOf({
    status: 400,
    body: errors(...Array.from({ length: 200 }, () => ({ code: 'X'.repeat(20_000) }))),
  });
  expect(error.message.length).toBeLessThan(300);
});

test('keeps a bounded part of what was read', async () => {
  const error = await errorOf({
    status: 400,
    body: errors(...Array.from({ length: 150 }, () => ({ code: 'CODE', message: 'long '.repeat(5) }))),
  });
  expect(error.errors).toHaveLength(5);
  const wordy = await errorOf({
    status: 400,
    body: errors({ code: 'C'.repeat(999), message: 'm'.repeat(999) }),
  });
  expect(wordy.message.length).toBeLessThan(700);
});

test('strips what a terminal could take for more than text', async () => {
  const error = await errorOf({
    status: 400,
    body: errors({ code: 'A\u001b[31mB', message: 'one\r\ntwo\u0000\u0085\u2028\u202ethree\u200b' }),
  });
  expect(error.message).toContain('(A [31mB: one two three )');
});

test('a body that breaks off still leaves the status', async () => {
  const error = await errorOf({ status: 400, body: errors({ code: 'DENIED' }), fault: 'truncated' });
  expect(error).toMatchObject({ code: 'REGISTRY_REFUSED', status: 400, errors: [] });
});

test('an abort while the body is read rejects with the reason given', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const server = await startScriptedServer(['GET /', { status: 400, body: 'half of it', fault: 'stalled' }]);
  const request: HttpRequest = { method: 'GET', url: server.url('/'), signal: controller.signal };
  const failing = responseError(request, await openTestClient().send(request));
  controller.abort(reason);
  expect(await rejection(failing)).toBe(reason);
});

test('keeps secrets of the URL, and those the server repeats, out of everything', async () => {
  const path = '/t/secret-token/noarch/x.conda?X-Amz-Signature=secret-signature&digest=sha256%3Aabc';
  const message =
    'cannot reach https://user:secret-password@blobs/t/secret-token/?sig=secret-signature today';
  const error = await errorOf({ status: 400, body: errors({ code: 'UNKNOWN', message }) }, path);
  expect(everythingOf(error)).not.toContain('secret');
  expect(error.url).toContain('/t/***/noarch/x.conda?');
  expect(error.url).toContain('digest=sha256%3Aabc');
  expect(error.message).toContain('today');
});

test.each([
  ['Bearer service="x"', 'log in with conda-ferry login'],
  ['Basic realm="x"', 'log in with conda-ferry login'],
  ['Negotiate, Basic realm="x"', 'log in with conda-ferry login'],
  ['Negotiate, Digest realm="x"', 'takes negotiate, digest authentication only'],
])('to the challenge %j the hint is to %s', async (challenge, hint) => {
  const error = await errorOf({ status: 401, headers: { 'www-authenticate': challenge } });
  expect(error.hint).toContain(hint);
});

test('where another origin sent us there is nothing to log in to', async () => {
  const server = await startScriptedServer([
    'GET /',
    { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } },
  ]);
  const request: HttpRequest = {
    method: 'GET',
    url: server.url('/'),
    givenBy: new URL('http://127.0.0.1:1/'),
  };
  expect((await responseError(request, await openTestClient().send(request))).hint).toBeUndefined();
});

test('a rate limit says how long the server asks to wait', async () => {
  const error = await errorOf({ status: 429, headers: { 'retry-after': '3600' } });
  expect(error).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 3_600_000 });
  expect(error.hint).toContain('3600 s');
});
