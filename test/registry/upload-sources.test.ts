import { appendFile, truncate, writeFile } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { TransportError } from '#ferry/errors.js';
import { openerOf, type OpenBytes } from '#ferry/io/bytes.js';
import type { UploadManners } from '#ferry/registry/upload-session.js';
import { contentOf, rejection } from '../contracts/artifacts.js';
import { startScriptedServer, type Answer, type Row } from '../support/scripted-server.js';
import { tempFolder } from '../support/temp.js';
import {
  ABANDON,
  absent,
  blob,
  created,
  PUT,
  sceneOf,
  sceneWith,
  SINGLE,
  START,
  started,
  times,
} from './upload-scene.js';

const ways: [string, Partial<UploadManners>, string[]][] = [
  ['with the first request', { singlePost: 'yes' }, []],
  ['in one body', { singlePost: 'no' }, [START, ABANDON]],
  ['in chunks', { singlePost: 'no', maxBodyBytes: 8 }, [START, ABANDON]],
];

describe.each(ways)('a blob that goes %s', (_, uploads, lines) => {
  test.each<[string, Error]>([
    ['an error', new Error('the source broke')],
    [
      'what looks like a broken connection',
      new TransportError('NETWORK', 'of the source', { method: 'GET', url: 'http://source/', attempts: 6 }),
    ],
  ])('ends with %s of its source, unchanged, and is not repeated', async (_kind, failure) => {
    const { server, repository, client } = await sceneWith(uploads, [START, started]);
    const open = vi.fn<OpenBytes>(async function* () {
      yield await Promise.resolve(Buffer.alloc(3));
      throw failure;
    });
    expect(await rejection(repository.push(blob.descriptor, open))).toBe(failure);
    expect(server.lines).toEqual(lines);
    expect(open).toHaveBeenCalledTimes(1);
    expect(client.pausesMs).toEqual([]);
  });

  test.each<[string, Uint8Array, string]>([
    ['few', blob.bytes.subarray(1), 'SIZE_MISMATCH'],
    ['many', Buffer.concat([blob.bytes, Buffer.from('x')]), 'SIZE_EXCEEDED'],
  ])('and has too %s bytes is not stored: its file changed', async (_kind, bytes, code) => {
    const { server, repository } = await sceneWith(uploads, [START, started], ...everyPatch());
    const open = vi.fn(openerOf(bytes));
    expect(await rejection(repository.push(blob.descriptor, open))).toMatchObject({ code });
    expect(server.lines.filter((line) => !line.startsWith('PATCH'))).toEqual(lines);
    expect(open).toHaveBeenCalledTimes(1);
  });

  test('is given up with the reason of an abort, and its session too', async () => {
    const controller = new AbortController();
    // Looks like something that is worth another try.
    const reason = new TransportError('NETWORK', 'elsewhere', {
      method: 'GET',
      url: 'http://source/',
      attempts: 1,
    });
    const hang = (): Answer => {
      controller.abort(reason);
      return { fault: 'silent' };
    };
    const { server, repository, client } = await sceneWith(
      uploads,
      [START, started],
      [PUT, hang],
      ['PATCH /session', hang],
      [SINGLE, hang],
      [ABANDON, { status: 204 }],
    );
    const pushing = repository.push(blob.descriptor, openerOf(blob.bytes), { signal: controller.signal });
    expect(await rejection(pushing)).toBe(reason);
    expect(server.lines.filter((line) => !/^P(?:UT|ATCH)|\?/.test(line))).toEqual(lines);
    expect(client.pausesMs).toEqual([]);
  });

  test('is given up with the reason of an abort, whatever its source makes of that', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const { repository } = await sceneWith(uploads, [START, started], [ABANDON, { status: 204 }]);
    const open: OpenBytes = async function* () {
      yield await Promise.resolve(Buffer.alloc(3));
      controller.abort(reason);
      throw new Error('the file was closed');
    };
    const pushing = repository.push(blob.descriptor, open, { signal: controller.signal });
    expect(await rejection(pushing)).toBe(reason);
  });
});

