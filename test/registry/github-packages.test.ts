import { describe, expect, test } from 'vitest';
import { deleteTags } from '#ferry/oci/delete-tags.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { GithubPackages } from '#ferry/registry/github-packages.js';
import { profileOf } from '#ferry/registry/host-profile.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { artifactOf, contentOf, rejection } from '../contracts/artifacts.js';
import { openTestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

const { manifest } = artifactOf('on GitHub');
const { digest } = manifest.descriptor;
const other = contentOf('another').descriptor.digest;
const path = (kind: string): string => `/${kind}/Conda-Org/packages/container/linux-64%2Fzlib/versions`;
const LIST = `GET ${path('orgs')}?per_page=100`;
const DELETE = `DELETE ${path('orgs')}/42`;
const REPOSITORY = 'conda-org/linux-64/zlib';

const version = (id: number, name: string, ...tags: string[]): object => ({
  id,
  name,
  url: 'https://api.github.com/…',
  metadata: { package_type: 'container', container: { tags } },
});
const versions = (...all: object[]): Answer => ({ body: JSON.stringify(all) });
const message = (status: number, text: string, headers = {}): Answer => ({
  status,
  headers,
  body: JSON.stringify({ message: text, documentation_url: 'https://docs.github.com' }),
});

async function sceneOf(
  ...rows: Row[]
): Promise<{ readonly server: ScriptedServer; readonly packages: GithubPackages }> {
  const server = await startScriptedServer(...rows);
  const { send } = openTestClient();
  return { server, packages: new GithubPackages({ send, owner: 'Conda-Org', apiUrl: server.origin }) };
}

describe('deleteManifest', () => {
  test('finds the version that has the digest for its name, and deletes it by number', async () => {
    const { server, packages } = await sceneOf(
      [LIST, versions(version(41, other, '0.9'), version(42, digest, '1.0', 'latest'))],
      [DELETE, { status: 204 }],
    );
    expect(await packages.deleteManifest(REPOSITORY, digest)).toBe(true);
    expect(server.lines).toEqual([LIST, DELETE]);
    for (const { headers } of server.requests) {
      expect(headers).toMatchObject({
        accept: 'application/vnd.github+json',
        'x-github-api-version': '2022-11-28',
      });
    }
  });

  test('goes through the pages, whose links name the owner by number', async () => {
    const further = '/organizations/4711/packages/container/linux-64%2Fzlib/versions?per_page=100&page=2';
    const { server, packages } = await sceneOf(
      [`GET ${further}`, versions(version(42, digest))],
      [DELETE, { status: 204 }],
    );
    const link = `<${server.origin}${further}>; rel="next", <${server.origin}/x>; rel="last"`;
    server.expect([LIST, { ...versions(version(1, other)), headers: { link } }]);
    await packages.deleteManifest(REPOSITORY, digest);
    expect(server.lines).toHaveLength(3);
  });

  test('reads a page that breaks off again from its start', async () => {
    const answer = versions(version(41, other, '0.9'), version(42, digest, '1.0'));
    const one = `GET ${path('orgs')}/41`;
    const { server, packages } = await sceneOf(
      [LIST, { ...answer, fault: 'truncated' }],
      [LIST, answer],
      [DELETE, { status: 204 }],
      [one, { body: JSON.stringify(version(41, other)), fault: 'reset-in-body' }],
      [one, { body: JSON.stringify(version(41, other)) }],
      [`DELETE ${path('orgs')}/41`, { status: 204 }],
    );
    expect(await packages.deleteManifest(REPOSITORY, digest)).toBe(true);
    expect(await packages.deleteManifest(REPOSITORY, other)).toBe(true);
    expect(server.lines).toEqual([LIST, LIST, DELETE, one, one, `DELETE ${path('orgs')}/41`]);
  });

  test('does not follow a link to another host', async () => {
    const attacker = await startScriptedServer();
    const link = `<${attacker.origin}/versions>; rel="next"`;
    const { packages } = await sceneOf([LIST, { ...versions(version(1, other)), headers: { link } }]);
    expect(await rejection(packages.deleteManifest(REPOSITORY, digest))).toMatchObject({
      code: 'REGISTRY_REFUSED',
    });
    expect(attacker.lines).toEqual([]);
  });

  test('takes the owner for a user where there is no such organization, and remembers it', async () => {
    const users = `GET ${path('users')}?per_page=100`;
    const { server, packages } = await sceneOf(
      [LIST, { status: 404 }],
      [users, versions(version(42, digest))],
      [`DELETE ${path('users')}/42`, { status: 204 }],
      [users, versions()],
    );
    await packages.deleteManifest(REPOSITORY, digest);
    await packages.deleteManifest(REPOSITORY, digest);
    expect(server.lines).toEqual([LIST, users, `DELETE ${path('users')}/42`, users]);
  });

  test.each<[string, Row[]]>([
    [
      'the package',
      [
        [LIST, { status: 404 }],
        [`GET ${path('users')}?per_page=100`, { status: 404 }],
      ],
    ],
    ['the version', [[LIST, versions(version(1, other))]]],
    [
      'what somebody else deletes just now',
      [
        [LIST, versions(version(42, digest))],
        [DELETE, { status: 404 }],
      ],
    ],
  ])('is content where %s is gone', async (_, rows) => {
    const { server, packages } = await sceneOf(...rows);
    const isDeleted = await packages.deleteManifest(REPOSITORY, digest);
    expect(isDeleted).toBe(rows.some(([line]) => line === DELETE));
    expect(server.lines).toHaveLength(rows.length);
  });

  test('remembers what it saw on the way, and looks at its tags again', async () => {
    const one = `${path('orgs')}/41`;
    const { server, packages } = await sceneOf(
      [LIST, versions(version(41, other, '0.9'), version(42, digest))],
      [DELETE, { status: 204 }],
      [`GET ${one}`, { body: JSON.stringify(version(41, other, '0.9', 'new')) }],
      [LIST, versions(version(41, other, '0.9'))],
      [`DELETE ${one}`, { status: 204 }],
    );
    // At once, and yet one after the other.
    const [first, second] = await Promise.allSettled([
      packages.deleteManifest(REPOSITORY, digest),
      packages.deleteManifest(REPOSITORY, other, { tags: ['0.9'] }),
    ]);
    expect(first).toMatchObject({ status: 'fulfilled', value: true });
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'UNSUPPORTED' } });
    expect(await packages.deleteManifest(REPOSITORY, other, { tags: ['0.9'] })).toBe(true);
    expect(server.lines).toEqual([LIST, DELETE, `GET ${one}`, LIST, `DELETE ${one}`]);
  });

  test('looks for a version anew whose number is gone', async () => {
    const { packages } = await sceneOf(
      [LIST, versions(version(41, other), version(42, digest))],
      [DELETE, { status: 204 }],
      [`GET ${path('orgs')}/41`, { status: 404 }],
      [LIST, versions(version(43, other))],
      [`DELETE ${path('orgs')}/43`, { status: 204 }],
    );
    await packages.deleteManifest(REPOSITORY, digest);
    expect(await packages.deleteManifest(REPOSITORY, other)).toBe(true);
  });

  test('leaves a version that has other tags than those to go', async () => {
    const { server, packages } = await sceneOf([LIST, versions(version(42, digest, '1.0', 'latest'))]);
    const error = await rejection(packages.deleteManifest(REPOSITORY, digest, { tags: ['1.0'] }));
    expect(error).toMatchObject({ code: 'UNSUPPORTED' });
    expect(String(error)).toContain('`latest`');
    expect(server.lines).toEqual([LIST]);
  });

  test.each<[string, Answer, object]>([
    [
      'lack of rights',
      message(403, 'You need delete:packages'),
      { code: 'DENIED', hint: expect.stringContaining('delete:packages') as string },
    ],
    ['no token', message(401, 'Bad credentials'), { code: 'UNAUTHORIZED' }],
    [
      'too many downloads',
      message(400, 'Publicly visible package versions with more than 5,000 downloads cannot be deleted.'),
      { code: 'DENIED', hint: expect.stringContaining('Support') as string },
    ],
    [
      'the rate limit',
      message(403, 'API rate limit exceeded', { 'x-ratelimit-remaining': '0' }),
      { code: 'RATE_LIMITED' },
    ],
    [
      'the secondary limit',
      message(403, 'You have exceeded a secondary rate limit'),
      { code: 'RATE_LIMITED' },
    ],
    [
      'the last version',
      message(400, 'You cannot delete the last tagged version'),
      { code: 'REGISTRY_REFUSED' },
    ],
    ['HTML', { status: 422, body: '<html>' }, { code: 'REGISTRY_REFUSED' }],
  ])('tells %s', async (_, answer, expected) => {
    const { packages } = await sceneOf(
      [LIST, versions(version(42, digest))],
      ...Array.from({ length: 8 }, (): Row => [DELETE, answer]),
    );
    expect(await rejection(packages.deleteManifest(REPOSITORY, digest))).toMatchObject({
      ...expected,
      status: answer.status,
    });
  });

  test.each(['{}', '[{"id":"x"}]', '<html>'])('does not take %s for versions', async (body) => {
    const { packages } = await sceneOf([LIST, { body }]);
    expect(await rejection(packages.deleteManifest(REPOSITORY, digest))).toMatchObject({
      code: 'REGISTRY_REFUSED',
    });
  });

  test.each(['other/zlib', 'conda-org', 'zlib'])('sends nothing for %s of another owner', async (name) => {
    const { server, packages } = await sceneOf();
    expect(await rejection(packages.deleteManifest(name, digest))).toMatchObject({ code: 'UNSUPPORTED' });
    expect(server.lines).toEqual([]);
  });
});

