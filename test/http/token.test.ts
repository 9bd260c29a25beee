import { expect, test } from 'vitest';
import { parseChallenges } from '#ferry/http/challenge.js';
import type { Credential } from '#ferry/http/credentials/credential.js';
import type { HttpRequest, HttpResponse } from '#ferry/http/send.js';
import { TokenService, type TokenRequest } from '#ferry/http/token.js';
import { collect } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { createGate } from '../support/gate.js';
import { answerOf, everythingOf } from '../support/http.js';

const REGISTRY = new URL('https://registry.example/v2/a/manifests/1');
const BASIC: Credential = { kind: 'basic', username: 'user', password: 'canary-secret' };
const [CHALLENGE] = parseChallenges(
  'Bearer realm="https://registry.example/token?x=1",service="the registry"',
);

/** A token server that answers what `answer` says, or `token-1`, `token-2` … */
function openService(answer?: (request: HttpRequest, count: number) => HttpResponse | Promise<HttpResponse>) {
  const requests: HttpRequest[] = [];
  let now = 5000;
  const service = new TokenService({
    now: () => now,
    send: async (request) => {
      requests.push(request);
      const count = requests.length;
      return answer === undefined
        ? answerOf(200, {}, JSON.stringify({ token: `token-${count}`, expires_in: 300 }))
        : answer(request, count);
    },
  });
  return {
    requests,
    get: async (scopes: string[], more: Partial<TokenRequest> = {}) =>
      service.get({ challenge: CHALLENGE!, url: REGISTRY, credential: undefined, scopes, ...more }),
    drop: (token: string) => {
      service.drop(token);
    },
    pass: (ms: number) => {
      now += ms;
    },
    scopes: (index: number) => requests[index]?.url.searchParams.getAll('scope'),
  };
}

const tokenOf = (document: unknown) => () => answerOf(200, {}, JSON.stringify(document));

test('an anonymous token is asked for by GET, with service and scopes, next to what the realm says', async () => {
  const service = openService();
  expect(await service.get(['repository:a:pull'])).toBe('token-1');
  const [request] = service.requests;
  expect(request).toMatchObject({ method: 'GET', headers: {}, lane: 'token', timeLimitMs: 15_000 });
  expect(request?.url.href).toBe(
    'https://registry.example/token?x=1&service=the+registry&scope=repository%3Aa%3Apull',
  );
});

test('user name and password go to the realm as Basic', async () => {
  const service = openService();
  await service.get(['repository:a:pull'], { credential: { ...BASIC, username: 'üser' } });
  expect(service.requests[0]?.headers).toEqual({
    authorization: `Basic ${Buffer.from('üser:canary-secret').toString('base64')}`,
  });
});

test('a refresh token goes to the realm by POST, and into no URL', async () => {
  const service = openService();
  const credential: Credential = { kind: 'refresh', token: 'canary/secret+&' };
  await service.get(['repository:b:push,pull', 'repository:a:pull'], { credential });
  const [request] = service.requests;
  expect(request).toMatchObject({ method: 'POST', repeatable: true, lane: 'token' });
  expect(request?.url.href).toBe('https://registry.example/token?x=1');
  const form = Buffer.from(await collect(request!.body!.open(), 1000, 'form')).toString();
  expect(Object.fromEntries(new URLSearchParams(form))).toEqual({
    grant_type: 'refresh_token',
    refresh_token: 'canary/secret+&',
    client_id: 'conda-ferry',
    service: 'the registry',
    scope: 'repository:b:pull,push repository:a:pull',
  });
  expect(request?.body?.size).toBe(Buffer.byteLength(form));
});

test.each([
  ['token', { token: 't' }],
  ['access_token', { access_token: 't' }],
  ['both', { token: 't', access_token: 'other' }],
  ['an empty token beside an access_token', { token: '', access_token: 't' }],
  ['null for what is absent', { token: null, access_token: 't', expires_in: null }],
  ['more than we know', { token: 't', issued_at: '0001-01-01T00:00:00Z', refresh_token: 'r' }],
])('takes an answer with %s', async (_, document) => {
  expect(await openService(tokenOf(document)).get([])).toBe('t');
});

