import { describe, expect, test, vi } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { contentOf, inChunks, rejection } from '../contracts/artifacts.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';
import {
  absent,
  blob,
  created,
  digestInvalid,
  HEAD,
  PUT,
  QUERY,
  sceneWith,
  START,
  started,
  times,
  type Scene,
} from './upload-scene.js';

const { bytes, descriptor } = blob;
const PATCH = 'PATCH /session';
const STATUS = 'GET /session';
const MIB = 1024 * 1024;

/** A registry that is known to take 8 bytes at once: the blob of 19 goes in three chunks. */
async function chunkedScene(...rows: Row[]): Promise<Scene> {
  return sceneWith({ singlePost: 'no', maxBodyBytes: 8 }, ...rows);
}

/** Where a session says it is. */
function at(end: number, location = '/session'): Answer {
  return { status: 204, headers: { location, range: `0-${String(end)}` } };
}

function rangesOf({ server }: Scene): (string | undefined)[] {
  return server.requests
    .filter(({ line }) => line.startsWith('PATCH'))
    .map(({ headers }) => headers['content-range']);
}

test('chunks go in order, each to the place that was named last, then an empty PUT', async () => {
  const patched = (location: string): Answer => ({ status: 202, headers: { location, range: '0-7' } });
  const scene = await chunkedScene(
    [START, { status: 202, headers: { location: '/up/0?x=1#part' } }],
    ['PATCH /up/0?x=1', patched('1?_state=a%2Fb')],
    ['PATCH /up/1?_state=a%2Fb', patched('/elsewhere')],
    ['PATCH /elsewhere', { status: 202 }],
    [`PUT /elsewhere?${QUERY}`, created],
  );
  const { server, repository } = scene;
  const open = vi.fn(inChunks(bytes));
  await repository.push(descriptor, open);
  expect(server.lines).toEqual([
    START,
    'PATCH /up/0?x=1',
    'PATCH /up/1?_state=a%2Fb',
    'PATCH /elsewhere',
    `PUT /elsewhere?${QUERY}`,
  ]);
  expect(rangesOf(scene)).toEqual(['0-7', '8-15', '16-18']);
  const [, first, , last, put] = server.requests;
  expect(first?.headers).toMatchObject({ 'content-type': 'application/octet-stream', 'content-length': '8' });
  expect(last?.headers).toMatchObject({ 'content-length': '3' });
  expect(put?.headers).toMatchObject({ 'content-length': '0' });
  expect(put?.headers).not.toHaveProperty('content-range');
  const sent = server.requests.filter(({ line }) => line.startsWith('PATCH')).map(({ body }) => body);
  expect(Buffer.concat(sent).equals(bytes)).toBe(true);
  expect(open).toHaveBeenCalledTimes(1);
});

test.each([
  [16, ['0-7', '8-15']],
  [17, ['0-7', '8-15', '16-16']],
  [9, ['0-7', '8-8']],
])('%i bytes in chunks of 8', async (size, ranges) => {
  const content = contentOf(bytes.subarray(0, size));
  const put = `PUT /session?digest=${encodeURIComponent(content.descriptor.digest)}`;
  const scene = await chunkedScene([START, started], ...times(3, PATCH, { status: 202 }), [put, created]);
  await scene.repository.push(content.descriptor, openerOf(content.bytes));
  expect(rangesOf(scene)).toEqual(ranges);
});

test('ECR says 201 of every chunk, with a Range that stays at the first: our own count goes on', async () => {
  const ecr: Answer = { status: 201, headers: { location: '/session', range: '0-7' } };
  const scene = await chunkedScene([START, started], ...times(3, PATCH, ecr), [PUT, created]);
  await scene.repository.push(descriptor, openerOf(bytes));
  expect(scene.server.lines).toEqual([START, PATCH, PATCH, PATCH, PUT]);
  expect(rangesOf(scene)).toEqual(['0-7', '8-15', '16-18']);
});