test.each(['', '../x', 'a/b', '-a'])('%j cannot be an owner', (owner) => {
  const { send } = openTestClient();
  expect(() => new GithubPackages({ send, owner })).toThrow(
    expect.objectContaining({ code: 'REFERENCE_INVALID' }),
  );
});

describe('describe', () => {
  const at = (kind: string): string => `GET /${kind}/Conda-Org/packages/container/linux-64%2Fzlib`;
  const described = (more: object): Answer => ({ body: JSON.stringify({ id: 1, name: 'zlib', ...more }) });

  test('tells who may see a package, and what it belongs to', async () => {
    const { server, packages } = await sceneOf(
      [at('orgs'), described({ visibility: 'public', repository: { full_name: 'conda-org/mirror' } })],
      [at('orgs'), described({ visibility: 'private', repository: null })],
      [at('orgs'), described({ visibility: 'private' })],
    );
    expect(await packages.describe(REPOSITORY)).toEqual({
      visibility: 'public',
      repository: 'conda-org/mirror',
    });
    expect(await packages.describe(REPOSITORY)).toEqual({ visibility: 'private', repository: undefined });
    expect(await packages.describe(REPOSITORY)).toEqual({ visibility: 'private', repository: undefined });
    expect(server.lines).toHaveLength(3);
  });

  test('remembers which kind the owner is, also for deletions', async () => {
    const LIST_OF_USER = `GET ${path('users')}?per_page=100`;
    const { server, packages } = await sceneOf(
      [at('orgs'), { status: 404 }],
      [at('users'), described({ visibility: 'private' })],
      [LIST_OF_USER, versions()],
    );
    await packages.describe(REPOSITORY);
    expect(await packages.deleteManifest(REPOSITORY, digest)).toBe(false);
    expect(server.lines).toEqual([at('orgs'), at('users'), LIST_OF_USER]);
  });

  test('of what this token does not see is nothing', async () => {
    const { packages } = await sceneOf([at('orgs'), { status: 404 }], [at('users'), { status: 404 }]);
    expect(await packages.describe(REPOSITORY)).toBeUndefined();
  });

  test.each(['other/zlib', 'conda-org'])('%s is no package of the owner', async (repository) => {
    const { server, packages } = await sceneOf();
    expect(await rejection(packages.describe(repository))).toMatchObject({ code: 'UNSUPPORTED' });
    expect(server.lines).toEqual([]);
  });

  test.each<[Answer, string]>([
    [message(401, 'Bad credentials'), 'UNAUTHORIZED'],
    [{ body: '<html>' }, 'REGISTRY_REFUSED'],
    [described({ visibility: 7 }), 'REGISTRY_REFUSED'],
  ])('%j is an error', async (answer, code) => {
    const { packages } = await sceneOf([at('orgs'), answer]);
    expect(await rejection(packages.describe(REPOSITORY))).toMatchObject({ code });
  });
});