test.each([
  ['no JSON', '<html>canary-secret</html>'],
  ['no object', '"canary-secret"'],
  ['no token', '{"secret":"canary-secret"}'],
  ['an empty token', '{"token":"","access_token":""}'],
  ['a token of another type', '{"token":["canary-secret"]}'],
  ['a token that would add a header', '{"token":"canary-secret\\r\\nx: y"}'],
  ['a token with a space', '{"token":"canary secret"}'],
])('refuses %s, without repeating it', async (_, body) => {
  const service = openService(() => answerOf(200, {}, body));
  const error = await rejection(service.get([], { credential: BASIC }));
  expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(everythingOf(error)).not.toContain('canary');
});

test('refuses a token document of more than 128 KiB', async () => {
  const long = (length: number) => openService(tokenOf({ token: 't', filler: 'x'.repeat(length) })).get([]);
  expect(await long(127 * 1024)).toBe('t');
  expect(await rejection(long(128 * 1024))).toMatchObject({ code: 'SIZE_EXCEEDED' });
});

test.each([
  ['300 s: ten percent early', 300, 270_000],
  ['60 s: ten seconds early', 60, 50_000],
  ['nothing, which means 60 s', undefined, 50_000],
  ['0, which means 60 s', 0, 50_000],
  ['less than nothing', -5, 50_000],
  ['1 s: half of it', 1, 500],
])('a token that says it lasts %s is renewed then', async (_, seconds, renewedAfterMs) => {
  const service = openService((request, count) => tokenOf({ token: `t${count}`, expires_in: seconds })());
  expect(await service.get([])).toBe('t1');
  service.pass(renewedAfterMs - 1);
  expect(await service.get([])).toBe('t1');
  service.pass(1);
  expect(await service.get([])).toBe('t2');
});

test('the life of a token begins when it comes, however long the request had to wait', async () => {
  const service = openService((request, count) => {
    service.pass(120_000);
    return tokenOf({ token: `t${count}`, expires_in: 60 })();
  });
  expect(await service.get([])).toBe('t1');
  service.pass(49_000);
  expect(await service.get([])).toBe('t1');
});

test('64 who want the same at once share one request', async () => {
  const gate = createGate();
  const service = openService(async () => {
    await gate.passed;
    return tokenOf({ token: 'shared' })();
  });
  const wants = Array.from({ length: 64 }, async () => service.get(['repository:a:pull']));
  gate.open();
  expect(new Set(await Promise.all(wants))).toEqual(new Set(['shared']));
  expect(service.requests).toHaveLength(1);
});

test('one who leaves does not take the others along', async () => {
  const controller = new AbortController();
  const service = openService(async ({ signal }, count) => {
    if (count > 1) return tokenOf({ token: 'second' })();
    return new Promise((_, reject) => {
      signal?.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });
  });
  const leaver = rejection(service.get([], { signal: controller.signal }));
  const stayer = service.get([]);
  const reason = new Error('enough');
  controller.abort(reason);
  expect(await leaver).toBe(reason);
  expect(await stayer).toBe('second');
});

test.each([
  [['repository:a:pull,push'], ['repository:a:pull'], true],
  [['repository:a:push', 'repository:a:pull'], ['repository:a:pull,push'], true],
  [['repository:a:pull', 'repository:b:pull'], ['repository:b:pull'], true],
  [['repository:a:*'], ['repository:a:delete'], true],
  [['repository:a:pull'], ['repository:a:pull,push'], false],
  [['repository:a:pull'], ['repository:b:pull'], false],
  [['repository:a:pull'], ['repository:a:pull', 'repository:b:pull'], false],
  [['repository:a:5000/x:pull'], ['repository:a:pull'], false],
  [[], ['repository:a:pull'], false],
])('a token for %j serves for %j: %s', async (first, second, isServed) => {
  const service = openService();
  await service.get(first);
  expect(await service.get(second)).toBe(isServed ? 'token-1' : 'token-2');
});

