import { createAccessControl, type AccessControlOptions } from '#ferry/serve/access-control.js';
import { expect, test } from 'vitest';

const BASIC = { basic: [{ username: 'anna', password: 'pä:ss' }] };
const TOKENS = { tokens: ['tk-secret', 'other token'] };

function basic(username: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

/** Status, or the path that handlers see. */
async function ask(options: AccessControlOptions, path: string, headers: Record<string, string> = {}) {
  const fetch = createAccessControl(options).guard((request) => {
    const { pathname, search } = new URL(request.url);
    return new Response(
      `${request.method} ${pathname}${search} ${request.headers.get('if-none-match') ?? ''}`.trim(),
    );
  });
  const response = await fetch(new Request(`http://localhost${path}`, { headers }));
  return response.status === 200 ? response.text() : response.status;
}

test.each([
  ['nothing', {}, 401],
  ['the right pair', basic('anna', 'pä:ss'), 'GET /a'],
  ['a wrong password', basic('anna', 'pass'), 401],
  ['a wrong name', basic('otto', 'pä:ss'), 401],
  ['an empty pair', basic('', ''), 401],
  ['no base64', { authorization: 'Basic %%%' }, 401],
  ['a bearer token', bearer('tk-secret'), 401],
  ['another scheme', { authorization: 'Digest a' }, 401],
])('with names and passwords: %s', async (_what, headers, expected) => {
  expect(await ask(BASIC, '/a', headers)).toBe(expected);
});

test.each([
  ['/a', {}, 401],
  ['/a', bearer('tk-secret'), 'GET /a'],
  ['/a', { authorization: 'bearer  tk-secret ' }, 'GET /a'],
  ['/a', bearer('tk-secre'), 401],
  ['/a', bearer(''), 401],
  ['/a', basic('tk-secret', ''), 401],
  ['/t/tk-secret/conda-forge/noarch/a?b=c', {}, 'GET /conda-forge/noarch/a?b=c'],
  ['/t/tk-secret/', {}, 'GET /'],
  ['/t/tk-secret', {}, 'GET /'],
  ['/t/other%20token/a', {}, 'GET /a'],
  ['/t/%zz/a', {}, 401],
  ['/t/wrong/a', {}, 401],
  ['/t//a', {}, 401],
  ['/t/wrong/a', bearer('tk-secret'), 'GET /a'],
  ['/x/t/tk-secret/a', {}, 401],
  ['/t/wrong/healthz', {}, 401],
])('with tokens: %s %j is %j', async (path, headers, expected) => {
  expect(await ask(TOKENS, path, headers)).toBe(expected);
});

test('headers come through when the token is cut from the path', async () => {
  expect(await ask(TOKENS, '/t/tk-secret/a', { 'if-none-match': '"e"' })).toBe('GET /a "e"');
});

test('without tokens, /t/ is a path as any other', async () => {
  expect(await ask(BASIC, '/t/a/b', basic('anna', 'pä:ss'))).toBe('GET /t/a/b');
});

test('with no credentials to check against, nobody is let in', async () => {
  expect(await ask({}, '/a', basic('', ''))).toBe(401);
  expect(await ask({ tokens: [] }, '/t/undefined/a', bearer('undefined'))).toBe(401);
});

test('health is open to all, and so is what is said to be', async () => {
  const isOpen = (path: string): boolean => path === '/token';
  for (const path of ['/healthz', '/readyz', '/token']) {
    expect(await ask({ ...BASIC, isOpen }, path)).toBe(`GET ${path}`);
  }
  expect(await ask({ ...BASIC, isOpen }, '/metrics')).toBe(401);
  expect(await ask({ ...BASIC, isOpen }, '/healthz/..%2fa')).toBe(401);
});

test('further tokens can be judged by whoever issues them', async () => {
  const options = { isToken: (token: string) => token === 'issued' };
  expect(await ask(options, '/a', bearer('issued'))).toBe('GET /a');
  expect(await ask(options, '/a', bearer('made-up'))).toBe(401);
});

test('a refusal names all ways in, and is kept by nobody', async () => {
  const control = createAccessControl({ ...BASIC, ...TOKENS, realm: 'https://host/token' });
  const refusal = control.check(new Request('http://localhost/v2/'))!;
  expect(refusal.headers.get('www-authenticate')).toBe(
    'Basic realm="conda-ferry", charset="UTF-8", Bearer realm="https://host/token"',
  );
  expect(refusal.headers.get('cache-control')).toBe('no-store');
  expect(await refusal.json()).toEqual({
    errors: [{ code: 'UNAUTHORIZED', message: 'credentials are needed here' }],
  });
});
