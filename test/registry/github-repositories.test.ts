import { describe, expect, test } from 'vitest';
import { GithubPackages } from '#ferry/registry/github-packages.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { rejection } from '../contracts/artifacts.js';
import { putArtifact, tokenFor } from '../doubles/requests.js';
import { useGhcrDouble, type GhcrOptions } from '../support/double/ghcr.js';
import { openTestClient } from '../support/http.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';

const QUERY = 'package_type=container&per_page=100';
const at = (kind: string): string => `GET /${kind}/Conda-Org/packages?${QUERY}`;
const named = (...names: string[]): Answer => ({
  body: JSON.stringify(names.map((name) => ({ id: 1, name }))),
});
const refused = (status: number, message: string, headers = {}): Answer => ({
  status,
  headers,
  body: JSON.stringify({ message }),
});

async function sceneOf(...rows: Row[]) {
  const server = await startScriptedServer(...rows);
  const { send } = openTestClient();
  return { server, packages: new GithubPackages({ send, owner: 'Conda-Org', apiUrl: server.origin }) };
}

describe('the repositories of an owner', () => {
  test('are told with the name that the registry has for them', async () => {
    const { packages } = await sceneOf([at('orgs'), named('ch/noarch/zlib', 'other')]);
    expect(await packages.repositories()).toEqual(['conda-org/ch/noarch/zlib', 'conda-org/other']);
  });

  test('come in pages, whose links name the owner by number', async () => {
    const further = `/organizations/4711/packages?${QUERY}&page=2`;
    const { server, packages } = await sceneOf([`GET ${further}`, named('b', 'a')]);
    const link = `<${server.origin}${further}>; rel="next"`;
    server.expect([at('orgs'), { ...named('a'), headers: { link } }]);
    expect(await packages.repositories()).toEqual(['conda-org/a', 'conda-org/b']);
  });

  test('are looked for as those of a user where there is no such organization', async () => {
    const { packages } = await sceneOf(
      [at('orgs'), refused(404, 'Not Found')],
      [at('users'), named('a', 'Not a name')],
    );
    expect(await packages.repositories()).toEqual(['conda-org/a']);
  });

  test.each([
    ['who has no token', refused(401, 'Requires authentication')],
    ['whose token lacks the scope', refused(403, 'You need at least read:packages scope to list packages.')],
    ['who may see nothing', named()],
  ])('are not known to one %s', async (_, answer) => {
    const rows: Row[] = answer.status === undefined ? [] : [[at('users'), answer]];
    const { packages } = await sceneOf([at('orgs'), answer], ...rows);
    expect(await packages.repositories()).toBeUndefined();
  });

  test('are not known where the API is not to be reached', async () => {
    const { send } = openTestClient();
    const packages = new GithubPackages({ send, owner: 'org', apiUrl: 'http://127.0.0.1:9/' });
    expect(await packages.repositories()).toBeUndefined();
  });

  test('a limit is no refusal', async () => {
    const answer = refused(403, 'API rate limit exceeded', { 'x-ratelimit-remaining': '0' });
    const { packages } = await sceneOf(...Array.from({ length: 8 }, (): Row => [at('orgs'), answer]));
    expect(await rejection(packages.repositories())).toMatchObject({ code: 'RATE_LIMITED' });
  });

  test.each(['{}', '[{"id":1}]', '<html>'])('%s is no list', async (body) => {
    const { packages } = await sceneOf([at('orgs'), { body }]);
    expect(await rejection(packages.repositories())).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });
});

describe('a client of ghcr.io', () => {
  const owner = { username: 'owner', password: 'ghp_owner', owners: ['org'] } as const;
  const blind = { ...owner, username: 'blind', password: 'ghp_blind', scopes: ['write:packages'] } as const;

  async function open(password: string | undefined, options: GhcrOptions = {}) {
    const ghcr = await useGhcrDouble({ users: [owner, blind], ...options });
    for (let i = 0; i < 3; i += 1) {
      const headers = await tokenFor(ghcr.origin, `repository:org/ch/noarch/p${String(i)}:pull,push`, owner);
      expect((await putArtifact(ghcr, `org/ch/noarch/p${String(i)}`, '1', { headers })).status).toBe(201);
    }
    const { send } = openTestClient(
      password === undefined
        ? {}
        : { findChannelCredential: () => Promise.resolve({ kind: 'bearer', token: password }) },
    );
    const githubPackages = new GithubPackages({ send, owner: 'org', apiUrl: ghcr.apiUrl });
    return new RegistryClient({ host: ghcr.host, send, profile: profileOf('ghcr.io'), githubPackages });
  }

  test('tells the repositories of the owner, which the registry does not', async () => {
    const registry = await open(owner.password);
    expect((await registry.repositories())?.toSorted()).toEqual([
      'org/ch/noarch/p0',
      'org/ch/noarch/p1',
      'org/ch/noarch/p2',
    ]);
  });

  test.each([
    ['without a token', undefined],
    ['with a token that may not read', blind.password],
  ])('tells none %s', async (_, password) => {
    expect(await (await open(password)).repositories()).toBeUndefined();
  });

  test('of an owner that is a user', async () => {
    const registry = await open(owner.password, { ownerKinds: { org: 'user' } });
    expect(await registry.repositories()).toHaveLength(3);
  });
});