describe('the smallest chunk that a registry takes', () => {
  const content = contentOf(Buffer.alloc(11 * MIB, 'content'));
  const put = `PUT /session?digest=${encodeURIComponent(content.descriptor.digest)}`;

  async function rangesWith(minimum: string): Promise<(string | undefined)[]> {
    const scene = await sceneWith(
      { singlePost: 'no', maxBodyBytes: 4 * MIB },
      [START, { status: 202, headers: { location: '/session', 'oci-chunk-min-length': minimum } }],
      ...times(9, PATCH, { status: 202 }),
      [put, created],
    );
    await scene.repository.push(content.descriptor, inChunks(content.bytes));
    return rangesOf(scene);
  }

  test('is kept, also above what we would send by ourselves', async () => {
    expect(await rangesWith(String(5 * MIB))).toEqual([
      `0-${String(5 * MIB - 1)}`,
      `${String(5 * MIB)}-${String(10 * MIB - 1)}`,
      `${String(10 * MIB)}-${String(11 * MIB - 1)}`,
    ]);
  });

  test('is not kept where it would not fit into memory', async () => {
    const huge = contentOf(Buffer.alloc(65 * MIB));
    const scene = await sceneWith(
      { singlePost: 'no', maxBodyBytes: 4 * MIB },
      [START, { status: 202, headers: { location: '/session', 'oci-chunk-min-length': '1000000000000' } }],
      ...times(2, PATCH, { status: 202 }),
      [`PUT /session?digest=${encodeURIComponent(huge.descriptor.digest)}`, created],
    );
    await scene.repository.push(huge.descriptor, openerOf(huge.bytes));
    expect(rangesOf(scene)[0]).toBe(`0-${String(64 * MIB - 1)}`);
  });

  test.each(['', '0', '-5', 'x', '1e400', '0.5'])('is nothing where it is %j', async (minimum) => {
    expect(await rangesWith(minimum)).toHaveLength(3);
  });
});

