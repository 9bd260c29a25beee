import { describe, expect, onTestFinished, test } from 'vitest';
import { openHttpClient } from '#ferry/http/client.js';
import { openerOf } from '#ferry/io/bytes.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { contentOf, rejection, type Content } from '../contracts/artifacts.js';
import { createGate } from '../support/gate.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';
import {
  ABANDON,
  blob,
  created,
  digestInvalid,
  PUT,
  sceneOf,
  sceneWith,
  SINGLE,
  START,
  started,
  times,
} from './upload-scene.js';

const other = contentOf('other bytes');
const large = contentOf(Buffer.alloc(4097, 'large'));
const larger = contentOf(Buffer.alloc(4 * 1024 * 1024 + 1, 'larger'));

function singleOf(content: Content, repository = 'a/b'): string {
  return `POST /v2/${repository}/blobs/uploads/?digest=${encodeURIComponent(content.descriptor.digest)}`;
}

function putOf(content: Content): string {
  return `PUT /session?digest=${encodeURIComponent(content.descriptor.digest)}`;
}

describe('a tiny blob is tried with the first request', () => {
  test('taken (201): that is all, and from then on for blobs up to 4 MiB, in all repositories', async () => {
    const edge = contentOf(Buffer.alloc(4 * 1024 * 1024, 'edge'));
    const { server, registry } = await sceneWith(
      {},
      [SINGLE, created],
      [singleOf(large, 'c'), created],
      [singleOf(edge, 'c'), created],
      ['POST /v2/c/blobs/uploads/', started],
      [putOf(larger), created],
    );
    await registry.repository('a/b').push(blob.descriptor, openerOf(blob.bytes));
    for (const { descriptor, bytes } of [large, edge, larger]) {
      await registry.repository('c').push(descriptor, openerOf(bytes));
    }
    expect(server.lines).toEqual([
      SINGLE,
      singleOf(large, 'c'),
      singleOf(edge, 'c'),
      'POST /v2/c/blobs/uploads/',
      putOf(larger),
    ]);
    expect(server.requests[0]?.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(blob.descriptor.size),
    });
    expect(server.requests[0]?.body.equals(blob.bytes)).toBe(true);
  });

  test('not wanted (202): that session goes on, and it is never tried again', async () => {
    const { server, registry } = await sceneWith(
      {},
      [SINGLE, started],
      [PUT, created],
      ['POST /v2/c/blobs/uploads/', started],
      [PUT, created],
    );
    await registry.repository('a/b').push(blob.descriptor, openerOf(blob.bytes));
    await registry.repository('c').push(blob.descriptor, openerOf(blob.bytes));
    expect(server.lines).toEqual([SINGLE, PUT, 'POST /v2/c/blobs/uploads/', PUT]);
    expect(server.requests[1]?.body.equals(blob.bytes)).toBe(true);
  });

  test.each([400, 404, 405, 411, 413, 415, 501])(
    'refused (%i): the usual way, and it is never tried again',
    async (status) => {
      const { server, repository } = await sceneWith(
        {},
        [SINGLE, { status }],
        ...times(2, START, started),
        [PUT, created],
        [putOf(other), created],
      );
      await repository.push(blob.descriptor, openerOf(blob.bytes));
      await repository.push(other.descriptor, openerOf(other.bytes));
      expect(server.lines).toEqual([SINGLE, START, PUT, START, putOf(other)]);
    },
  );

  test.each([
    [401, 'UNAUTHORIZED'],
    [403, 'DENIED'],
  ])('a %i would be the same the usual way, and says nothing about it', async (status, code) => {
    const { server, repository } = await sceneWith({}, [SINGLE, { status }], [SINGLE, created]);
    expect(await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)))).toMatchObject({ code });
    await repository.push(blob.descriptor, openerOf(blob.bytes));
    expect(server.lines).toEqual([SINGLE, SINGLE]);
  });

  test('its answer lost, it is sent again: the name of a blob is its digest', async () => {
    const { server, repository } = await sceneWith(
      {},
      [SINGLE, { fault: 'reset' }],
      [SINGLE, { status: 429, headers: { 'retry-after': '1' } }],
      [SINGLE, created],
    );
    await repository.push(blob.descriptor, openerOf(blob.bytes));
    expect(server.lines).toEqual([SINGLE, SINGLE, SINGLE]);
    expect(server.requests[2]?.body.equals(blob.bytes)).toBe(true);
  });

  test.each<[string, Content]>([
    ['more than 4 KiB', large],
    ['nothing', contentOf('')],
  ])('one of %s is not', async (_, { descriptor, bytes }) => {
    const put = `PUT /session?digest=${encodeURIComponent(descriptor.digest)}`;
    const { server, repository } = await sceneWith({}, [START, started], [put, created]);
    await repository.push(descriptor, openerOf(bytes));
    expect(server.lines).toEqual([START, put]);
  });

  test('one that is larger than what the registry takes at once is not', async () => {
    const { server, repository } = await sceneWith({ maxBodyBytes: 10, singlePost: 'yes' }, [
      START,
      { status: 403 },
    ]);
    await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
    expect(server.lines).toEqual([START]);
  });
});