describe('a client of ghcr.io', () => {
  const profile = profileOf('ghcr.io');
  const stored: Answer = { headers: { 'content-type': IMAGE_MANIFEST }, body: manifest.bytes };
  const MANIFESTS = `/v2/${REPOSITORY}/manifests`;

  test('deletes manifests there', async () => {
    const { server, packages } = await sceneOf(
      [`GET ${MANIFESTS}/${digest}`, stored],
      [LIST, versions(version(42, digest, '1.0'))],
      [DELETE, { status: 204 }],
    );
    const { send } = openTestClient();
    const registry = new RegistryClient({ host: server.host, send, profile, githubPackages: packages });
    await registry.repository(REPOSITORY).delete(manifest.descriptor);
    expect(server.lines).toEqual([`GET ${MANIFESTS}/${digest}`, LIST, DELETE]);
  });

  test('does not take for deleted what GitHub hides from the token', async () => {
    const head: Answer = { headers: { 'content-type': IMAGE_MANIFEST, 'content-length': 100 } };
    const { server, packages } = await sceneOf(
      [`GET ${MANIFESTS}/${digest}`, stored],
      [LIST, { status: 404 }],
      [`GET ${path('users')}?per_page=100`, { status: 404 }],
      [`HEAD ${MANIFESTS}/${digest}`, head],
      [`GET ${MANIFESTS}/${digest}`, { status: 404 }],
      [LIST, { status: 404 }],
      [`GET ${path('users')}?per_page=100`, { status: 404 }],
      [`HEAD ${MANIFESTS}/${digest}`, { status: 404 }],
    );
    const { send } = openTestClient();
    const registry = new RegistryClient({ host: server.host, send, profile, githubPackages: packages });
    const repository = registry.repository(REPOSITORY);
    expect(await rejection(repository.delete(manifest.descriptor))).toMatchObject({ code: 'DENIED' });
    await repository.delete(manifest.descriptor);
  });

  test('deletes no blobs, and without a token nothing', async () => {
    const { server, packages } = await sceneOf();
    const { send } = openTestClient();
    const blob = contentOf('a blob').descriptor;
    const able = new RegistryClient({ host: server.host, send, profile, githubPackages: packages });
    expect(await rejection(able.repository(REPOSITORY).delete(blob))).toMatchObject({ code: 'UNSUPPORTED' });
    const unable = new RegistryClient({ host: server.host, send, profile });
    expect(await rejection(unable.repository(REPOSITORY).delete(manifest.descriptor))).toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('delete:packages') as string,
    });
    expect(server.lines).toEqual([]);
  });

  test('keeps a version that somebody tagged in the meantime', async () => {
    const { server, packages } = await sceneOf(
      [`GET /v2/${REPOSITORY}/tags/list?n=1000`, { body: '{"tags":["1.0"]}' }],
      [`GET ${MANIFESTS}/1.0`, stored],
      [`GET ${MANIFESTS}/${digest}`, stored],
      [LIST, versions(version(42, digest, '1.0', 'latest'))],
    );
    const { send } = openTestClient();
    const registry = new RegistryClient({ host: server.host, send, profile, githubPackages: packages });
    expect(await deleteTags(registry.repository(REPOSITORY), ['1.0'])).toMatchObject({
      deleted: [],
      untagged: [],
      kept: [{ tag: '1.0', reason: 'alone', cause: { code: 'UNSUPPORTED' } }],
    });
    expect(server.lines.filter((line) => line.startsWith('DELETE'))).toEqual([]);
  });
});
