import { describe, expect, test } from 'vitest';
import { useGhcrDouble } from '../support/double/ghcr.js';
import type { RegistryDoubleOptions } from '../support/double/options.js';
import { useRegistryDouble } from '../support/double/registry-double.js';
import { digestOf } from '../support/double/registry-state.js';
import { ask, codeOf, putArtifact, putBlob, tokenFor } from './requests.js';

const BYTES = Buffer.from('0123456789');
const DIGEST = digestOf(BYTES);

describe('how registries differ', () => {
  test.each([
    ['right', DIGEST],
    ['absent', null],
    ['wrong', `sha256:${'0'.repeat(64)}`],
    ['sha512', digestOf(BYTES, 'sha512')],
  ] as const)('the digest of the answer is %s', async (digestHeader, expected) => {
    const double = await useRegistryDouble({ digestHeader });
    const pushed = await putBlob(double, 'a', BYTES);
    const read = await ask(`${double.origin}/v2/a/blobs/${DIGEST}`);
    for (const { headers } of [pushed, read]) expect(headers.get('docker-content-digest')).toBe(expected);
  });

  test.each<[RegistryDoubleOptions, string, number]>([
    [{ mount: 401 }, 'from=b', 401],
    [{ mount: 404 }, 'from=b', 404],
    [{ mount: 405 }, 'from=b', 405],
    [{ mount: 500 }, 'from=b', 500],
    [{ mount: '202' }, 'from=b', 202],
    [{ anonymousMount: true }, '', 201],
    [{}, '', 202],
  ])('%j mounts with %j: %i', async (options, from, status) => {
    const double = await useRegistryDouble(options);
    await putBlob(double, 'b', BYTES);
    const url = `${double.origin}/v2/a/blobs/uploads/?mount=${DIGEST}&${from}`;
    expect((await ask(url, { method: 'POST' })).status).toBe(status);
  });

  test('no tags at all are a list of none, or null', async () => {
    for (const [tagDialect, tags] of [
      ['link', []],
      ['null-when-empty', null],
    ] as const) {
      const double = await useRegistryDouble({ tagDialect, repositories: ['a'] });
      expect(JSON.parse((await ask(`${double.origin}/v2/a/tags/list`)).text)).toEqual({ name: 'a', tags });
    }
  });

  test('what cannot be deleted is answered 405', async () => {
    const double = await useRegistryDouble({ delete: { tags: false, blobs: false } });
    const { digest } = await putArtifact(double, 'a', 'x');
    const erase = async (path: string): Promise<number> =>
      (await ask(`${double.origin}/v2/a/${path}`, { method: 'DELETE' })).status;
    const config = digestOf(Buffer.from('{}'));
    expect([await erase('manifests/x'), await erase(`blobs/${config}`)]).toEqual([405, 405]);
    expect([await erase(`manifests/${digest}`), await erase(`manifests/${digest}`)]).toEqual([202, 404]);
    expect(double.repositories.get('a')?.tags.size).toBe(0);
  });

  test('a session may know no chunks, or tell the first only', async () => {
    const begin = async (options: RegistryDoubleOptions) => {
      const double = await useRegistryDouble(options);
      const { headers } = await ask(`${double.origin}/v2/a/blobs/uploads/`, { method: 'POST' });
      return { double, location: new URL(headers.get('location') ?? '', double.origin).href };
    };
    const none = await begin({ patch: false });
    expect((await ask(none.location, { method: 'PATCH', body: BYTES })).status).toBe(405);
    const frozen = await begin({ uploadRange: 'frozen' });
    const first = await ask(frozen.location, { method: 'PATCH', body: BYTES });
    const next = new URL(first.headers.get('location') ?? '', frozen.double.origin).href;
    const second = await ask(next, { method: 'PATCH', body: BYTES });
    expect([first, second].map(({ headers }) => headers.get('range'))).toEqual(['0-9', '0-9']);
  });

  test('a manifest is what its type says, complete, and of its digest', async () => {
    const double = await useRegistryDouble();
    const { digest } = await putArtifact(double, 'a', 'x');
    const manifest = double.repositories.get('a')?.manifests.get(digest)?.bytes.toString() ?? '';
    const put = async (reference: string, body: string, type: string): Promise<string | undefined> =>
      codeOf(
        await ask(`${double.origin}/v2/a/manifests/${reference}`, {
          method: 'PUT',
          headers: { 'content-type': type },
          body,
        }),
      );
    const type = 'application/vnd.oci.image.manifest.v1+json';
    expect(await put('y', manifest, type.replace('manifest', 'index'))).toBe('MANIFEST_INVALID');
    expect(await put('y', '[]', type)).toBe('MANIFEST_INVALID');
    expect(await put(`sha256:${'0'.repeat(64)}`, manifest, type)).toBe('DIGEST_INVALID');
    expect(await put('y', manifest.replaceAll('sha256:44', 'sha256:45'), type)).toBe('MANIFEST_BLOB_UNKNOWN');
    const url = `${double.origin}/v2/a/manifests/x`;
    expect((await ask(url, { headers: { accept: 'application/vnd.oci.image.index.v1+json' } })).status).toBe(
      404,
    );
    expect((await ask(url, { headers: { accept: `text/plain, ${type};q=0.5` } })).text).toBe(manifest);
  });

  test('a right that is never granted is asked for without end', async () => {
    const double = await useRegistryDouble({ auth: { kind: 'token', policy: () => [] } });
    for (let i = 0; i < 2; i += 1) {
      const headers = await tokenFor(double.origin, 'repository:a:pull');
      const seen = await ask(`${double.origin}/v2/a/tags/list`, { headers });
      expect([seen.status, seen.headers.get('www-authenticate')]).toEqual([
        401,
        expect.stringContaining('error="insufficient_scope"'),
      ]);
    }
  });
});

test('the Packages API refuses what GitHub refuses', async () => {
  const owner = { username: 'owner', password: 'all', owners: ['org'] };
  const reader = {
    username: 'reader',
    password: 'read',
    owners: ['org'],
    scopes: ['read:packages'],
  } as const;
  const stranger = { username: 'stranger', password: 'none', owners: ['other'] };
  const ghcr = await useGhcrDouble({ users: [owner, reader, stranger], apiBudget: 7 });
  const headers = await tokenFor(ghcr.origin, 'repository:org/a:pull,push', owner);
  for (const tag of ['1', '2'])
    await putArtifact(ghcr, 'org/a', tag, { headers, more: { annotations: { tag } } });
  const found = ghcr.packages.get('org/a')!;
  const url = `${ghcr.apiUrl}/orgs/org/packages/container/a`;
  const api = async (method: string, path: string, { password }: { password: string }): Promise<number> =>
    (await ask(url + path, { method, headers: { authorization: `Bearer ${password}` } })).status;
  const version = `/versions/${found.versions[0]?.id}`;
  expect(await api('GET', '', stranger)).toBe(404);
  expect(await api('GET', '', reader)).toBe(200);
  expect(await api('DELETE', version, reader)).toBe(403);
  found.visibility = 'public';
  found.downloads = 5001;
  expect(await api('GET', '', stranger)).toBe(200);
  expect(await api('DELETE', version, owner)).toBe(400);
  found.downloads = 0;
  expect(await api('DELETE', version, owner)).toBe(204);
  expect(await api('DELETE', '', owner)).toBe(204);
  expect(ghcr.repositories.has('org/a')).toBe(false);
  expect(await api('GET', '', owner)).toBe(403);
});