describe('where single requests are taken', () => {
  test('one that is too large for a gateway goes the usual way, the next one again at once', async () => {
    const { server, repository } = await sceneWith(
      { singlePost: 'yes' },
      [singleOf(large), { status: 413 }],
      [START, started],
      [putOf(large), created],
      [SINGLE, created],
    );
    await repository.push(large.descriptor, openerOf(large.bytes));
    await repository.push(blob.descriptor, openerOf(blob.bytes));
    expect(server.lines).toEqual([singleOf(large), START, putOf(large), SINGLE]);
  });

  test('wrong bytes are told by the usual way', async () => {
    const { server, repository } = await sceneWith(
      { singlePost: 'yes' },
      [SINGLE, { status: 400, body: digestInvalid }],
      [START, started],
      [PUT, { status: 400, body: digestInvalid }],
    );
    const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
    expect(error).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(server.lines).toEqual([SINGLE, START, PUT, ABANDON]);
  });
});

test.each<[string, Answer, Answer]>([
  ['201 before 202', created, started],
  ['202 before 201', started, created],
  ['201 before 405', created, { status: 405 }],
  ['405 before 201', { status: 405 }, created],
])('of two at once that are answered %s, both are stored, and one 202 is enough', async (_, ...answers) => {
  const arrived = createGate();
  let pending = 2;
  const { server, registry } = await sceneWith(
    {},
    ...times(2, START, started),
    [PUT, created],
    [putOf(other), created],
  );
  server.expect([SINGLE, answers[0]], [singleOf(other), answers[1]]);
  // Both are sent before either is answered, since nothing is known yet.
  const send: Promise<void>[] = [blob, other].map(async ({ descriptor, bytes }) => {
    await registry.repository('a/b').push(descriptor, async function* () {
      pending -= 1;
      if (pending === 0) arrived.open();
      await arrived.passed;
      yield* openerOf(bytes)();
    });
  });
  await Promise.all(send);
  const stored = server.lines.filter(
    (line) => line.startsWith('PUT') || line === SINGLE || line === singleOf(other),
  );
  expect(stored).toHaveLength(3);
  server.expect(['POST /v2/c/blobs/uploads/', started], [PUT, created]);
  const before = server.lines.length;
  const last = singleOf(blob, 'c');
  server.expect([last, created]);
  await registry.repository('c').push(blob.descriptor, openerOf(blob.bytes));
  const isRefusal = answers.some(({ status }) => status === 202);
  if (isRefusal) expect(server.lines.slice(before)).toEqual(['POST /v2/c/blobs/uploads/', PUT]);
});

