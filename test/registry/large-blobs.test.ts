import { describe, expect, test } from 'vitest';
import { contentOf, inChunks, rejection } from '../contracts/artifacts.js';
import type { Answer } from '../support/scripted-server.js';
import { absent, created, sceneWith, START, started, times, type Scene } from './upload-scene.js';

const PATCH = 'PATCH /session';
const STATUS = 'GET /session';
const MIB = 1024 * 1024;

/** Where a session says it is. */
function at(end: number, location = '/session'): Answer {
  return { status: 204, headers: { location, range: `0-${String(end)}` } };
}

function rangesOf({ server }: Scene): (string | undefined)[] {
  return server.requests
    .filter(({ line }) => line.startsWith('PATCH'))
    .map(({ headers }) => headers['content-range']);
}

describe('a large blob that was to go in one body', () => {
  const large = contentOf(Buffer.alloc(9 * MIB, 'large'));
  const put = `PUT /session?digest=${encodeURIComponent(large.descriptor.digest)}`;
  const head = `HEAD /v2/a/b/blobs/${large.descriptor.digest}`;
  const linesOf = ({ server }: Scene): string[] => server.lines.map((line) => line.split(/[ ?]/)[0] ?? '');

  test('goes in chunks after two lost connections', async () => {
    const scene = await sceneWith(
      { singlePost: 'no' },
      ...times(3, START, started),
      ...times(2, put, { fault: 'reset' }),
      ...times(2, head, absent),
      ...times(3, PATCH, { status: 202 }),
      [put, created],
    );
    await scene.repository.push(large.descriptor, inChunks(large.bytes));
    const lines = ['POST', 'PUT', 'HEAD', 'POST', 'PUT', 'HEAD', 'POST', 'PATCH', 'PATCH', 'PATCH', 'PUT'];
    expect(linesOf(scene)).toEqual(lines);
  });

  test.each([400, 404, 405, 416, 500])(
    'and goes in one body again where chunks turn out to be refused (%i)',
    async (status) => {
      const scene = await sceneWith(
        { singlePost: 'no' },
        ...times(4, START, started),
        ...times(2, put, { fault: 'reset' }),
        ...times(2, head, absent),
        ...times(5, PATCH, { status }),
        [put, created],
      );
      await scene.repository.push(large.descriptor, inChunks(large.bytes));
      expect(scene.server.requests.at(-1)?.body.equals(large.bytes)).toBe(true);
    },
  );

  test('and was refused in chunks stays in one body', async () => {
    const scene = await sceneWith(
      { singlePost: 'no' },
      ...times(5, START, started),
      ...times(3, put, { fault: 'reset' }),
      ...times(3, head, absent),
      [PATCH, { status: 405 }],
      [put, created],
    );
    await scene.repository.push(large.descriptor, inChunks(large.bytes));
    expect(linesOf(scene).filter((line) => line === 'PATCH')).toHaveLength(1);
    expect(linesOf(scene).filter((line) => line === 'PUT')).toHaveLength(4);
  });

  test.each([401, 403])('is not sent whole again where a chunk meets a %i', async (status) => {
    const scene = await sceneWith(
      { singlePost: 'no' },
      ...times(4, START, started),
      ...times(2, put, { fault: 'reset' }),
      ...times(2, head, absent),
      [PATCH, { status }],
    );
    const error = await rejection(scene.repository.push(large.descriptor, inChunks(large.bytes)));
    expect(error).toMatchObject({ status, method: 'PATCH' });
  });

  test('goes in chunks at once after a 413', async () => {
    const scene = await sceneWith(
      { singlePost: 'no' },
      ...times(2, START, started),
      [put, { status: 413 }],
      ...times(3, PATCH, { status: 202 }),
      [put, created],
    );
    await scene.repository.push(large.descriptor, inChunks(large.bytes));
    expect(linesOf(scene)).toEqual(['POST', 'PUT', 'DELETE', 'POST', 'PATCH', 'PATCH', 'PATCH', 'PUT']);
    expect(scene.client.pausesMs).toEqual([]);
  });

  test('does not, at a registry that takes no chunks', async () => {
    const scene = await sceneWith(
      { singlePost: 'no', chunked: false, maxBodyBytes: MIB },
      [START, started],
      [put, { status: 413 }],
    );
    const error = await rejection(scene.repository.push(large.descriptor, inChunks(large.bytes)));
    expect(error).toMatchObject({ status: 413 });
    expect(linesOf(scene)).toEqual(['POST', 'PUT', 'DELETE']);
  });

  test('fails in the end where even small chunks are too large', async () => {
    const scene = await sceneWith(
      { singlePost: 'no' },
      ...times(2, START, started),
      [put, { status: 413 }],
      ...times(20, PATCH, { status: 413 }),
      ...times(20, STATUS, at(0)),
    );
    const error = await rejection(scene.repository.push(large.descriptor, inChunks(large.bytes)));
    expect(error).toMatchObject({ status: 413, method: 'PATCH' });
    expect(rangesOf(scene)).toEqual(
      [4 * MIB, 2 * MIB, MIB, MIB / 2, MIB / 4].map((size) => `0-${String(size - 1)}`),
    );
    expect(linesOf(scene).at(-1)).toBe('DELETE');
  });
});
