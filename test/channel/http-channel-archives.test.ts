import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import { readAll, rejection } from '../contracts/artifacts.js';
import { openTestClient, type TestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type Row,
  type ScriptedServer,
} from '../support/scripted-server.js';

const archive = { subdir: 'noarch', filename: 'x-1-0.conda' };
const PATH = '/c/noarch/x-1-0.conda';
const GET = `GET ${PATH}`;
const TEXT = '0123456789';

async function sceneOf(...rows: Row[]): Promise<{
  readonly server: ScriptedServer;
  readonly channel: HttpChannel;
  readonly client: TestClient;
}> {
  const server = await startScriptedServer(...rows);
  const client = openTestClient();
  return { server, client, channel: new HttpChannel(server.url('/c'), client.send, client.retry) };
}

function rest(from: number, more: Partial<Answer> = {}): Answer {
  return {
    status: 206,
    headers: { 'content-range': `bytes ${String(from)}-9/10` },
    body: TEXT.slice(from),
    ...more,
  };
}

function rangesOf({ requests }: ScriptedServer): (string | undefined)[] {
  return requests.map(({ headers }) => headers.range);
}

describe('an archive of which a part is there', () => {
  test.each<[string, Row[], (string | undefined)[]]>([
    ['is gone on with', [[GET, rest(4)]], ['bytes=4-']],
    ['is read again where the server knows no ranges', [[GET, { body: TEXT }]], ['bytes=4-']],
    [
      'is read again where the server cannot give that range',
      [
        [GET, { status: 416 }],
        [GET, { body: TEXT }],
      ],
      ['bytes=4-', undefined],
    ],
    [
      'is gone on with after it broke off once more',
      [
        [GET, rest(4, { body: '456', headers: { 'content-range': 'bytes 4-6/10' } })],
        [GET, rest(7)],
      ],
      ['bytes=4-', 'bytes=7-'],
    ],
  ])('%s', async (_, rows, ranges) => {
    const { server, channel } = await sceneOf(...rows);
    const reading = readAll(channel.openArchive({ ...archive, size: 10 }, { offset: 4 }));
    expect((await reading).toString()).toBe('456789');
    expect(rangesOf(server)).toEqual(ranges);
  });

  test('is an error where the source has it no more', async () => {
    const { channel } = await sceneOf([GET, { status: 404 }]);
    const reading = readAll(channel.openArchive({ ...archive, size: 10 }, { offset: 4 }));
    expect(await rejection(reading)).toMatchObject({ code: 'ARCHIVE_ABSENT' });
  });
});

describe('an archive that breaks off', () => {
  test.each(['truncated', 'reset-in-body'] as const)('(%s) is gone on with', async (fault) => {
    const { server, channel } = await sceneOf([GET, { body: TEXT, fault }], [GET, rest(5)]);
    expect((await readAll(channel.openArchive({ ...archive, size: 10 }))).toString()).toBe(TEXT);
    expect(rangesOf(server)).toEqual([undefined, 'bytes=5-']);
  });

  test('is gone on with where its size is not known', async () => {
    const { channel } = await sceneOf([GET, { body: TEXT, fault: 'truncated' }], [GET, rest(5)]);
    expect((await readAll(channel.openArchive(archive))).toString()).toBe(TEXT);
  });

  test('is asked for at the channel again, not where a redirect led', async () => {
    const { server, channel } = await sceneOf(
      [GET, { status: 302, headers: { location: '/signed?expires=1' } }],
      ['GET /signed?expires=1', { body: TEXT, fault: 'truncated' }],
      [GET, { status: 302, headers: { location: '/signed?expires=2' } }],
      ['GET /signed?expires=2', rest(5)],
    );
    expect((await readAll(channel.openArchive(archive))).toString()).toBe(TEXT);
    expect(rangesOf(server)).toEqual([undefined, undefined, 'bytes=5-', 'bytes=5-']);
  });

  test.each<[string, Answer, object]>([
    ['is refused', { status: 403 }, { code: 'DENIED' }],
    ['is gone', { status: 404 }, { code: 'NOT_FOUND' }],
  ])('and then %s is an error', async (_, answer, expected) => {
    const { channel } = await sceneOf([GET, { body: TEXT, fault: 'truncated' }], [GET, answer]);
    expect(await rejection(readAll(channel.openArchive(archive)))).toMatchObject(expected);
  });

  test('is left after eight times without a new byte', async () => {
    const rows = Array.from({ length: 20 }, (): Row => [GET, { body: TEXT, fault: 'truncated' }]);
    const { server, channel } = await sceneOf(...rows);
    const error = await rejection(readAll(channel.openArchive({ ...archive, size: 10 })));
    expect(error).toMatchObject({ code: 'NETWORK' });
    expect(server.lines).toHaveLength(8);
  });

  test('an abort in between rejects with the reason given', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const { server, channel } = await sceneOf(
      [GET, { body: TEXT, fault: 'truncated' }],
      [
        GET,
        () => {
          controller.abort(reason);
          return { fault: 'silent' };
        },
      ],
    );
    const reading = readAll(channel.openArchive(archive, { signal: controller.signal }));
    expect(await rejection(reading)).toBe(reason);
    expect(server.lines).toHaveLength(2);
  });
});

