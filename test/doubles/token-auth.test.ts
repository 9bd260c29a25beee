import { describe, expect, test } from 'vitest';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { ask, codeOf, putArtifact, tokenFor } from './requests.js';

const writer = {
  username: 'writer',
  password: 'w-secret',
  refreshToken: 'refresh-me',
  rights: { org: ['pull', 'push'] },
} as const;

describe('tokens', () => {
  test('a token is good for what it was asked for, and until it expires', async () => {
    let now = 1_000_000;
    const double = await useRegistryDouble({
      auth: { kind: 'token', users: [writer], anonymousPull: true, realm: 'separate', expiresInSeconds: 60 },
      now: () => now,
    });
    const realm = double.tokenOrigin ?? '';
    expect(realm).not.toBe(double.origin);
    const url = `${double.origin}/v2/org/a/tags/list`;
    const challenge = await ask(url);
    expect([challenge.status, challenge.headers.get('www-authenticate')]).toEqual([
      401,
      `Bearer realm="${realm}/token",service="double",scope="repository:org/a:pull"`,
    ]);
    const push = await tokenFor(realm, 'repository:org/a:pull,push', writer);
    expect((await putArtifact(double, 'org/a', 'x', { headers: push })).status).toBe(201);
    const pull = await tokenFor(realm, 'repository:org/a:pull,push');
    expect((await ask(url, { headers: pull })).status).toBe(200);
    const refused = await putArtifact(double, 'org/a', 'y', { headers: pull });
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringMatching(/scope="repository:org\/a:pull,push",error="insufficient_scope"$/),
    ]);
    now += 60_000;
    const expired = await ask(url, { headers: pull });
    expect(expired.headers.get('www-authenticate')).toMatch(/error="invalid_token"$/);
    expect(double.tokenRequests).toEqual([
      {
        method: 'GET',
        scopes: ['repository:org/a:pull,push'],
        service: undefined,
        hasAuthorization: true,
        status: 200,
      },
      {
        method: 'GET',
        scopes: ['repository:org/a:pull,push'],
        service: undefined,
        hasAuthorization: false,
        status: 200,
      },
    ]);
  });

  test('rights end at the prefix; a wrong password gets none', async () => {
    const double = await useRegistryDouble({ auth: { kind: 'token', users: [writer] } });
    for (const name of ['organ/a', 'other']) {
      const token = await tokenFor(double.origin, `repository:${name}:pull,push`, writer);
      expect((await putArtifact(double, name, 'x', { headers: token })).status).toBe(401);
    }
    const wrong = `Basic ${Buffer.from('writer:wrong').toString('base64')}`;
    const scope = 'repository:org/a:pull';
    const seen = await ask(`${double.origin}/token?scope=${scope}`, { headers: { authorization: wrong } });
    expect([seen.status, codeOf(seen)]).toEqual([401, 'UNAUTHORIZED']);
  });

  test('a mount needs both repositories', async () => {
    const double = await useRegistryDouble({ auth: { kind: 'token', users: [writer] } });
    const url = `${double.origin}/v2/org/a/blobs/uploads/?mount=sha256:${'0'.repeat(64)}&from=org/b`;
    const seen = await ask(url, { method: 'POST' });
    expect(seen.headers.get('www-authenticate')).toMatch(
      /scope="repository:org\/a:pull,push repository:org\/b:pull"/,
    );
  });

  test('a refresh token is posted in a form', async () => {
    const double = await useRegistryDouble({ auth: { kind: 'token', users: [writer] } });
    const post = (fields: Record<string, string>) =>
      ask(`${double.origin}/token`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({
          client_id: 'test',
          scope: 'repository:org/a:pull',
          ...fields,
        }).toString(),
      });
    const seen = await post({ grant_type: 'refresh_token', refresh_token: 'refresh-me' });
    const { access_token: token, scope } = JSON.parse(seen.text) as Record<string, string>;
    expect(scope).toBe('repository:org/a:pull');
    const list = await ask(`${double.origin}/v2/org/a/tags/list`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(codeOf(list)).toBe('NAME_UNKNOWN');
    expect((await post({ grant_type: 'refresh_token', refresh_token: 'wrong' })).status).toBe(401);
  });

  test('Basic lets in whoever has the password', async () => {
    const double = await useRegistryDouble({ auth: { kind: 'basic', username: 'u', password: 'p' } });
    const authorization = `Basic ${Buffer.from('u:p').toString('base64')}`;
    const anonymous = await ask(`${double.origin}/v2/`);
    expect([anonymous.status, anonymous.headers.get('www-authenticate')]).toEqual([
      401,
      'Basic realm="double"',
    ]);
    expect((await ask(`${double.origin}/v2/`, { headers: { authorization } })).status).toBe(200);
  });
});