function everyPatch(): Row[] {
  return times(3, 'PATCH /session', { status: 202 });
}

test('a session that cannot be given up changes nothing of what is told', async () => {
  for (const answer of [{ status: 500 }, { status: 404 }, { fault: 'reset' }] satisfies Answer[]) {
    const { server, repository } = await sceneOf([START, started], [PUT, { status: 403 }], [ABANDON, answer]);
    const error = await rejection(repository.push(blob.descriptor, openerOf(blob.bytes)));
    expect(error).toMatchObject({ code: 'DENIED', method: 'PUT' });
    expect(server.lines).toEqual([START, PUT, ABANDON]);
  }
});

test('a token that runs out between POST and PUT is renewed, and the bytes are opened anew', async () => {
  const query = 'service=s&scope=repository%3Aa%2Fb%3Apull%2Cpush';
  const token = (name: string): Answer => ({ body: JSON.stringify({ token: name, expires_in: 300 }) });
  const tokens = await startScriptedServer(
    [`GET /token?${query}`, token('first')],
    [`GET /token?${query}`, token('second')],
  );
  const challenge: Answer = {
    status: 401,
    headers: { 'www-authenticate': `Bearer realm="${tokens.origin}/token",service="s"` },
  };
  const { server, repository } = await sceneOf(
    [START, challenge],
    [START, started],
    [PUT, challenge],
    [PUT, created],
  );
  const open = vi.fn(openerOf(blob.bytes));
  await repository.push(blob.descriptor, open);
  expect(server.lines).toEqual([START, START, PUT, PUT]);
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    'Bearer first',
    'Bearer first',
    'Bearer second',
  ]);
  expect(server.requests[3]?.body.equals(blob.bytes)).toBe(true);
  expect(open).toHaveBeenCalledTimes(2);
});

describe('a large file', () => {
  const large = contentOf(Buffer.alloc(12 * 1024 * 1024 - 100, 'large'));
  const put = `PUT /session?digest=${encodeURIComponent(large.descriptor.digest)}`;
  const head = `HEAD /v2/a/b/blobs/${large.descriptor.digest}`;

  async function fileOf(): Promise<{ path: string; open: OpenBytes }> {
    const path = join(await tempFolder(), 'large');
    await writeFile(path, large.bytes);
    return { path, open: ({ offset = 0 } = {}) => createReadStream(path, { start: offset }) };
  }

  test.each<[string, (path: string) => Promise<void>, string]>([
    ['shorter', (path) => truncate(path, 11 * 1024 * 1024), 'SIZE_MISMATCH'],
    ['longer', (path) => appendFile(path, 'more'), 'SIZE_EXCEEDED'],
  ])('that got %s is not stored; the session is given up', async (_, change, code) => {
    const { server, repository } = await sceneOf([START, started], [put, created]);
    const { path, open } = await fileOf();
    const opened = vi.fn<OpenBytes>(open);
    await change(path);
    expect(await rejection(repository.push(large.descriptor, opened))).toMatchObject({ code });
    expect(server.lines).toEqual([START, ABANDON]);
    expect(opened).toHaveBeenCalledTimes(1);
  });

  test('to a server that asks who it is before it has read it is sent again', async () => {
    const challenge = { 'www-authenticate': 'Basic realm="x"' };
    const { server, repository } = await sceneOf(
      [START, started],
      [put, { status: 401, headers: challenge, fault: 'early' }],
      [put, created],
      // Where the answer got lost on the way.
      [head, absent],
      [START, started],
    );
    const { open } = await fileOf();
    await repository.push(large.descriptor, open);
    const stored = server.requests.filter(({ line, body }) => line === put && body.length > 0);
    expect(stored).toHaveLength(1);
    expect(stored[0]?.body.equals(large.bytes)).toBe(true);
  });
});
