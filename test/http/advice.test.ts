import { expect, test } from 'vitest';
import { responseError } from '#ferry/http/response-error.js';
import type { HttpRequest } from '#ferry/http/send.js';
import { openTestClient } from '../support/http.js';
import { startScriptedServer } from '../support/scripted-server.js';

test('credentials that are known to be missing are the cause, with what to do', async () => {
  const server = await startScriptedServer([
    'GET /v2/x',
    { status: 403, body: JSON.stringify({ errors: [{ code: 'DENIED' }] }) },
  ]);
  const advise = (_: HttpRequest, refusal: string) =>
    Promise.resolve({ reason: `${refusal}: no credentials were found`, hint: 'log in' });
  const request: HttpRequest = { method: 'GET', url: server.url('/v2/x') };
  const error = await responseError(request, await openTestClient({ advise }).send(request));
  expect(error).toMatchObject({ code: 'DENIED', hint: 'log in' });
  expect(error.cause).toMatchObject({ code: 'DENIED', message: 'forbidden: no credentials were found' });
});

test('advice is for refusals alone: not for other answers, nor for what a redirect led to', async () => {
  const elsewhere = await startScriptedServer(['GET /y', { status: 403 }]);
  const server = await startScriptedServer(
    ['GET /v2/x', { status: 404 }],
    ['GET /v2/x', { status: 401, headers: { 'www-authenticate': 'Negotiate' } }],
    ['GET /v2/x', { status: 307, headers: { location: elsewhere.url('/y').href } }],
  );
  const asked: string[] = [];
  const advise = (_: HttpRequest, refusal: string) => {
    asked.push(refusal);
    return Promise.reject(new Error('never asked'));
  };
  const { send } = openTestClient({ advise });
  const request: HttpRequest = { method: 'GET', url: server.url('/v2/x') };
  for (const code of ['NOT_FOUND', 'UNAUTHORIZED', 'DENIED']) {
    const error = await responseError(request, await send(request));
    expect([error.code, error.cause]).toEqual([code, undefined]);
  }
  expect(asked).toEqual([]);
});

test('advice that cannot be had does not hide the refusal', async () => {
  const server = await startScriptedServer(['GET /v2/x', { status: 403 }]);
  const { send } = openTestClient({ advise: () => Promise.reject(new Error('no file')) });
  const request: HttpRequest = { method: 'GET', url: server.url('/v2/x') };
  expect(await responseError(request, await send(request))).toMatchObject({ code: 'DENIED', status: 403 });
});
