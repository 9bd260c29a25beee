import { expect, onTestFinished, test } from 'vitest';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { authFileOf, DOCKER_FILE, testHome, type TestHome } from '../support/home.js';
import { startTokenRegistry, TEST_USER } from '../support/registries/docker.js';
import type { StartedRegistry } from '../support/registries/server-process.js';
import {
  startTokenServer,
  type TokenRequest,
  type TokenRules,
  type TokenServer,
} from '../support/registries/token-server.js';

interface Scene {
  readonly tokens: TokenServer;
  readonly registry: StartedRegistry;
  readonly home: TestHome;
  /** Mirrors the fixture channel into the registry. */
  readonly mirror: (...flags: string[]) => ReturnType<TestHome['run']>;
  /** Answers 401 of the registry so far, but those to whoever waited for its start. */
  readonly challenges: () => Promise<number>;
}

async function setTheScene(rules: Partial<TokenRules> = {}): Promise<Scene> {
  const tokens = await startTokenServer(rules);
  const registry = await startTokenRegistry(tokens);
  onTestFinished(async () => {
    await registry[Symbol.asyncDispose]();
    await tokens[Symbol.asyncDispose]();
  });
  const home = await testHome();
  const { username, password } = TEST_USER;
  await home.write(DOCKER_FILE, authFileOf({ [registry.host]: [username, password] }));
  const target = `oci://${registry.host}/ch`;
  return {
    tokens,
    registry,
    home,
    mirror: async (...flags) => home.run(['mirror', FIXTURE_CHANNEL, target, '--quiet', ...flags]),
    challenges: async () =>
      (await registry.accessLog()).filter((line) => /(?<!\/v2\/) HTTP\/1\.1" 401\b/.test(line)).length,
  };
}

/** How often each set of scopes was asked for. */
function timesAsked(requests: readonly TokenRequest[]): Map<string, number> {
  const times = new Map<string, number>();
  for (const { scopes } of requests) {
    const key = [...scopes].sort().join(' ');
    times.set(key, (times.get(key) ?? 0) + 1);
  }
  return times;
}

test('a mirror asks once for each set of scopes, and is challenged twice', async () => {
  const { tokens, registry, mirror, challenges } = await setTheScene();
  expect(await mirror()).toMatchObject({ code: 0, stderr: '' });
  const times = timesAsked(tokens.requests);
  expect([...times.entries()].filter(([, count]) => count > 1)).toEqual([]);
  const repositories = new Set([...times.keys()].map((key) => /^repository:([^:]+):/.exec(key)?.[1]));
  const log = await registry.accessLog();
  const used = new Set(
    log.flatMap((line) => /\/v2\/(\S+?)\/(?:blobs|manifests|tags|referrers)\//.exec(line)?.[1] ?? []),
  );
  expect(repositories).toEqual(used);
  // To read first and to write then: no more than these two for each repository.
  expect(tokens.requests.length).toBeLessThanOrEqual(2 * repositories.size);
  // Once at the beginning; and once for giving up the session that was opened to see whether it may be, since this
  // registry takes that for a deletion.
  expect(await challenges()).toBe(2);

  tokens.requests.length = 0;
  expect(await mirror()).toMatchObject({ code: 0, stderr: '' });
  // Nothing is new, so that nothing needs the right to write.
  expect(
    tokens.requests.flatMap(({ scopes }) => scopes).filter((scope) => /push|delete/.test(scope)),
  ).toEqual([]);
});

test.each([1, 2])('tokens of %i s are renewed, and no run fails of them', async (expiresIn) => {
  // They last about that long indeed, in whole seconds: the registry allows 60 s more than they say.
  const { mirror, challenges } = await setTheScene({ expiresIn, lifetime: expiresIn - 60 });
  expect(await mirror('--concurrency', '4')).toMatchObject({ code: 0, stderr: '' });
  expect(await challenges()).toBeLessThan(40);
});

test('tokens that end earlier than they say are replaced once they are refused', async () => {
  const { tokens, mirror, challenges } = await setTheScene({ expiresIn: 300, lifetime: 1 - 60 });
  expect(await mirror('--concurrency', '1', '--subdir', 'noarch', 'linux-64')).toMatchObject({
    code: 0,
    stderr: '',
  });
  expect(tokens.requests.length).toBeLessThan(200);
  expect(await challenges()).toBeLessThan(100);
});

test('tokens that have ended before they come are an error, and not asked for without end', async () => {
  const { tokens, registry, mirror } = await setTheScene({ lifetime: -120 });
  const { code, stderr } = await mirror('--subdir', 'noarch');
  expect(code).toBe(3);
  expect(stderr).toContain('[UNAUTHORIZED]');
  expect(tokens.requests.length).toBeLessThan(20);
  expect((await registry.accessLog()).length).toBeLessThan(40);
});

test('a right that is missing is told with the repository, and nothing is asked for anonymously instead', async () => {
  const { tokens, registry, mirror, home } = await setTheScene({ allows: ({ action }) => action === 'pull' });
  const { code, stderr } = await mirror('--subdir', 'noarch');
  expect(code).not.toBe(0);
  expect(stderr).toContain(
    `\`${registry.host}\` does not let \`test-user\` (credentials from ${home.file(DOCKER_FILE)}) push to \`ch/noarch/`,
  );
  expect(tokens.requests.filter(({ authorization }) => authorization === undefined)).toEqual([]);
});

test('an identity token of the token server is logged in with, and used', async () => {
  const { tokens, registry, home } = await setTheScene();
  const form = new URLSearchParams({
    ...{ grant_type: 'password', client_id: 'test', access_type: 'offline', service: tokens.service },
    ...TEST_USER,
  });
  const answer = await fetch(tokens.url, { method: 'POST', body: form });
  const { refresh_token: refresh } = (await answer.json()) as { refresh_token: string };
  const login = await home.run(['login', registry.host, '--identity-token-stdin'], { input: refresh });
  expect(login).toMatchObject({ code: 0, stderr: '' });
  expect(await home.read(DOCKER_FILE)).toEqual({ auths: { [registry.host]: { identitytoken: refresh } } });
  tokens.requests.length = 0;
  const target = `oci://${registry.host}/ch`;
  expect(await home.run(['mirror', FIXTURE_CHANNEL, target, '--subdir', 'noarch', '--quiet'])).toMatchObject({
    code: 0,
    stderr: '',
  });
  expect(new Set(tokens.requests.map(({ grantType }) => grantType))).toEqual(new Set(['refresh_token']));
});