describe('after a failure', () => {
  test.each<[string, Answer]>([
    ['a lost connection', { fault: 'reset' }],
    ['a 500', { status: 500 }],
    ['a 408', { status: 408 }],
    ['a 416', { status: 416 }],
  ])('of a chunk (%s) the session is asked, and goes on behind what it holds', async (_, answer) => {
    const scene = await chunkedScene(
      [START, started],
      [PATCH, { status: 202 }],
      [PATCH, answer],
      [STATUS, at(10, '/moved')],
      ...times(2, 'PATCH /moved', { status: 202 }),
      [`PUT /moved?${QUERY}`, created],
    );
    const open = vi.fn(openerOf(bytes));
    await scene.repository.push(descriptor, open);
    expect(rangesOf(scene)).toEqual(['0-7', '8-15', '11-18']);
    expect(scene.server.requests[4]?.body.equals(bytes.subarray(11))).toBe(true);
    expect(open.mock.calls.map(([options]) => options?.offset)).toEqual([0, 11]);
    expect(scene.client.pausesMs).toEqual([250]);
  });

  test('of the answer to the last chunk nothing is sent again', async () => {
    const scene = await chunkedScene(
      [START, started],
      ...times(2, PATCH, { status: 202 }),
      [PATCH, { fault: 'reset' }],
      [STATUS, at(18)],
      [PUT, created],
    );
    await scene.repository.push(descriptor, openerOf(bytes));
    expect(scene.server.lines).toEqual([START, PATCH, PATCH, PATCH, STATUS, PUT]);
  });

  test('of the first chunk, a session that holds nothing says so as if it held one byte', async () => {
    const scene = await chunkedScene(
      [START, started],
      [PATCH, { fault: 'reset' }],
      [STATUS, at(0)],
      ...times(3, PATCH, { status: 202 }),
      [PUT, created],
    );
    await scene.repository.push(descriptor, openerOf(bytes));
    expect(rangesOf(scene)).toEqual(['0-7', '0-7', '8-15', '16-18']);
  });

  test('of the second byte, `0-0` is the first, which was confirmed', async () => {
    const content = contentOf(bytes.subarray(0, 3));
    const scene = await sceneWith(
      { singlePost: 'no', maxBodyBytes: 1 },
      [START, started],
      [PATCH, { status: 202 }],
      [PATCH, { fault: 'reset' }],
      [STATUS, at(0)],
      ...times(2, PATCH, { status: 202 }),
      [`PUT /session?digest=${encodeURIComponent(content.descriptor.digest)}`, created],
    );
    await scene.repository.push(content.descriptor, openerOf(content.bytes));
    expect(rangesOf(scene)).toEqual(['0-0', '1-1', '1-1', '2-2']);
  });

  test.each<[string, Answer]>([
    ['is gone', { status: 404 }],
    ['does not say how far it came', { status: 204 }],
    ['says it in words', { status: 204, headers: { range: 'bytes 0-7/19' } }],
    ['answers something else', { status: 200, headers: { range: '0-7' } }],
    ['denies what it confirmed (ECR)', at(5)],
    ['claims what was not sent', at(16)],
  ])('a session that %s is left, and the whole upload begins again', async (_, answer) => {
    const scene = await chunkedScene(
      [START, started],
      [PATCH, { status: 202 }],
      [PATCH, { fault: 'reset' }],
      [STATUS, answer],
      [HEAD, absent],
      [START, { status: 202, headers: { location: '/second' } }],
      ...times(3, 'PATCH /second', { status: 202 }),
      [`PUT /second?${QUERY}`, created],
    );
    await scene.repository.push(descriptor, openerOf(bytes));
    expect(rangesOf(scene)).toEqual(['0-7', '8-15', '0-7', '8-15', '16-18']);
    expect(scene.server.lines.slice(3, 6)).toEqual([STATUS, HEAD, START]);
  });

  test('that comes back five times without a new byte, the whole upload begins again', async () => {
    const scene = await chunkedScene(
      [START, started],
      ...times(5, PATCH, { status: 503 }),
      ...times(4, STATUS, at(0)),
      [HEAD, absent],
      [START, { status: 202, headers: { location: '/second' } }],
      ...times(3, 'PATCH /second', { status: 202 }),
      [`PUT /second?${QUERY}`, created],
    );
    await scene.repository.push(descriptor, openerOf(bytes));
    expect(scene.server.lines.filter((line) => line === PATCH)).toHaveLength(5);
    expect(scene.server.lines.filter((line) => line === START)).toHaveLength(2);
  });

  test('of every chunk, the upload still gets on: only failures in a row count', async () => {
    const content = contentOf(Buffer.alloc(80, 'content'));
    const put = `PUT /session?digest=${encodeURIComponent(content.descriptor.digest)}`;
    const rows = Array.from({ length: 10 }, (_, index): Row[] => [
      [PATCH, { status: 502 }],
      [STATUS, at(Math.max(0, index * 8 - 1))],
      [PATCH, { status: 202 }],
    ]).flat();
    const scene = await chunkedScene([START, started], ...rows, [put, created]);
    await scene.repository.push(content.descriptor, openerOf(content.bytes));
    expect(scene.server.lines.filter((line) => line === PATCH)).toHaveLength(20);
    expect(scene.server.lines.filter((line) => line === START)).toHaveLength(1);
  });

  test('that the digest betrays after the session was mended, the whole upload begins again', async () => {
    const scene = await chunkedScene(
      [START, started],
      [PATCH, { fault: 'reset' }],
      [STATUS, at(3)],
      ...times(2, PATCH, { status: 202 }),
      [PUT, { status: 400, body: digestInvalid }],
      [HEAD, absent],
      [START, started],
      ...times(3, PATCH, { status: 202 }),
      [PUT, created],
    );
    await scene.repository.push(descriptor, openerOf(bytes));
    expect(scene.server.lines.filter((line) => line === START)).toHaveLength(2);
  });

  test('a wrong digest without any is final', async () => {
    const scene = await chunkedScene(
      [START, started],
      ...times(3, PATCH, { status: 202, headers: { location: '/session' } }),
      [PUT, { status: 400, body: digestInvalid }],
    );
    const error = await rejection(scene.repository.push(descriptor, openerOf(bytes)));
    expect(error).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(scene.server.lines.at(-1)).toBe('DELETE /session');
  });

  test.each([400, 401, 403, 405, 415])(
    'a chunk refused (%i) is final; the latest place is given up',
    async (status) => {
      const scene = await chunkedScene(
        [START, started],
        [PATCH, { status: 202, headers: { location: '/second' } }],
        ['PATCH /second', { status }],
      );
      const error = await rejection(scene.repository.push(descriptor, openerOf(bytes)));
      expect(error).toMatchObject({ status, method: 'PATCH' });
      expect(scene.server.lines).toEqual([START, PATCH, 'PATCH /second', 'DELETE /second']);
    },
  );
});

test('a session on another host gets the chunks, the question and no credentials', async () => {
  const challenge: Answer = { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
  const scene = await chunkedScene([START, challenge]);
  const other = await startScriptedServer(
    [PATCH, { fault: 'reset' }],
    [STATUS, at(0)],
    ...times(3, PATCH, { status: 202 }),
    [PUT, created],
  );
  scene.server.expect([START, { status: 202, headers: { location: `${other.origin}/session` } }]);
  await scene.repository.push(descriptor, openerOf(bytes));
  expect(other.lines).toEqual([PATCH, STATUS, PATCH, PATCH, PATCH, PUT]);
  for (const { headers } of other.requests) expect(headers).not.toHaveProperty('authorization');
});
