import { expect, test } from 'vitest';
import { parseChallenges } from '#ferry/http/challenge.js';
import type { Credential } from '#ferry/http/credentials/credential.js';
import type { HttpRequest } from '#ferry/http/send.js';
import { TokenService } from '#ferry/http/token.js';
import { rejection } from '../contracts/artifacts.js';
import { answerOf, everythingOf } from '../support/http.js';

const BASIC: Credential = { kind: 'basic', username: 'user', password: 'canary-secret' };

function openService() {
  const requests: HttpRequest[] = [];
  const warnings: string[] = [];
  const service = new TokenService({
    now: () => 0,
    onWarning: (text) => warnings.push(text),
    send: async (request) => {
      requests.push(request);
      return answerOf(200, {}, '{"token":"t"}');
    },
  });
  const get = async (url: string, realm: string, more: { credential?: Credential; scope?: string } = {}) =>
    service.get({
      challenge: parseChallenges(`Bearer realm="${realm}"`)[0]!,
      url: new URL(url),
      credential: more.credential ?? BASIC,
      scopes: more.scope === undefined ? [] : [more.scope],
    });
  return { requests, warnings, get };
}

test.each([
  ['its own host', 'https://r.example/v2/', 'https://r.example/token'],
  ['another port of its host', 'https://r.example:5000/', 'https://r.example:5001/auth'],
  ['Docker Hub', 'https://registry-1.docker.io/v2/', 'https://auth.docker.io/token'],
  ['GitLab', 'https://registry.gitlab.com/v2/', 'https://gitlab.com/jwt/auth'],
  ['an address', 'http://127.0.0.1:5000/', 'http://127.0.0.1:5001/'],
  ['TLS, from a registry without', 'http://r.example/', 'https://r.example/token'],
  ['a path relative to the request', 'https://r.example/v2/x', '/token'],
])('credentials go to %s', async (_, url, realm) => {
  const { get, requests, warnings } = openService();
  await get(url, realm);
  const [request] = requests;
  expect(request?.headers).toHaveProperty('authorization');
  const isSameOrigin = request?.url.origin === new URL(url).origin;
  expect(request?.givenBy?.href).toBe(isSameOrigin ? undefined : new URL(url).href);
  expect(warnings).toEqual([]);
});

test.each([
  ['an unrelated host', 'https://registry.example/', 'https://evil.test/'],
  ['a host that ends alike', 'https://docker.io/', 'https://notdocker.io/'],
  ['a host that begins alike', 'https://docker.io/', 'https://docker.io.evil.test/'],
  ['a neighbour under a public suffix', 'https://a.co.uk/', 'https://b.co.uk/'],
  ['a neighbour at a host for everybody', 'https://alice.github.io/', 'https://mallory.github.io/'],
  ['another address', 'http://10.0.0.1/', 'http://10.0.0.2/'],
  ['another name without dots', 'http://one/', 'http://two/'],
])('GHSA-28r5-37g7-p6mp: credentials do not go to %s, and that is said once', async (_, url, realm) => {
  const { get, requests, warnings } = openService();
  await get(url, realm, { scope: 'repository:a:pull' });
  await get(url, realm, { scope: 'repository:b:pull' });
  await get(url, realm, {
    scope: 'repository:c:pull',
    credential: { kind: 'refresh', token: 'canary-refresh' },
  });
  expect(requests.map(({ method, headers, body }) => ({ method, headers, body }))).toEqual(
    Array.from({ length: 3 }, () => ({ method: 'GET', headers: {}, body: undefined })),
  );
  for (const request of requests) {
    expect(request.identity).toBeUndefined();
    expect(request.givenBy?.href).toBe(url);
    expect(request.url.href).not.toContain('canary');
  }
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain(new URL(realm).host);
  expect(warnings[0]).not.toContain('canary');
});

test.each([
  ['from https to http', 'https://r.example/', 'http://r.example/token'],
  ['to another scheme', 'https://r.example/', 'ftp://r.example/token'],
  ['with a user name', 'https://r.example/', 'https://canary:canary@r.example/'],
  ['into a private network', 'https://93.184.216.34/', 'https://169.254.169.254/latest/'],
  ['to no URL', 'https://r.example/', 'https://['],
  ['to nothing', 'https://r.example/', ''],
])('ggcr #2243: a realm that leads %s is refused before anything is sent', async (_, url, realm) => {
  const { get, requests } = openService();
  const error = await rejection(get(url, realm));
  expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(everythingOf(error)).not.toContain('canary');
  expect(requests).toEqual([]);
});
