import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resumedBody, restOf, type ResumeOptions } from '#ferry/http/resume.js';
import type { HttpRequest } from '#ferry/http/send.js';
import { collect } from '#ferry/io/bytes.js';
import { rejection } from '../contracts/artifacts.js';
import { openTestClient } from '../support/http.js';
import {
  startScriptedServer,
  type Answer,
  type RecordedRequest,
  type Row,
} from '../support/scripted-server.js';

const WHOLE = Buffer.from('0123456789abcdefghij');
const SIZE = WHOLE.byteLength;

/** Starts a server with these rows for one path, and reads it to its end. */
async function read(
  rows: readonly Row[1][],
  options: Partial<ResumeOptions> = {},
  first?: Partial<HttpRequest>,
) {
  const server = await startScriptedServer(...rows.map((answer): Row => ['GET /blob', answer]));
  const client = openTestClient();
  const request: HttpRequest = { method: 'GET', url: server.url('/blob'), ...first };
  const { offset = 0 } = options;
  const body = async (): Promise<string> => {
    const answer = await client.send(restOf(request, offset));
    const source = resumedBody({
      send: client.send,
      request,
      first: answer,
      clock: client.retry,
      ...options,
    });
    return Buffer.from(await collect(source, 100_000, 'blob')).toString();
  };
  return { server, client, body, ranges: () => server.requests.map(({ headers }) => headers.range) };
}

/** Answers by the rules of RFC 9110, and breaks off after some bytes. */
function part(
  from: number,
  cut?: { readonly at: number; readonly fault: 'truncated' | 'reset-in-body' },
  whole = WHOLE,
): Answer {
  const rest = whole.subarray(from);
  const headers =
    from === 0 ? {} : { 'content-range': `bytes ${from}-${whole.byteLength - 1}/${whole.byteLength}` };
  const answer: Answer = { status: from === 0 ? 200 : 206, headers, body: rest };
  // The server sends half of what it is given.
  return cut === undefined
    ? answer
    : {
        ...answer,
        body: Buffer.concat([rest.subarray(0, cut.at), Buffer.alloc(cut.at)]),
        fault: cut.fault,
        headers: { ...headers, 'content-length': rest.byteLength },
      };
}

const rangeOf = ({ headers }: RecordedRequest): number =>
  Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);

test('a body that breaks is gone on with from the byte after the last, at its original URL', async () => {
  const { body, ranges } = await read([
    part(0, { at: 5, fault: 'truncated' }),
    part(5, { at: 7, fault: 'reset-in-body' }),
    part(12),
  ]);
  expect(await body()).toBe(WHOLE.toString());
  expect(ranges()).toEqual([undefined, 'bytes=5-', 'bytes=12-']);
});

test('broken at every cut point it gives the same bytes and the same digest, whatever the server makes of ranges', async () => {
  const whole = Buffer.from(Array.from({ length: 300 }, (_, i) => i % 251));
  const digest = createHash('sha256').update(whole).digest('hex');
  const step = fc.record({
    length: fc.integer({ min: 0, max: 200 }),
    fault: fc.constant<'truncated'>('truncated'),
    manner: fc.constantFrom(
      'range',
      'ignores range',
      'earlier range',
      'later range',
      'silent about range',
      '416',
    ),
  });
  const server = await startScriptedServer();
  const client = openTestClient();
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 5 }), async (steps) => {
      round += 1;
      const line = `GET /${round}`;
      const answer = (
        request: RecordedRequest,
        { length, fault, manner }: (typeof steps)[number],
      ): Answer => {
        const wanted = rangeOf(request);
        if (wanted === 0 || manner === 'ignores range')
          return part(0, { at: Math.min(length, 299), fault }, whole);
        if (manner === '416') return { status: 416 };
        if (manner === 'silent about range') return { ...part(wanted, undefined, whole), headers: {} };
        const from = Math.min(
          Math.max(0, wanted + { 'earlier range': -3, 'later range': 3 }[manner as string]! || wanted),
          298,
        );
        if (from === 0) return part(0, undefined, whole);
        return part(from, { at: Math.min(length, 299 - from), fault }, whole);
      };
      server.expect(
        ...steps.map((one): Row => [line, (request) => answer(request, one)]),
        ...Array.from({ length: 9 }, (): Row => [
          line,
          (request) => part(rangeOf(request), undefined, whole),
        ]),
      );
      const request: HttpRequest = { method: 'GET', url: server.url(`/${round}`) };
      const first = await client.send(request);
      const hash = createHash('sha256');
      let size = 0;
      for await (const chunk of resumedBody({
        send: client.send,
        request,
        first,
        size: 300,
        clock: client.retry,
      })) {
        hash.update(chunk);
        size += chunk.byteLength;
      }
      expect([size, hash.digest('hex')]).toEqual([300, digest]);
    }),
    { numRuns: 60 },
  );
});

test.each<[string, Row[1][], (string | undefined)[]]>([
  ['200 for a range: read from the beginning and skipped', [part(0)], [undefined, 'bytes=5-']],
  ['206 from an earlier byte: skipped up to ours', [part(2)], [undefined, 'bytes=5-']],
  [
    '206 from a later byte: asked again without a range',
    [part(8), part(0)],
    [undefined, 'bytes=5-', undefined],
  ],
  [
    '206 that does not say from where: asked again without a range',
    [{ status: 206, body: 'rubbish' }, part(0)],
    [undefined, 'bytes=5-', undefined],
  ],
  ['416: asked again without a range', [{ status: 416 }, part(0)], [undefined, 'bytes=5-', undefined]],
  ['503 on the way', [{ status: 503 }, part(5)], [undefined, 'bytes=5-', 'bytes=5-']],
])('%s', async (_, rows, ranges) => {
  const reading = await read([part(0, { at: 5, fault: 'truncated' }), ...rows], { size: SIZE });
  expect(await reading.body()).toBe(WHOLE.toString());
  expect(reading.ranges()).toEqual(ranges);
});

