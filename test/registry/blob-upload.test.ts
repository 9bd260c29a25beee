import { expect, test, vi } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { everythingOf } from '../support/http.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';
import {
  ABANDON,
  absent,
  blob,
  created,
  digestInvalid,
  HEAD,
  present,
  PUT,
  QUERY,
  sceneOf,
  sceneWith,
  START,
  started,
  times,
} from './upload-scene.js';

const { digest, size } = blob.descriptor;

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

test('a session that once was elsewhere gets no credentials, even back at the registry', async () => {
  const challenge: Answer = { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
  const { server, repository } = await sceneWith({ maxBodyBytes: 10 }, [START, challenge]);
  const other = await startScriptedServer([
    'PATCH /elsewhere',
    { status: 202, headers: { location: `${server.origin}/v2/a/b/manifests/1` } },
  ]);
  server.expect(
    [START, { status: 202, headers: { location: `${other.origin}/elsewhere` } }],
    ['PATCH /v2/a/b/manifests/1', { status: 403 }],
  );
  expect(await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)))).toMatchObject({
    code: 'DENIED',
  });
  expect(server.lines).toEqual([START, START, 'PATCH /v2/a/b/manifests/1', 'DELETE /v2/a/b/manifests/1']);
  expect(server.requests.map(({ headers }) => headers.authorization !== undefined)).toEqual([
    false,
    true,
    false,
    false,
  ]);
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

test.each([
  [503, 8],
  [404, 1],
  [403, 1],
  [413, 1],
  [201, 1],
])('a session that does not start (%i) is final: there is nothing to ask for', async (status, requests) => {
  const { server, repository } = await sceneOf(...times(8, START, { status }));
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ method: 'POST', status });
  expect(server.lines).toEqual(times(requests, START, {}).map(([line]) => line));
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

test.each<[string, Answer, number[]]>([
  ['a 500', { status: 500 }, [250]],
  ['a reset', { fault: 'reset' }, [250]],
  ['a 408', { status: 408 }, [250]],
  ['a lost session', { status: 404, body: '404 page not found' }, []],
])(
  'after %s the blob is not there: the whole upload again, with bytes opened anew',
  async (_, answer, pausesMs) => {
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
    expect(client.pausesMs).toEqual(pausesMs);
  },
);

test.each<[string, Answer]>([
  ['429', { status: 429, headers: { 'retry-after': '9' } }],
  [
    '403 that means the same',
    { status: 403, headers: { 'retry-after': '9' }, body: '{"errors":[{"code":"TOOMANYREQUESTS"}]}' },
  ],
])(
  'a %s to the PUT did nothing, so it is repeated, after the pause that was asked for',
  async (_, answer) => {
    const { server, repository, client } = await sceneOf([START, started], [PUT, answer], [PUT, created]);
    await repository.push(blob.descriptor, openerOf(blob.bytes));
    expect(server.lines).toEqual([START, PUT, PUT]);
    expect(server.requests[2]?.body.equals(blob.bytes)).toBe(true);
    const pausedMs = client.pausesMs.reduce((sum, ms) => sum + ms, 0);
    expect(pausedMs).toBeGreaterThan(8500);
  },
);

test('a registry that asks for more than five minutes is not asked again', async () => {
  const { server, repository } = await sceneOf(
    [START, started],
    [PUT, { status: 429, headers: { 'retry-after': '3600' } }],
  );
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 3_600_000 });
  expect(server.lines).toEqual([START, PUT]);
});

test('gives up after eight uploads with what the last one failed with, and leaves no session', async () => {
  const rows: Row[] = [500, 502, 503, 504, 500, 502, 503, 504].flatMap((status): Row[] => [
    [START, started],
    [PUT, { status }],
    [HEAD, absent],
  ]);
  const { server, repository } = await sceneOf(...rows);
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ method: 'PUT', status: 504 });
  const rounds = Array.from({ length: 7 }, () => [START, PUT, HEAD]).flat();
  expect(server.lines).toEqual([...rounds, START, PUT, ABANDON]);
});

test('a slow commit: the PUT is lost, and a second one of its session would find nothing (ghcr/G11)', async () => {
  const { server, repository } = await sceneOf(
    [START, started],
    [PUT, { fault: 'reset' }],
    [HEAD, absent],
    [START, started],
    [PUT, absent],
    [HEAD, present],
  );
  const open = vi.fn(openerOf(blob.bytes));
  await repository.push(blob.descriptor, open);
  expect(server.lines).toEqual([START, PUT, HEAD, START, PUT, HEAD]);
  expect(open).toHaveBeenCalledTimes(2);
});

test('the wrong size at the place of the blob is told, not sent over', async () => {
  const { server, repository } = await sceneOf(
    [START, started],
    [PUT, { status: 500 }],
    [HEAD, { headers: { 'content-length': size + 1 } }],
  );
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ code: 'SIZE_MISMATCH' });
  expect(server.lines).toEqual([START, PUT, HEAD]);
});

test.each<[number, string, string]>([
  [400, digestInvalid, 'DIGEST_MISMATCH'],
  [401, '', 'UNAUTHORIZED'],
  [403, '', 'DENIED'],
  [415, '', 'REGISTRY_REFUSED'],
])('a %i is final and leaves no session', async (status, body, code) => {
  const { server, repository } = await sceneOf([START, started], [PUT, { status, body }]);
  const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
  expect(error).toMatchObject({ code, status });
  expect(server.lines).toEqual([START, PUT, ABANDON]);
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
