import { expect, test, vi } from 'vitest';
import { TransportError } from '#ferry/errors.js';
import { openerOf, type OpenBytes } from '#ferry/io/bytes.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import type { RepositoryClient } from '#ferry/registry/repository-client.js';
import { contentOf, rejection } from '../contracts/artifacts.js';
import { everythingOf, openTestClient, type TestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

const blob = contentOf('the bytes of a blob');
const { digest, size } = blob.descriptor;
const QUERY = `digest=${encodeURIComponent(digest)}`;
const START = 'POST /v2/a/b/blobs/uploads/';
const PUT = `PUT /session?${QUERY}`;
const HEAD = `HEAD /v2/a/b/blobs/${digest}`;

const started: Answer = { status: 202, headers: { location: '/session' } };
const created: Answer = { status: 201 };
const absent: Answer = { status: 404 };
const present: Answer = { headers: { 'content-length': size } };
const digestInvalid = JSON.stringify({
  errors: [{ code: 'DIGEST_INVALID', message: 'provided digest did not match' }],
});

interface Scene {
  readonly server: ScriptedServer;
  readonly repository: RepositoryClient;
  readonly client: TestClient;
}

async function sceneOf(...rows: Row[]): Promise<Scene> {
  const server = await startScriptedServer(...rows);
  const client = openTestClient({ findCredentials: () => ({ username: 'user', password: 'password' }) });
  const registry = new RegistryClient({ host: server.host, send: client.send, ...client.retry });
  return { server, client, repository: registry.repository('a/b') };
}

test('a POST for a session, then a PUT of everything', async () => {
  const { server, repository } = await sceneOf([START, started], [PUT, created]);
  await repository.push(blob.descriptor, openerOf(blob.bytes));
  expect(server.lines).toEqual([START, PUT]);
  const [post, put] = server.requests;
  expect(post?.headers).toMatchObject({ 'content-length': '0' });
  expect(post?.headers).not.toHaveProperty('accept');
  expect(put?.headers).toMatchObject({
    'content-length': String(size),
    'content-type': 'application/octet-stream',
  });
  for (const name of ['content-range', 'transfer-encoding', 'accept'])
    expect(put?.headers).not.toHaveProperty(name);
  expect(put?.body.equals(blob.bytes)).toBe(true);
});

test.each([200, 201, 204])('takes %i for stored', async (status) => {
  const { server, repository } = await sceneOf([START, started], [PUT, { status }]);
  await repository.push(blob.descriptor, openerOf(blob.bytes));
  expect(server.lines).toEqual([START, PUT]);
});

test.each<[string, string, string]>([
  ['relative to the upload', 'id-1', `/v2/a/b/blobs/uploads/id-1?${QUERY}`],
  ['with a path', '/elsewhere/id', `/elsewhere/id?${QUERY}`],
  ['with a query, kept byte for byte', '/s?_state=a%2Fb+c==&x=%7E;y', `/s?_state=a%2Fb+c==&x=%7E;y&${QUERY}`],
  ['with the beginning of a query', '/s?', `/s?${QUERY}`],
  ['with an unfinished query', '/s?a=b&', `/s?a=b&${QUERY}`],
  ['with a fragment', '/s?a=b#part', `/s?a=b&${QUERY}`],
  ['of 10 KiB', `/${'x'.repeat(10_240)}`, `/${'x'.repeat(10_240)}?${QUERY}`],
])('a Location %s is where the bytes go', async (_, location, target) => {
  const { server, repository } = await sceneOf(
    [START, { status: 202, headers: { location } }],
    [`PUT ${target}`, created],
  );
  await repository.push(blob.descriptor, openerOf(blob.bytes));
  expect(server.lines).toEqual([START, `PUT ${target}`]);
});

test('an absolute Location on the same origin gets the credentials, one on another origin does not', async () => {
  const challenge: Answer = { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
  const { server, repository } = await sceneOf([START, challenge]);
  const other = await startScriptedServer([PUT, created]);
  const at = (origin: string): Answer => ({ status: 202, headers: { location: `${origin}/session` } });
  server.expect([START, at(server.origin)], [PUT, created], [START, at(other.origin)]);
  await repository.push(blob.descriptor, openerOf(blob.bytes));
  await repository.push(blob.descriptor, openerOf(blob.bytes));
  expect(server.requests.map(({ headers }) => headers.authorization !== undefined)).toEqual([
    false,
    true,
    true,
    true,
  ]);
  expect(other.lines).toEqual([PUT]);
  expect(other.requests[0]?.headers).not.toHaveProperty('authorization');
});

test.each<[string, Answer]>([
  ['without a Location', { status: 202 }],
  ['with a Location that is none', { status: 202, headers: { location: 'http://' } }],
  ['with a Location for a file', { status: 202, headers: { location: 'file:///etc/passwd' } }],
])('a session %s is refused', async (_, answer) => {
  const { server, repository } = await sceneOf([START, answer]);
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ code: 'REGISTRY_REFUSED' });
  expect(server.lines).toEqual([START]);
});