describe('a record that names a larger size than the file has', () => {
  test.each<[string, Answer]>([
    ['the whole file again', { body: TEXT }],
    ['an empty rest', { status: 206, headers: { 'content-range': 'bytes 10-14/15' } }],
    ['that there is no more', { status: 416 }],
  ])('gets what there is, soon, from a server that then sends %s', async (_, answer) => {
    const { server, channel, client } = await sceneOf([GET, { body: TEXT }], [GET, answer]);
    const bytes = await readAll(channel.openArchive({ ...archive, size: 15 }));
    expect(bytes.toString()).toBe(TEXT);
    expect(rangesOf(server)).toEqual([undefined, 'bytes=10-']);
    expect(client.pausesMs).toEqual([250]);
  });
});

test('one that names a smaller size gets all bytes: whoever checks them says what is wrong', async () => {
  const { server, channel } = await sceneOf([GET, { body: TEXT }]);
  expect((await readAll(channel.openArchive({ ...archive, size: 5 }))).toString()).toBe(TEXT);
  expect(server.lines).toHaveLength(1);
});

test('a refusal is an error', async () => {
  const { channel } = await sceneOf([GET, { status: 403 }]);
  expect(await rejection(readAll(channel.openArchive(archive)))).toMatchObject({ code: 'DENIED' });
});

/** A server of one file that breaks off each answer after so many bytes, in turn; the last ones are whole. */
async function startCuttingServer(file: Buffer, cuts: readonly number[], knowsRanges: boolean): Promise<URL> {
  let requests = 0;
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
    const start = knowsRanges ? Number(range ?? 0) : 0;
    const length = file.length - start;
    const end = `bytes ${String(start)}-${String(file.length - 1)}/${String(file.length)}`;
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': length,
      ...(start > 0 ? { 'content-range': end } : {}),
    });
    const cut = cuts[requests];
    requests += 1;
    if (cut === undefined) response.end(file.subarray(start));
    else response.write(file.subarray(start, start + cut), () => request.socket.end());
  };
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return new URL(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}/c`);
}

test.each<[string, boolean, number[]]>([
  ['at its first byte', true, [1]],
  ['before its last byte', true, [299_999]],
  ['at several places', true, [1, 100_000, 65_536, 7]],
  ['six times at each byte', true, [1, 1, 1, 1, 1, 1]],
  ['at several places, where ranges are not known', false, [1, 100_000, 200_000]],
])('a large archive that is cut %s is whole', async (_, knowsRanges, cuts) => {
  const file = randomBytes(300_000);
  const base = await startCuttingServer(file, cuts, knowsRanges);
  const { send, retry } = openTestClient();
  const channel = new HttpChannel(base, send, retry);
  expect((await readAll(channel.openArchive({ ...archive, size: file.length }))).equals(file)).toBe(true);
});
