import { describe, expect, test } from 'vitest';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { artifactOf, pushArtifact, readAll, tagsOf } from '../contracts/artifacts.js';
import { openTestClient } from '../support/http.js';
import { useGhcrDouble, type GhcrOptions } from '../support/double/ghcr.js';
import { digestOf } from '../support/double/registry-state.js';
import { ask, codeOf, putArtifact, putBlob, tokenFor, type Headers } from './requests.js';

const owner = { username: 'owner', password: 'ghp_owner', owners: ['org'] } as const;
const workflow = {
  username: 'actions',
  password: 'ghs_token',
  owners: ['org'],
  linkedTo: 'org/repo',
} as const;
const SOURCE = { annotations: { 'org.opencontainers.image.source': 'https://github.com/org/repo' } };

async function useGhcr(options: GhcrOptions = {}) {
  const ghcr = await useGhcrDouble({ users: [owner, workflow], ...options });
  const tokenOf = (name: string, user?: { username: string; password: string }): Promise<Headers> =>
    tokenFor(ghcr.origin, `repository:${name}:pull,push`, user);
  return { ghcr, tokenOf };
}

describe('who may read', () => {
  test('ghcr/G5: strangers are told the same of what is absent and of what is private', async () => {
    const { ghcr, tokenOf } = await useGhcr();
    const headers = await tokenOf('org/a', owner);
    expect((await putArtifact(ghcr, 'org/a', '1', { headers })).status).toBe(201);
    expect(ghcr.packages.get('org/a')?.visibility).toBe('private');
    for (const name of ['org/a', 'org/absent']) {
      const seen = await ask(`${ghcr.origin}/token?scope=repository:${name}:pull`);
      expect(seen.status).toBe(403);
      expect(seen.text).toBe(
        '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
      );
    }
    const absent = await tokenOf('org/absent', owner);
    expect(codeOf(await ask(`${ghcr.origin}/v2/org/absent/manifests/1`, { headers: absent }))).toBe(
      'NAME_UNKNOWN',
    );
    expect(codeOf(await ask(`${ghcr.origin}/v2/org/a/manifests/2`, { headers }))).toBe('MANIFEST_UNKNOWN');
  });

  test('ghcr/G6: nobody reads without a token, and everybody with none of his own', async () => {
    const { ghcr, tokenOf } = await useGhcr({ newPackages: 'public' });
    const headers = await tokenOf('org/a', owner);
    await putArtifact(ghcr, 'org/a', '1', { headers });
    await putArtifact(ghcr, 'org/b', '1', { headers: await tokenOf('org/b', owner) });
    const url = `${ghcr.origin}/v2/org/a/manifests/1`;
    expect((await ask(url)).status).toBe(401);
    for (const token of ['QQ==', Buffer.from('ghp_owner').toString('base64')]) {
      expect((await ask(url, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
    }
    expect((await ask(url, { headers: await tokenOf('org/b') })).status).toBe(200);
  });
});

describe('who may write', () => {
  test('ghcr/G8: a workflow writes what is linked to its repository only', async () => {
    const { ghcr, tokenOf } = await useGhcr();
    await putArtifact(ghcr, 'org/unlinked', '1', { headers: await tokenOf('org/unlinked', owner) });
    await putArtifact(ghcr, 'org/linked', '1', { headers: await tokenOf('org/linked', owner), more: SOURCE });
    const push = async (name: string) =>
      putArtifact(ghcr, name, '2', { headers: await tokenOf(name, workflow) });
    const refused = await push('org/unlinked');
    expect([refused.status, refused.text]).toEqual([
      403,
      expect.stringContaining('permission_denied: write_package'),
    ]);
    expect((await push('org/linked')).status).toBe(201);
    expect((await push('org/new')).status).toBe(201);
    expect(ghcr.packages.get('org/new')?.repository).toBe('org/repo');
  });

  test('ghcr/G16: nothing is deleted by the registry', async () => {
    const { ghcr, tokenOf } = await useGhcr();
    const headers = await tokenOf('org/a', owner);
    const { digest } = await putArtifact(ghcr, 'org/a', '1', { headers });
    const erase = await tokenFor(ghcr.origin, 'repository:org/a:delete', owner);
    for (const reference of ['1', digest]) {
      const url = `${ghcr.origin}/v2/org/a/manifests/${reference}`;
      const seen = await ask(url, { method: 'DELETE', headers: erase });
      expect([seen.status, codeOf(seen)]).toEqual([405, 'UNSUPPORTED']);
    }
  });
});

describe('limits', () => {
  test('ghcr/G1: the bucket runs over, and says in its message how long', async () => {
    let now = 0;
    const { ghcr } = await useGhcr({ limitPerMinute: 2000, burst: 2, now: () => now });
    const statuses = async (): Promise<number> => (await ask(`${ghcr.origin}/v2/`)).status;
    expect([await statuses(), await statuses(), await statuses()]).toEqual([401, 401, 429]);
    const seen = await ask(`${ghcr.origin}/v2/`);
    expect(seen.text).toBe(
      '{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 30ms, allowed: 2000/minute"}]}',
    );
    expect(seen.headers.get('retry-after')).toBeNull();
    now += 30;
    expect([await statuses(), await statuses()]).toEqual([401, 429]);
  });

  test('ghcr/G4: the secondary limit is a 403 for a while', async () => {
    let now = 0;
    const { ghcr, tokenOf } = await useGhcr({
      secondaryLimit: { afterWrites: 2, forMs: 1000 },
      now: () => now,
    });
    const headers = await tokenOf('org/a', owner);
    expect((await putBlob(ghcr, 'org/a', Buffer.from('1'), headers)).status).toBe(201);
    const refused = await putBlob(ghcr, 'org/a', Buffer.from('2'), headers);
    expect([refused.status, refused.text]).toEqual([403, expect.stringContaining('secondary rate limit')]);
    now += 1000;
    expect((await putBlob(ghcr, 'org/a', Buffer.from('2'), headers)).status).toBe(201);
  });

  test('ghcr/G10, G13: 4 MiB are the end of a chunk and of a manifest', async () => {
    const { ghcr, tokenOf } = await useGhcr();
    const headers = await tokenOf('org/a', owner);
    const start = await ask(`${ghcr.origin}/v2/org/a/blobs/uploads/`, { method: 'POST', headers });
    const location = new URL(start.headers.get('location') ?? '', ghcr.origin).href;
    const body = Buffer.alloc(4 * 1024 * 1024 + 1);
    expect((await ask(location, { method: 'PATCH', headers, body })).status).toBe(416);
    expect((await ask(location, { method: 'PATCH', headers, body: body.subarray(1) })).status).toBe(202);
    const pad = 'x'.repeat(4 * 1024 * 1024);
    expect((await putArtifact(ghcr, 'org/a', 'big', { headers, more: { pad } })).status).toBe(500);
  });

  test('ghcr/G11: while a large blob is committed its session is gone and it is not there, then it is', async () => {
    const { ghcr, tokenOf } = await useGhcr({ commitDelayMs: 50, commitDelayFromBytes: 1000 });
    const headers = await tokenOf('org/a', owner);
    const blob = Buffer.alloc(1000, 'x');
    const start = await ask(`${ghcr.origin}/v2/org/a/blobs/uploads/`, { method: 'POST', headers });
    const url = new URL(start.headers.get('location') ?? '', ghcr.origin);
    url.searchParams.set('digest', digestOf(blob));
    const put = () => ask(url.href, { method: 'PUT', headers, body: blob });
    const head = async (): Promise<number> => {
      const seen = await ask(`${ghcr.origin}/v2/org/a/blobs/${digestOf(blob)}`, { method: 'HEAD', headers });
      return seen.status;
    };
    ghcr.faultNext(({ route }) => route.kind === 'upload', 'reset-meanwhile');
    await expect(put()).rejects.toThrow();
    expect(await head()).toBe(404);
    expect(codeOf(await put())).toBe('BLOB_UPLOAD_UNKNOWN');
    await expect.poll(head).toBe(200);
  });
});

test('ghcr/G14, G15: no referrers, and tags in the order of their coming', async () => {
  const { ghcr, tokenOf } = await useGhcr({ referrers: '303' });
  const headers = await tokenOf('org/a', owner);
  const tags = Array.from({ length: 101 }, (_, i) => `t${200 - i}`);
  for (const tag of tags) await putArtifact(ghcr, 'org/a', tag, { headers });
  const first = await ask(`${ghcr.origin}/v2/org/a/tags/list`, { headers });
  expect(JSON.parse(first.text)).toEqual({ name: 'org/a', tags: tags.slice(0, 100) });
  expect(first.headers.get('link')).toBe(`</v2/org/a/tags/list?n=100&last=${tags[99]}>; rel="next"`);
  const all = await ask(`${ghcr.origin}/v2/org/a/tags/list?n=1000`, { headers });
  expect(JSON.parse(all.text)).toEqual({ name: 'org/a', tags });
  const referrers = await ask(`${ghcr.origin}/v2/org/a/referrers/sha256:${'0'.repeat(64)}`, { headers });
  expect([referrers.status, referrers.headers.get('location')]).toEqual([
    303,
    expect.stringMatching(/^http:\/\/127/),
  ]);
});

test('ghcr/G19: blobs come from another host, which wants no Authorization', async () => {
  const { ghcr, tokenOf } = await useGhcr();
  const headers = await tokenOf('org/a', owner);
  const blob = Buffer.from('0123456789');
  await putBlob(ghcr, 'org/a', blob, headers);
  const seen = await ask(`${ghcr.origin}/v2/org/a/blobs/${digestOf(blob)}`, { headers });
  const location = seen.headers.get('location') ?? '';
  expect([seen.status, new URL(location).origin]).toEqual([307, ghcr.blobOrigin]);
  expect((await ask(location, { headers })).status).toBe(400);
  expect((await ask(location, { headers: { range: 'bytes=8-' } })).text).toBe('89');
});

test('a client of ours that brings its token gets an artifact in and out', async () => {
  const { ghcr } = await useGhcr();
  const { send } = openTestClient();
  const authorization = `Bearer ${Buffer.from(owner.password).toString('base64')}`;
  const registry = new RegistryClient({
    host: ghcr.host,
    send: async (request) => send({ ...request, headers: { ...request.headers, authorization } }),
  });
  const repository = registry.repository('org/channel/a');
  const { blobs, manifest } = artifactOf('over there');
  await pushArtifact(repository, { blobs, manifest }, ['1']);
  expect(await tagsOf(repository)).toEqual(['1']);
  for (const { descriptor, bytes } of blobs) {
    expect((await readAll(repository.fetch(descriptor))).equals(bytes)).toBe(true);
  }
  await expect(repository.delete(manifest.descriptor)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  const elsewhere = ghcr.requests.filter(({ origin }) => origin === ghcr.blobOrigin);
  expect(elsewhere.map(({ status, headers }) => [status, headers.authorization])).toEqual(
    blobs.map(() => [200, undefined]),
  );
});

describe('the Packages API', () => {
  const authorization = `Bearer ${owner.password}`;

  test('lists versions in pages, newest first, and deletes them but the last that has a tag', async () => {
    const { ghcr, tokenOf } = await useGhcr({ ownerKinds: { org: 'org' } });
    const headers = await tokenOf('org/channel/a', owner);
    for (const tag of ['1', '2', '3']) {
      await putArtifact(ghcr, 'org/channel/a', tag, { headers, more: { annotations: { tag } } });
    }
    const base = `${ghcr.apiUrl}/orgs/org/packages/container/channel%2Fa`;
    const api = (url: string, method = 'GET') => ask(url, { method, headers: { authorization } });
    expect((await ask(base)).status).toBe(401);
    expect((await api(base.replace('/orgs/', '/users/'))).status).toBe(404);
    expect(JSON.parse((await api(base)).text)).toMatchObject({
      name: 'channel/a',
      visibility: 'private',
      version_count: 3,
    });
    const page = await api(`${base}/versions?per_page=2&page=1`);
    const next = /<([^>]*)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1] ?? '';
    interface Version {
      id: number;
      metadata: { container: { tags: string[] } };
    }
    const versions = [page, await api(next)].flatMap(({ text }) => JSON.parse(text) as Version[]);
    expect(versions.map(({ metadata }) => metadata.container.tags)).toEqual([['3'], ['2'], ['1']]);
    const deleted: number[] = [];
    for (const { id } of versions) deleted.push((await api(`${base}/versions/${id}`, 'DELETE')).status);
    expect(deleted).toEqual([204, 204, 400]);
    expect([...(ghcr.repositories.get('org/channel/a')?.tags.keys() ?? [])]).toEqual(['1']);
  });
});