test('tokens of different credentials, services and registries are kept apart', async () => {
  const service = openService();
  const challenge = parseChallenges('Bearer realm="https://registry.example/token",service="other"')[0]!;
  const tokens = [
    await service.get([]),
    await service.get([], { credential: BASIC }),
    await service.get([], { credential: { ...BASIC, password: 'other' } }),
    await service.get([], { credential: { kind: 'refresh', token: 'r' } }),
    await service.get([], { challenge }),
    await service.get([], { url: new URL('https://registry.example:444/') }),
  ];
  expect(new Set(tokens).size).toBe(6);
  expect(await service.get([], { credential: BASIC })).toBe('token-2');
});

test('what is written to stands first, since some servers read no further', async () => {
  const service = openService();
  await service.get(['repository:a:pull', 'repository:z:push,pull']);
  await service.get(['repository:b:pull', 'repository:y:delete']);
  await service.get(['repository:c:pull', 'registry:catalog:*']);
  await service.get(['repository:push:pull', 'repository:d:pull']);
  expect([0, 1, 2, 3].map(service.scopes)).toEqual([
    ['repository:z:pull,push', 'repository:a:pull'],
    ['repository:y:delete', 'repository:b:pull'],
    ['registry:catalog:*', 'repository:c:pull'],
    ['repository:d:pull', 'repository:push:pull'],
  ]);
});

test('a star takes in all other actions, and a scope without a resource stays as it is', async () => {
  const service = openService();
  await service.get(['repository:a:pull', 'repository:a:*', 'aws']);
  expect(service.scopes(0)).toEqual(['repository:a:*', 'aws']);
});

test('a token that was not taken is not given out again', async () => {
  const service = openService();
  service.drop(await service.get(['repository:a:pull']));
  expect(await service.get(['repository:a:pull'])).toBe('token-2');
});

test.each([
  [401, 'UNAUTHORIZED'],
  [403, 'DENIED'],
])('a refusal by %i is believed for five seconds, of that want only', async (status, code) => {
  const service = openService(() => answerOf(status, {}, '{"errors":[{"code":"DENIED","message":"no"}]}'));
  const want = { credential: BASIC };
  const error = await rejection(service.get(['repository:a:pull'], want));
  expect(error).toMatchObject({ code, status });
  service.pass(4999);
  expect(await rejection(service.get(['repository:a:pull'], want))).toBe(error);
  expect(service.requests).toHaveLength(1);
  await rejection(service.get(['repository:b:pull'], want));
  expect(service.requests).toHaveLength(2);
  service.pass(1);
  await rejection(service.get(['repository:a:pull'], want));
  expect(service.requests).toHaveLength(3);
  expect(everythingOf(error)).not.toMatch(/canary|Y2FuYXJ5/);
});

test('a failure of the moment is not remembered', async () => {
  const service = openService((request, count) =>
    count === 1 ? answerOf(503) : tokenOf({ token: 'at-last' })(),
  );
  expect(await rejection(service.get([]))).toMatchObject({ code: 'REGISTRY_REFUSED', status: 503 });
  expect(await service.get([])).toBe('at-last');
});

test('a redirect of the token server is not followed, lest credentials travel', async () => {
  const service = openService(() => answerOf(307, { location: 'https://elsewhere.example/' }));
  expect(await rejection(service.get([], { credential: BASIC }))).toMatchObject({ status: 307 });
  expect(service.requests).toHaveLength(1);
});

test('says what to do where there are no credentials, and nothing wrong where there are', async () => {
  const service = openService(() => answerOf(403));
  const anonymous = await rejection(service.get(['repository:a:pull']));
  expect(anonymous).toMatchObject({
    hint: expect.stringContaining('conda-ferry login registry.example') as string,
  });
  const known = await rejection(service.get(['repository:a:pull'], { credential: BASIC }));
  expect(known).toMatchObject({ hint: expect.not.stringContaining('conda-ferry login') as string });
});