test('the start of a session is repeated like a GET, and nothing else of the upload', async () => {
  const { server, repository } = await sceneOf(
    [START, { status: 503 }],
    [START, { fault: 'reset' }],
    [START, started],
    [PUT, created],
  );
  await repository.push(blob.descriptor, openerOf(blob.bytes));
  expect(server.lines).toEqual([START, START, START, PUT]);
});

test('a session that does not start is final: there is nothing to ask for', async () => {
  const { server, repository } = await sceneOf(
    ...Array.from({ length: 6 }, (): Row => [START, { status: 503 }]),
  );
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ method: 'POST', status: 503 });
  expect(server.lines).toHaveLength(6);
});

test.each<[string, Answer]>([
  ['a 500', { status: 500 }],
  ['a 502 in HTML', { status: 502, body: '<html></html>' }],
  ['a reset', { fault: 'reset' }],
  ['a lost session', { status: 404, body: '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}' }],
])('after %s the blob is there: done', async (_, answer) => {
  const { server, repository } = await sceneOf([START, started], [PUT, answer], [HEAD, present]);
  const open = vi.fn(openerOf(blob.bytes));
  await repository.push(blob.descriptor, open);
  expect(server.lines).toEqual([START, PUT, HEAD]);
  expect(open).toHaveBeenCalledTimes(1);
});

test.each<[string, Answer]>([
  ['a 500', { status: 500 }],
  ['a reset', { fault: 'reset' }],
  ['a 408', { status: 408 }],
  ['a lost session', { status: 404, body: '404 page not found' }],
])('after %s the blob is not there: the whole upload again, with bytes opened anew', async (_, answer) => {
  const { server, repository, client } = await sceneOf(
    [START, started],
    [PUT, answer],
    [HEAD, absent],
    [START, { status: 202, headers: { location: '/second' } }],
    [`PUT /second?${QUERY}`, created],
  );
  const open = vi.fn(openerOf(blob.bytes));
  await repository.push(blob.descriptor, open);
  expect(server.lines).toEqual([START, PUT, HEAD, START, `PUT /second?${QUERY}`]);
  expect(open).toHaveBeenCalledTimes(2);
  expect(server.requests[4]?.body.equals(blob.bytes)).toBe(true);
  expect(client.pausesMs).toEqual([125]);
});

test.each<[string, Answer]>([
  ['429', { status: 429, headers: { 'retry-after': '9' } }],
  [
    '403 that means the same',
    { status: 403, headers: { 'retry-after': '9' }, body: '{"errors":[{"code":"TOOMANYREQUESTS"}]}' },
  ],
])('after a %s the pause that was asked for is kept before anything else is sent', async (_, answer) => {
  const { repository, client } = await sceneOf(
    [START, started],
    [PUT, answer],
    [HEAD, absent],
    [START, started],
    [PUT, created],
  );
  await repository.push(blob.descriptor, openerOf(blob.bytes));
  expect(client.pausesMs).toEqual([9125]);
});