test('reading from an offset goes on from there, also where the server sends the whole', async () => {
  const { body } = await read([part(4, { at: 4, fault: 'truncated' }), part(8)], { offset: 4 });
  expect(await body()).toBe(WHOLE.subarray(4).toString());
  const ignorant = await read([part(0), part(0)], { offset: 4 });
  expect(await ignorant.body()).toBe(WHOLE.subarray(4).toString());
});

test('a body that ends early in good order is gone on with, and twice the same end is the end', async () => {
  const short = { body: WHOLE.subarray(0, 5) };
  const { body, ranges } = await read([short, part(5)], { size: SIZE });
  expect(await body()).toBe(WHOLE.toString());
  expect(ranges()).toEqual([undefined, 'bytes=5-']);
  // Whoever wanted more, and knows how much, says so better than we do.
  expect(await (await read([short, short], { size: SIZE })).body()).toBe('01234');
  expect(await (await read([short, { status: 416 }], { size: SIZE })).body()).toBe('01234');
  expect(await (await read([short])).body()).toBe('01234');
});

test.each([403, 404, 500])('a server that changed its mind (%i) ends it', async (status) => {
  const { body } = await read([
    part(0, { at: 5, fault: 'truncated' }),
    ...Array.from({ length: 8 }, () => ({ status })),
  ]);
  expect(await rejection(body())).toMatchObject({ status });
});

test('eight failures without a new byte end it', async () => {
  const nothing = (): Answer => ({
    ...part(5),
    body: '',
    headers: { 'content-range': 'bytes 5-19/20', 'content-length': 15 },
    fault: 'truncated',
  });
  const { body, server, client } = await read([
    part(0, { at: 5, fault: 'truncated' }),
    ...Array.from({ length: 20 }, nothing),
  ]);
  expect(await rejection(body())).toMatchObject({ code: 'NETWORK' });
  expect(server.lines).toHaveLength(8);
  // The first failure came with progress.
  expect(client.pausesMs).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000]);
});

test('a server that breaks off after every byte keeps us for a hundred requests, not for ever', async () => {
  const whole = Buffer.alloc(300, 'x');
  const drip = (request: RecordedRequest): Answer =>
    part(rangeOf(request), { at: 1, fault: 'truncated' }, whole);
  const { body, server } = await read(Array.from({ length: 300 }, () => drip));
  expect(await rejection(body())).toMatchObject({ code: 'NETWORK' });
  expect(server.lines).toHaveLength(101);
});

const tagged = (answer: Answer, etag?: string): Answer => ({
  ...answer,
  headers: { ...answer.headers, ...(etag === undefined ? {} : { etag }) },
});

test.each<[string, Answer]>([
  ['206 with the same tag', tagged(part(5), '"one"')],
  ['206 without a tag', part(5)],
  ['200 with the same tag, from a server without ranges', tagged(part(0), '"one"')],
])('content held together by an entity tag goes on with %s', async (_, answer) => {
  const { body, server } = await read([part(0, { at: 5, fault: 'truncated' }), answer], { etag: '"one"' });
  expect(await body()).toBe(WHOLE.toString());
  expect(server.requests[1]?.headers).toMatchObject({ range: 'bytes=5-', 'if-range': '"one"' });
});

test.each<[string, Answer[]]>([
  ['200 with another tag', [tagged(part(0), '"two"')]],
  ['200 without a tag', [part(0)]],
  ['206 with another tag, from a server that does not know If-Range', [tagged(part(5), '"two"')]],
  ['416, and then another tag', [{ status: 416 }, tagged(part(0), '"two"')]],
])('content held together by an entity tag is given up on %s', async (_, answers) => {
  const { body } = await read([part(0, { at: 5, fault: 'truncated' }), ...answers], { etag: '"one"' });
  const error = await rejection(body());
  expect(error).toMatchObject({ code: 'NETWORK' });
  expect(String(error)).toContain('changed while it was read');
});

test('an abort while it pauses or reads rejects with the reason given, and asks no more', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const abort = async (): Promise<void> => {
    controller.abort(reason);
    return Promise.reject(reason);
  };
  const { body, server } = await read(
    [part(0, { at: 5, fault: 'truncated' })],
    { clock: { sleep: abort } },
    { signal: controller.signal },
  );
  expect(await rejection(body())).toBe(reason);
  expect(server.lines).toHaveLength(1);
});

test('a reader that has enough closes the answer', async () => {
  const server = await startScriptedServer(
    ['GET /', { body: 'x'.repeat(1000), fault: 'stalled' }],
    ['GET /', { body: 'next' }],
  );
  const { send } = openTestClient();
  const request: HttpRequest = { method: 'GET', url: server.url('/') };
  for await (const chunk of resumedBody({ send, request, first: await send(request) })) {
    expect(chunk.byteLength).toBe(500);
    break;
  }
  expect(server.lines).toHaveLength(1);
});

test('secrets of the URL are in no error', async () => {
  const server = await startScriptedServer(
    ['GET /?sig=canary', part(0, { at: 5, fault: 'truncated' })],
    ['GET /?sig=canary', part(0)],
  );
  const { send, retry } = openTestClient();
  const request: HttpRequest = { method: 'GET', url: server.url('/?sig=canary') };
  const reading = collect(
    resumedBody({ send, request, first: await send(request), clock: retry, etag: '"x"' }),
    100,
    'blob',
  );
  const error = await rejection(reading);
  expect(JSON.stringify(error) + String(error)).not.toContain('canary');
});
