import { describe, expect, test } from 'vitest';
import { resolveUrlForOthers } from '#ferry/http/server-url.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { contentOf, pushContent, rejection } from '../contracts/artifacts.js';
import { startGhcr } from '../support/stores.js';
import { openTestClient, type TestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

const blob = contentOf('0123456789');
const BLOB = `/v2/a/b/blobs/${blob.descriptor.digest}`;
const GET = `GET ${BLOB}`;
const HEAD = `HEAD ${BLOB}`;

async function sceneOf(...rows: Row[]): Promise<{
  readonly server: ScriptedServer;
  readonly registry: RegistryClient;
  readonly client: TestClient;
}> {
  const server = await startScriptedServer(...rows);
  const client = openTestClient();
  return {
    server,
    client,
    registry: new RegistryClient({ host: server.host, send: client.send, ...client.retry }),
  };
}

const to = (location: string): Answer => ({ status: 307, headers: { location } });
const firstByte: Answer = { status: 206, headers: { 'content-range': 'bytes 0-0/10' }, body: '0' };

describe('the size of a blob', () => {
  test('costs one HEAD', async () => {
    const { server, registry } = await sceneOf([HEAD, { headers: { 'content-length': '10' } }]);
    expect(await registry.repository('a/b').statBlob(blob.descriptor.digest)).toEqual({ size: 10 });
    expect(server.lines).toEqual([HEAD]);
  });

  test.each<[string, Answer]>([
    ['a range', firstByte],
    ['all of it', { body: blob.bytes }],
  ])('is found by reading where HEAD says 0, and the answer is %s', async (_, answer) => {
    const { server, registry } = await sceneOf([HEAD, { headers: { 'content-length': '0' } }], [GET, answer]);
    expect(await registry.repository('a/b').statBlob(blob.descriptor.digest)).toEqual({ size: 10 });
    expect(server.requests[1]?.headers.range).toBe('bytes=0-0');
  });

  test('an absent blob has none; a refusal is an error', async () => {
    const { registry } = await sceneOf([HEAD, { status: 404 }], [HEAD, { status: 403 }]);
    const repository = registry.repository('a/b');
    expect(await repository.statBlob(blob.descriptor.digest)).toBeUndefined();
    expect(await rejection(repository.statBlob(blob.descriptor.digest))).toMatchObject({ code: 'DENIED' });
  });

  test('a registry that tells it in no way is refused', async () => {
    const silent: Answer = { status: 206, headers: { 'content-range': 'bytes 0-0/*' }, body: '0' };
    const { registry } = await sceneOf([HEAD, { headers: { 'content-length': '0' } }], [GET, silent]);
    const error = await rejection(registry.repository('a/b').statBlob(blob.descriptor.digest));
    expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
  });
});

describe('where a blob is', () => {
  test('is told by a redirect to another origin, to which nothing is sent', async () => {
    const storage = await startScriptedServer();
    const signed = `${storage.origin}/blob?sig=a%2Fb`;
    const { server, registry } = await sceneOf([GET, to(signed)], [GET, to(signed)]);
    const repository = registry.repository('a/b');
    expect((await repository.locateBlob(blob.descriptor))?.href).toBe(signed);
    // Signed URLs run out, so it is asked each time.
    expect((await repository.locateBlob(blob.descriptor))?.href).toBe(signed);
    expect([server.lines, storage.lines]).toEqual([[GET, GET], []]);
  });

  test('redirects within the registry are gone after, with its credentials', async () => {
    const storage = await startScriptedServer();
    const { server, registry } = await sceneOf([GET, to('/inside')], ['GET /inside', to(storage.origin)]);
    expect((await registry.repository('a/b').locateBlob(blob.descriptor))?.href).toBe(`${storage.origin}/`);
    expect(server.lines).toEqual([GET, 'GET /inside']);
  });

  test('a registry that gives its blobs itself is asked once in ten minutes', async () => {
    const { server, registry, client } = await sceneOf([GET, firstByte], [GET, firstByte]);
    for (const name of ['a/b', 'a/b', 'c']) {
      expect(await registry.repository(name).locateBlob(blob.descriptor)).toBeUndefined();
    }
    expect(server.lines).toEqual([GET]);
    await client.retry.sleep?.(10 * 60_000, undefined);
    expect(await registry.repository('a/b').locateBlob(blob.descriptor)).toBeUndefined();
    expect(server.lines).toEqual([GET, GET]);
  });

  test('a registry that sent us elsewhere once is asked always', async () => {
    const storage = await startScriptedServer();
    const { server, registry } = await sceneOf([GET, to(storage.origin)], [GET, firstByte], [GET, firstByte]);
    const repository = registry.repository('a/b');
    for (const expected of [storage.origin, undefined, undefined]) {
      expect((await repository.locateBlob(blob.descriptor))?.origin).toBe(expected);
    }
    expect(server.lines).toHaveLength(3);
  });

  test('a registry that knows no ranges is not read to the end', async () => {
    const { server, registry } = await sceneOf([GET, { body: Buffer.alloc(64 * 1024 * 1024) }]);
    expect(await registry.repository('a/b').locateBlob(blob.descriptor)).toBeUndefined();
    expect(server.requests[0]?.headers.range).toBe('bytes=0-0');
  });

  test.each<[string, Answer, string]>([
    ['absent', { status: 404 }, 'NOT_FOUND'],
    ['refused', { status: 403 }, 'DENIED'],
    ['limited', { status: 429, headers: { 'retry-after': '9999' } }, 'RATE_LIMITED'],
    ['at a place with a user name', to('http://user:secret@127.0.0.1:1/'), 'REGISTRY_REFUSED'],
    ['at no web address', to('file:///etc/passwd'), 'REGISTRY_REFUSED'],
  ])('a blob that is %s is an error', async (_, answer, code) => {
    const { registry } = await sceneOf([GET, answer]);
    expect(await rejection(registry.repository('a/b').locateBlob(blob.descriptor))).toMatchObject({ code });
  });

  test.each([
    ['http://storage.example/x', 'https://registry.example/'],
    ['https://127.0.0.1/x', 'https://registry.example/'],
    ['https://files.localhost/x', 'https://203.0.113.1/'],
    ['https://10.0.0.1/x', 'https://registry.invalid/'],
  ])('nobody is sent to %s by %s', async (location, base) => {
    expect(await rejection(resolveUrlForOthers(location, new URL(base)))).toMatchObject({
      code: 'REGISTRY_REFUSED',
    });
  });

  test('a registry in a private network may send others there', async () => {
    const url = await resolveUrlForOthers('http://10.0.0.1/x', new URL('http://127.0.0.1:5000/'));
    expect(url.href).toBe('http://10.0.0.1/x');
  });

  test('a GHCR tells it, to anybody', async () => {
    const ghcr = await startGhcr();
    const client = openTestClient({
      findCredential: () => Promise.resolve({ kind: 'basic', username: 'writer', password: 'a-token' }),
    });
    const repository = new RegistryClient({ host: ghcr.host, send: client.send }).repository('org/noarch/x');
    await pushContent(repository, blob);
    const url = await repository.locateBlob(blob.descriptor);
    expect(url?.origin).not.toBe(ghcr.origin);
    expect(await (await fetch(url ?? '')).text()).toBe('0123456789');
  });
});