test('a registry that asks for more than five minutes is not asked again', async () => {
  const { server, repository } = await sceneOf(
    [START, started],
    [PUT, { status: 429, headers: { 'retry-after': '3600' } }],
  );
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 3_600_000 });
  expect(server.lines).toEqual([START, PUT]);
});

test('gives up after three uploads with what the last one failed with', async () => {
  const rows: Row[] = [500, 502, 503].flatMap((status): Row[] => [
    [START, started],
    [PUT, { status }],
    [HEAD, absent],
  ]);
  const { server, repository } = await sceneOf(...rows);
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ method: 'PUT', status: 503 });
  expect(server.lines).toEqual([START, PUT, HEAD, START, PUT, HEAD, START, PUT]);
});

test.each<[number, string, string]>([
  [400, digestInvalid, 'DIGEST_MISMATCH'],
  [401, '', 'UNAUTHORIZED'],
  [403, '', 'DENIED'],
  [413, 'too large', 'REGISTRY_REFUSED'],
  [416, '', 'REGISTRY_REFUSED'],
])('a %i is final (%s)', async (status, body, code) => {
  const { server, repository } = await sceneOf([START, started], [PUT, { status, body }]);
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ code, status });
  expect(server.lines).toEqual([START, PUT]);
});

test('what opening the bytes fails with passes unchanged, and the upload is not repeated', async () => {
  const failures = [
    new Error('the source broke'),
    new TransportError('NETWORK', 'of the source', { method: 'GET', url: 'http://source/', attempts: 6 }),
  ];
  for (const failure of failures) {
    const { server, repository } = await sceneOf([START, started]);
    const open: OpenBytes = async function* () {
      yield await Promise.resolve(Buffer.alloc(3));
      throw failure;
    };
    expect(await rejection(repository.push(blob.descriptor, open))).toBe(failure);
    expect(server.lines).toEqual([START]);
  }
});

test('an abort of the upload rejects with the reason given and asks nothing more', async () => {
  const controller = new AbortController();
  // Looks like something that is worth another try.
  const reason = new TransportError('NETWORK', 'elsewhere', {
    method: 'GET',
    url: 'http://source/',
    attempts: 1,
  });
  const { server, repository } = await sceneOf(
    [START, started],
    [
      PUT,
      () => {
        controller.abort(reason);
        return { fault: 'silent' };
      },
    ],
  );
  const pushing = repository.push(blob.descriptor, openerOf(blob.bytes), { signal: controller.signal });
  expect(await rejection(pushing)).toBe(reason);
  expect(server.lines).toEqual([START, PUT]);
});

test('pushes of one blob at once are one upload; its failure is the failure of all', async () => {
  const { server, repository } = await sceneOf([START, started], [PUT, created], [START, { status: 403 }]);
  const push = (): Promise<void> => repository.push(blob.descriptor, openerOf(blob.bytes));
  await Promise.all([push(), push(), push()]);
  expect(server.lines).toEqual([START, PUT]);
  const outcomes = await Promise.allSettled([push(), push()]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(server.lines).toEqual([START, PUT, START]);
});

test('one who gives up an upload leaves it to the others', async () => {
  const controller = new AbortController();
  const reason = new Error('not mine any more');
  const { server, repository } = await sceneOf(
    [
      START,
      () => {
        controller.abort(reason);
        return { fault: 'silent' };
      },
    ],
    [START, started],
    [PUT, created],
  );
  const first = repository.push(blob.descriptor, openerOf(blob.bytes), { signal: controller.signal });
  const others = [1, 2].map(() => repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(await rejection(first)).toBe(reason);
  await Promise.all(others);
  expect(server.lines).toEqual([START, START, PUT]);
});

test('the state in an upload location stays out of errors', async () => {
  const { repository } = await sceneOf(
    [START, { status: 202, headers: { location: '/s?_state=secret-1&sig=secret-2' } }],
    [`PUT /s?_state=secret-1&sig=secret-2&${QUERY}`, { status: 400, body: digestInvalid }],
  );
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ code: 'DIGEST_MISMATCH' });
  expect(everythingOf(error)).not.toContain('secret');
  expect(everythingOf(error)).toContain(encodeURIComponent(digest));
});