describe('a blob that may be mounted', () => {
  const mountOf = (from?: string): string =>
    `${START}?mount=${encodeURIComponent(blob.descriptor.digest)}${from === undefined ? '' : `&from=${encodeURIComponent(from)}`}`;
  const MOUNT = mountOf('x/y');
  const options = { mountFrom: 'x/y' };

  test('is not sent where the registry takes it over (201)', async () => {
    const { server, repository } = await sceneWith({}, [MOUNT, created]);
    await repository.push(blob.descriptor, openerOf(blob.bytes), options);
    expect(server.lines).toEqual([MOUNT]);
    expect(server.requests[0]?.headers).toMatchObject({ 'content-length': '0' });
  });

  test('goes on in the very session that the registry opened instead (202)', async () => {
    const { server, repository } = await sceneWith({}, [MOUNT, started], [PUT, created]);
    await repository.push(blob.descriptor, openerOf(blob.bytes), options);
    expect(server.lines).toEqual([MOUNT, PUT]);
    expect(server.requests[1]?.body.equals(blob.bytes)).toBe(true);
  });

  test.each<[string, Answer]>([
    ['a 401', { status: 401 }],
    ['a 403', { status: 403 }],
    ['a 404', { status: 404 }],
    ['a 405', { status: 405 }],
    ['a 500', { status: 500 }],
    ['a 202 that names no session', { status: 202 }],
    ['a broken connection', { fault: 'reset' }],
    ['a challenge that leads nowhere', { status: 401, headers: { 'www-authenticate': 'Negotiate' } }],
  ])('is plainly sent after %s, without waiting', async (_, answer) => {
    const { server, repository, client } = await sceneOf([MOUNT, answer], [START, started], [PUT, created]);
    await repository.push(blob.descriptor, openerOf(blob.bytes), options);
    expect(server.lines).toEqual([MOUNT, START, PUT]);
    expect(client.pausesMs).toEqual([]);
  });

  test('is plainly sent where no token is to be had for the source', async () => {
    const tokens = await startScriptedServer();
    const scope = 'repository%3Aa%2Fb%3Apull%2Cpush';
    const realm = `${tokens.origin}/token`;
    const challenge: Answer = {
      status: 401,
      headers: { 'www-authenticate': `Bearer realm="${realm}",service="s"` },
    };
    const { server, repository } = await sceneOf(
      [MOUNT, challenge],
      [START, challenge],
      [START, started],
      [PUT, created],
    );
    const forSource: Row = [
      `GET /token?service=s&scope=${scope}&scope=repository%3Ax%2Fy%3Apull`,
      { status: 403 },
    ];
    const token: Answer = { body: JSON.stringify({ token: 'for-us', expires_in: 300 }) };
    tokens.expect(forSource, ...times(2, `GET /token?service=s&scope=${scope}`, token));
    await repository.push(blob.descriptor, openerOf(blob.bytes), options);
    expect(tokens.lines[0]).toContain('x%2Fy');
    expect(server.lines.at(-1)).toBe(PUT);
  });

  test('is mounted at most once: another attempt goes the plain way', async () => {
    const { server, repository } = await sceneOf(
      [MOUNT, started],
      [PUT, { status: 500 }],
      [START, started],
      [PUT, created],
      [`HEAD /v2/a/b/blobs/${blob.descriptor.digest}`, { status: 404 }],
    );
    await repository.push(blob.descriptor, openerOf(blob.bytes), options);
    expect(server.lines.filter((line) => line.startsWith('POST'))).toEqual([MOUNT, START]);
  });

  test('an abort is none of those answers', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const { server, repository } = await sceneOf([
      MOUNT,
      () => {
        controller.abort(reason);
        return { fault: 'silent' };
      },
    ]);
    const pushing = repository.push(blob.descriptor, openerOf(blob.bytes), {
      ...options,
      signal: controller.signal,
    });
    expect(await rejection(pushing)).toBe(reason);
    expect(server.lines).toEqual([MOUNT]);
  });

  test.each<[string, string | undefined]>([
    ['with a source', 'x/y'],
    ['without one', undefined],
  ])('mount() %s: 201 is success, 202 is none and its session is given up', async (_, from) => {
    const { server, repository } = await sceneOf(
      [mountOf(from), created],
      [mountOf(from), started],
      [ABANDON, { status: 204 }],
      [mountOf(from), { status: 405 }],
    );
    expect(await repository.mount(blob.descriptor, from)).toBe(true);
    expect(await repository.mount(blob.descriptor, from)).toBe(false);
    expect(await repository.mount(blob.descriptor, from)).toBe(false);
    expect(server.lines).toEqual([mountOf(from), mountOf(from), ABANDON, mountOf(from)]);
  });

  test('mount() of no repository sends nothing', async () => {
    const { server, repository } = await sceneOf();
    expect(await rejection(repository.mount(blob.descriptor, '../x'))).toMatchObject({
      code: 'REFERENCE_INVALID',
    });
    expect(server.lines).toEqual([]);
  });
});

test('giving up a session takes no longer because the host makes everybody wait', async () => {
  const server = await startScriptedServer(
    [START, started],
    [PUT, { status: 429, headers: { 'retry-after': '250' } }],
  );
  // A clock that stands still, as it nearly does for whoever presses Ctrl-C.
  const never = (_ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((_, reject) => {
      signal?.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });
  const client = openHttpClient({ userAgent: 'ferry-test/1', sleep: never });
  onTestFinished(() => client[Symbol.asyncDispose]());
  const registry = new RegistryClient({
    host: server.host,
    send: client.send,
    uploads: { singlePost: 'no' },
  });
  const controller = new AbortController();
  const reason = new Error('enough');
  const pushing = registry
    .repository('a/b')
    .push(blob.descriptor, openerOf(blob.bytes), { signal: controller.signal });
  await expect.poll(() => server.lines.length).toBe(2);
  setTimeout(() => {
    controller.abort(reason);
  }, 50);
  expect(await rejection(pushing)).toBe(reason);
}, 15_000);
