import { describe, expect, test } from 'vitest';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { RepositoryClient } from '#ferry/registry/repository-client.js';
import { artifactOf, contentOf, readAll, rejection } from '../contracts/artifacts.js';
import { openTestClient, type TestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

const { manifest } = artifactOf('a layer');
const { digest } = manifest.descriptor;
const blob = contentOf('0123456789');
const BLOB = `/v2/a/b/blobs/${blob.descriptor.digest}`;
const GET = `GET ${BLOB}`;

async function sceneOf(...rows: Row[]): Promise<{
  readonly server: ScriptedServer;
  readonly repository: RepositoryClient;
  readonly client: TestClient;
}> {
  const server = await startScriptedServer(...rows);
  const client = openTestClient();
  const registry = new RegistryClient({ host: server.host, send: client.send, ...client.retry });
  return { server, client, repository: registry.repository('a/b') };
}

const stored: Answer = {
  headers: { 'content-type': IMAGE_MANIFEST, 'docker-content-digest': digest },
  body: manifest.bytes,
};

/** The rest of the blob. */
function rest(from: number, more: Partial<Answer> = {}): Answer {
  return {
    status: 206,
    headers: { 'content-range': `bytes ${String(from)}-9/10` },
    body: blob.bytes.subarray(from),
    ...more,
  };
}

describe('fetch', () => {
  test('a blob is asked for without Accept, a manifest with its own type', async () => {
    const { server, repository } = await sceneOf(
      [`GET ${BLOB}`, { body: blob.bytes }],
      [`GET /v2/a/b/manifests/${digest}`, stored],
    );
    await readAll(repository.fetch(blob.descriptor));
    await readAll(repository.fetch(manifest.descriptor));
    expect(server.requests.map(({ headers }) => headers.accept)).toEqual([undefined, IMAGE_MANIFEST]);
  });

  test.each<[string, Answer, string]>([
    ['other bytes of the right size', { body: '9876543210' }, 'DIGEST_MISMATCH'],
    ['a byte too many', { body: '01234567890' }, 'SIZE_EXCEEDED'],
    ['none, for lack of rights', { status: 403 }, 'DENIED'],
    ['none, for it is not there', { status: 404, body: '404 page not found' }, 'NOT_FOUND'],
  ])('a reader who gets %s is told', async (_, answer, code) => {
    const { repository } = await sceneOf([`GET ${BLOB}`, answer]);
    expect(await rejection(readAll(repository.fetch(blob.descriptor)))).toMatchObject({ code });
  });

  test.each<[string, Answer, number]>([
    ['broke off', { body: blob.bytes, fault: 'truncated' }, 5],
    ['was reset', { body: blob.bytes, fault: 'reset-in-body' }, 5],
    ['ended too early in good order', { body: '012345678' }, 9],
    ['brought nothing', { body: '' }, 0],
  ])('what %s is gone on with, and the digest is that of the whole', async (_, answer, at) => {
    const again: Answer = at === 0 ? { body: blob.bytes } : rest(at);
    const { server, repository, client } = await sceneOf([GET, answer], [GET, again]);
    expect((await readAll(repository.fetch(blob.descriptor))).equals(blob.bytes)).toBe(true);
    const range = at === 0 ? undefined : `bytes=${String(at)}-`;
    expect(server.requests.map(({ headers }) => headers.range)).toEqual([undefined, range]);
    expect(client.pausesMs).toEqual([250]);
  });

  test('is gone on with again and again, from wherever it broke off', async () => {
    const { server, repository } = await sceneOf(
      [GET, { body: blob.bytes, fault: 'truncated' }],
      [GET, { status: 503 }],
      [GET, rest(5, { fault: 'truncated' })],
      [GET, { fault: 'reset' }],
      [GET, rest(7)],
    );
    expect((await readAll(repository.fetch(blob.descriptor))).equals(blob.bytes)).toBe(true);
    const ranges = server.requests.map(({ headers }) => headers.range);
    expect(ranges).toEqual([undefined, 'bytes=5-', 'bytes=5-', 'bytes=7-', 'bytes=7-']);
  });

  test.each<[string, Answer[]]>([
    ['sends all of it', [{ body: blob.bytes }]],
    ['begins earlier', [rest(2)]],
    ['begins later', [rest(7), { body: blob.bytes }]],
    ['does not say where it begins', [{ status: 206, body: '56789' }, { body: blob.bytes }]],
    ['says that there is no such range', [{ status: 416 }, { body: blob.bytes }]],
  ])('a server that then %s gives the right bytes all the same', async (_, answers) => {
    const { repository } = await sceneOf(
      [GET, { body: blob.bytes, fault: 'truncated' }],
      ...answers.map((answer): Row => [GET, answer]),
    );
    expect((await readAll(repository.fetch(blob.descriptor))).equals(blob.bytes)).toBe(true);
  });

  test.each<[string, Answer, string]>([
    ['other bytes', { ...rest(5), body: '98765' }, 'DIGEST_MISMATCH'],
    ['too many bytes', { ...rest(5), body: '567890' }, 'SIZE_EXCEEDED'],
    ['a refusal', { status: 403 }, 'DENIED'],
    ['an absence', { status: 404 }, 'NOT_FOUND'],
  ])('a rest of %s is an error', async (_, answer, code) => {
    const { repository } = await sceneOf([GET, { body: blob.bytes, fault: 'truncated' }], [GET, answer]);
    expect(await rejection(readAll(repository.fetch(blob.descriptor)))).toMatchObject({ code });
  });

  test.each<[string, Answer]>([
    ['all of it', { body: '012345' }],
    ['the empty rest', { status: 206, headers: { 'content-range': 'bytes 6-9/10' } }],
    ['that there is no more', { status: 416 }],
  ])(
    'a blob that is shorter than it should be is told soon, where the server sends %s',
    async (_, answer) => {
      const { server, repository } = await sceneOf([GET, { body: '012345' }], [GET, answer]);
      const error = await rejection(readAll(repository.fetch(blob.descriptor)));
      expect(error).toMatchObject({ code: 'SIZE_MISMATCH', expected: '10', actual: '6' });
      expect(server.lines).toHaveLength(2);
    },
  );

  test('a server that never brings a byte more is left after eight times', async () => {
    const rows = Array.from({ length: 20 }, (): Row => [GET, { body: blob.bytes, fault: 'truncated' }]);
    const { server, repository } = await sceneOf(...rows);
    expect(await rejection(readAll(repository.fetch(blob.descriptor)))).toMatchObject({ code: 'NETWORK' });
    expect(server.lines).toHaveLength(8);
  });

  test('from an offset, asks for a range and takes what fits', async () => {
    const ranged: Answer = { status: 206, headers: { 'content-range': 'bytes 4-9/10' }, body: '456789' };
    const { server, repository } = await sceneOf([`GET ${BLOB}`, ranged]);
    expect((await readAll(repository.fetch(blob.descriptor, { offset: 4 }))).toString()).toBe('456789');
    expect(server.requests[0]?.headers.range).toBe('bytes=4-');
  });

  test.each<[string, Answer]>([
    ['the whole blob', { body: blob.bytes }],
    [
      'a range that begins earlier',
      { status: 206, headers: { 'content-range': 'bytes 2-9/10' }, body: '23456789' },
    ],
  ])('from an offset, skips into %s', async (_, answer) => {
    const { repository } = await sceneOf([`GET ${BLOB}`, answer]);
    expect((await readAll(repository.fetch(blob.descriptor, { offset: 4 }))).toString()).toBe('456789');
  });

  test.each<[string, Answer]>([
    ['a later range', rest(5)],
    ['a range of no name', { status: 206, body: '456789' }],
  ])('from an offset, %s is of no use: the whole is read instead', async (_, answer) => {
    const { server, repository } = await sceneOf([GET, answer], [GET, { body: blob.bytes }]);
    expect((await readAll(repository.fetch(blob.descriptor, { offset: 4 }))).toString()).toBe('456789');
    expect(server.requests.map(({ headers }) => headers.range)).toEqual(['bytes=4-', undefined]);
  });

  test.each<[string, Answer, string]>([
    ['too few bytes', { ...rest(4), body: '45678' }, 'SIZE_MISMATCH'],
    ['too many bytes', { ...rest(4), body: '456789a' }, 'SIZE_EXCEEDED'],
    ['a shorter blob', { body: '012' }, 'SIZE_MISMATCH'],
    ['a refusal', { status: 416 }, 'REGISTRY_REFUSED'],
  ])('from an offset, %s is an error', async (_, answer, code) => {
    const { repository } = await sceneOf([GET, answer], [GET, { status: 416 }], [GET, { body: '012' }]);
    const reading = readAll(repository.fetch(blob.descriptor, { offset: 4 }));
    expect(await rejection(reading)).toMatchObject({ code });
  });

  test('from an offset, what breaks off is gone on with', async () => {
    const { server, repository } = await sceneOf([GET, rest(4, { fault: 'truncated' })], [GET, rest(7)]);
    expect((await readAll(repository.fetch(blob.descriptor, { offset: 4 }))).toString()).toBe('456789');
    expect(server.requests.map(({ headers }) => headers.range)).toEqual(['bytes=4-', 'bytes=7-']);
  });

  test('from its end, asks for nothing', async () => {
    const { server, repository } = await sceneOf();
    expect(await readAll(repository.fetch(blob.descriptor, { offset: 10 }))).toHaveLength(0);
    expect(server.lines).toEqual([]);
  });

  test('an abort in the middle rejects with the reason given', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const { repository } = await sceneOf([`GET ${BLOB}`, { body: blob.bytes, fault: 'stalled' }]);
    const reading = (async () => {
      for await (const chunk of repository.fetch(blob.descriptor, { signal: controller.signal })) {
        if (chunk.byteLength > 0) controller.abort(reason);
      }
    })();
    expect(await rejection(reading)).toBe(reason);
  });
});

describe('exists', () => {
  test('a blob of another size than it should have is corrupt, not there or absent', async () => {
    const { repository } = await sceneOf([`HEAD ${BLOB}`, { headers: { 'content-length': 9 } }]);
    expect(await rejection(repository.exists(blob.descriptor))).toMatchObject({ code: 'SIZE_MISMATCH' });
  });

  test('a registry that tells no size is believed', async () => {
    const { repository } = await sceneOf([`HEAD ${BLOB}`, { headers: { 'transfer-encoding': 'chunked' } }]);
    expect(await repository.exists(blob.descriptor)).toBe(true);
  });

  test.each([401, 403, 500])('a %i is an error, not an absence', async (status) => {
    const { repository } = await sceneOf(
      ...Array.from({ length: 8 }, (): Row => [`HEAD ${BLOB}`, { status }]),
    );
    expect(await rejection(repository.exists(blob.descriptor))).toMatchObject({ status });
  });
});
