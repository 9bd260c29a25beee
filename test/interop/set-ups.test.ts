import { describe, expect, onTestFinished, test } from 'vitest';
import { artifactOf } from '../contracts/artifacts.js';
import { ask, basicAuthorization, type Question, type Reply } from '../support/ask.js';
import { startDistribution3 } from '../support/registries/distribution3.js';
import {
  startDiskRegistry,
  startMemoryRegistry,
  startTlsRegistry,
  startTokenRegistry,
  TEST_USER,
} from '../support/registries/docker.js';
import { startOlareg } from '../support/registries/olareg.js';
import type { StartedRegistry } from '../support/registries/server-process.js';
import { startTokenServer, type TokenRules, type TokenServer } from '../support/registries/token-server.js';

/**
 * The registries themselves, with nothing of ours in between: other tests rely on each of them asking for what its
 * set-up says.
 */

const artifact = artifactOf('behind a door');
const [config, layer] = artifact.blobs;
const basic = basicAuthorization(TEST_USER);
const wrong = basicAuthorization({ ...TEST_USER, password: 'wrong' });

/** Pushes the artifact as `a/b:1.0-0` and reads it back: each step's status. */
async function pushAndPull(registry: StartedRegistry, authorization: string): Promise<number[]> {
  const { origin, caFile } = registry;
  const statuses: number[] = [];
  const step = async (url: string | URL, question: Question = {}): Promise<Reply> => {
    const headers = { authorization, ...question.headers };
    const reply = await ask(url, { ...question, headers, caFile });
    statuses.push(reply.status);
    return reply;
  };
  for (const blob of [config, layer]) {
    const session = await step(`${origin}/v2/a/b/blobs/uploads/`, { method: 'POST' });
    if (session.status !== 202) return statuses;
    const place = new URL(session.headers.location ?? '', origin);
    place.searchParams.set('digest', blob?.descriptor.digest ?? '');
    await step(place, { method: 'PUT', body: blob?.bytes ?? '' });
  }
  const { bytes, descriptor } = artifact.manifest;
  const manifest = `${origin}/v2/a/b/manifests/1.0-0`;
  await step(manifest, { method: 'PUT', headers: { 'content-type': descriptor.mediaType }, body: bytes });
  const stored = await step(manifest, { headers: { accept: descriptor.mediaType } });
  expect(stored.body.equals(bytes)).toBe(true);
  await step(`${origin}/v2/a/b/blobs/${layer?.descriptor.digest ?? ''}`);
  return statuses;
}

const DONE = [202, 201, 202, 201, 201, 200, 200];

describe('a registry of our own authority', () => {
  test('lets one user in, over TLS alone', async () => {
    await using registry = await startTlsRegistry();
    const { origin, host, caFile } = registry;
    const stranger = await ask(`${origin}/v2/`, { caFile });
    expect(stranger.status).toBe(401);
    expect(stranger.headers['www-authenticate']).toBe('Basic realm="test"');
    expect((await ask(`${origin}/v2/`, { caFile, headers: { authorization: wrong } })).status).toBe(401);
    expect(await pushAndPull(registry, basic)).toEqual(DONE);
    const byName = origin.replace('127.0.0.1', 'localhost');
    expect((await ask(`${byName}/v2/`, { caFile, headers: { authorization: basic } })).status).toBe(200);
    await expect(ask(`${origin}/v2/`)).rejects.toMatchObject({ code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
    expect((await ask(`http://${host}/v2/`)).status).toBe(400);
  });
});

describe('a registry with tokens', () => {
  async function scene(rules: Partial<TokenRules> = {}): Promise<{
    tokens: TokenServer;
    registry: StartedRegistry;
    fetchToken: (scope: string, authorization?: string) => Promise<Reply>;
  }> {
    const tokens = await startTokenServer(rules);
    const registry = await startTokenRegistry(tokens);
    onTestFinished(async () => {
      await registry[Symbol.asyncDispose]();
      await tokens[Symbol.asyncDispose]();
    });
    const fetchToken = (scope: string, authorization?: string): Promise<Reply> =>
      ask(`${tokens.url}?service=${tokens.service}&scope=${encodeURIComponent(scope)}`, {
        headers: authorization === undefined ? {} : { authorization },
      });
    return { tokens, registry, fetchToken };
  }

  function jsonOf({ body }: Reply): unknown {
    return JSON.parse(body.toString('utf8'));
  }

  function bearerOf(reply: Reply): string {
    return `Bearer ${(jsonOf(reply) as { token: string }).token}`;
  }

  test('says where tokens are and for what, and takes them', async () => {
    const { tokens, registry, fetchToken } = await scene();
    const stranger = await ask(`${registry.origin}/v2/a/b/blobs/uploads/`, { method: 'POST' });
    expect(stranger.status).toBe(401);
    // The registry writes the two in any order.
    expect(stranger.headers['www-authenticate']?.replace('push,pull', 'pull,push')).toBe(
      `Bearer realm="${tokens.url}",service="test-service",scope="repository:a/b:pull,push"`,
    );
    expect((await fetchToken('repository:a/b:pull')).status).toBe(401);
    expect((await fetchToken('repository:a/b:pull', wrong)).status).toBe(401);
    const given = await fetchToken('repository:a/b:pull,push', basic);
    expect(jsonOf(given)).toMatchObject({ expires_in: 300 });
    expect(await pushAndPull(registry, bearerOf(given))).toEqual(DONE);
    const elsewhere = { headers: { authorization: bearerOf(given) } };
    const refused = await ask(`${registry.origin}/v2/c/d/tags/list`, elsewhere);
    expect(refused.headers['www-authenticate']).toContain('error="insufficient_scope"');
    const pull = { method: 'GET', scopes: ['repository:a/b:pull'], service: 'test-service' };
    expect(tokens.requests).toMatchObject([
      { ...pull, authorization: undefined, status: 401 },
      { ...pull, authorization: wrong, status: 401 },
      { ...pull, scopes: ['repository:a/b:pull,push'], authorization: basic, status: 200 },
    ]);
  });

  test('takes no token that has ended', async () => {
    const { registry, fetchToken } = await scene({ lifetime: -120, expiresIn: 1 });
    const old = await fetchToken('repository:a/b:pull,push', basic);
    expect(jsonOf(old)).toMatchObject({ expires_in: 1 });
    expect(await pushAndPull(registry, bearerOf(old))).toEqual([401]);
    const reply = await ask(`${registry.origin}/v2/`, { headers: { authorization: bearerOf(old) } });
    expect(reply.headers['www-authenticate']).toContain('error="invalid_token"');
  });

  test('lets anybody pull where the rules say so, and grants nobody more than they allow', async () => {
    const { tokens, registry, fetchToken } = await scene({
      anonymous: true,
      allows: ({ user, action }) => user !== undefined || action === 'pull',
    });
    const everything = bearerOf(await fetchToken('repository:a/b:pull,push,delete'));
    expect(await pushAndPull(registry, everything)).toEqual([401]);
    const mine = bearerOf(await fetchToken('repository:a/b:pull,push', basic));
    expect(await pushAndPull(registry, mine)).toEqual(DONE);
    const list = `${registry.origin}/v2/a/b/tags/list`;
    const tags = await ask(list, { headers: { authorization: everything } });
    expect(jsonOf(tags)).toEqual({ name: 'a/b', tags: ['1.0-0'] });
    tokens.rules.allows = () => false;
    const nothing = bearerOf(await fetchToken('repository:a/b:pull', basic));
    expect((await ask(list, { headers: { authorization: nothing } })).status).toBe(401);
  });

  test('gives tokens the way of OAuth2 too, if asked to', async () => {
    const { tokens, registry } = await scene({ expiresIn: undefined });
    const post = (parameters: Record<string, string>): Promise<Reply> =>
      ask(tokens.url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ service: tokens.service, client_id: 'test', ...parameters }).toString(),
      });
    const scope = 'repository:a/b:pull,push repository:c/d:pull';
    const password = { grant_type: 'password', ...TEST_USER, access_type: 'offline', scope };
    const first = jsonOf(await post(password)) as Record<string, string>;
    expect(first).not.toHaveProperty('expires_in');
    const refresh = { grant_type: 'refresh_token', refresh_token: first['refresh_token'] ?? '', scope };
    const second = await post(refresh);
    expect(await pushAndPull(registry, bearerOf(second))).toEqual(DONE);
    expect((await post({ ...refresh, refresh_token: 'made up' })).status).toBe(401);
    expect((await post({ ...password, password: 'wrong' })).status).toBe(401);
    tokens.rules.acceptsPost = false;
    expect((await post(password)).status).toBe(405);
    expect(tokens.requests.map(({ method, grantType, status }) => [method, grantType, status])).toEqual([
      ['POST', 'password', 200],
      ['POST', 'refresh_token', 200],
      ['POST', 'refresh_token', 401],
      ['POST', 'password', 401],
      ['POST', 'password', 405],
    ]);
    expect(tokens.requests[0]?.scopes).toEqual(scope.split(' '));
  });
});

test.each<[string, () => Promise<StartedRegistry>, 'relative' | 'whole']>([
  ['docker-registry in memory', () => startMemoryRegistry(), 'whole'],
  ['docker-registry in memory, told so', () => startMemoryRegistry({ relativeUrls: true }), 'relative'],
  ['docker-registry on disk', () => startDiskRegistry(), 'whole'],
  ['docker-registry on disk, told so', () => startDiskRegistry({ relativeUrls: true }), 'relative'],
  ['distribution 3', () => startDistribution3(), 'whole'],
  ['olareg', () => startOlareg(), 'relative'],
])('%s: its log tells each request, its locations are as expected', async (_, start, form) => {
  await using registry = await start();
  const session = await ask(`${registry.origin}/v2/a/b/blobs/uploads/`, { method: 'POST' });
  const beginning = form === 'whole' ? `${registry.origin}/v2/` : '/v2/';
  expect(session.headers.location?.slice(0, beginning.length)).toBe(beginning);
  expect((await ask(`${registry.origin}/v2/a/b/manifests/none`)).status).toBe(404);
  await expect
    .poll(async () => {
      const log = await registry.accessLog();
      return log.map((line) => /"(\w+ \S+) HTTP\/1\.1" (\d+)/.exec(line)?.slice(1).join(' '));
    })
    .toEqual(['GET /v2/ 200', 'POST /v2/a/b/blobs/uploads/ 202', 'GET /v2/a/b/manifests/none 404']);
});
