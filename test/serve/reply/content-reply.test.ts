import { describe, expect, test } from 'vitest';
import { digestOf } from '#ferry/io/digest.js';
import type { Content } from '#ferry/serve/content.js';
import { contentBodyOf } from '#ferry/serve/reply/content-body.js';
import { entityTag, replyWithContent, type ContentReply } from '#ferry/serve/reply/content-reply.js';
import { memoryContent } from '#ferry/serve/cache/memory-contents.js';
import { rejection } from '../../contracts/artifacts.js';

const BYTES = Buffer.from('0123456789');
const DIGEST = digestOf(BYTES);
const MODIFIED = new Date('2026-03-01T12:00:00.500Z');

/** Content that is not held in memory, and counts who has it open. */
class OpenedContent implements Content {
  readonly digest = DIGEST;
  readonly size = BYTES.byteLength;
  readonly #actualSize: number;
  opened = 0;
  closed = 0;

  constructor(actualSize = BYTES.byteLength) {
    this.#actualSize = actualSize;
  }

  async open(): ReturnType<Content['open']> {
    this.opened += 1;
    const inner = await memoryContent(DIGEST, BYTES.subarray(0, this.#actualSize)).open();
    return {
      size: this.#actualSize,
      read: (...args) => inner.read(...args),
      [Symbol.asyncDispose]: async () => {
        this.closed += 1;
        return Promise.resolve();
      },
    };
  }
}

function ask(headers: Record<string, string> = {}, method = 'GET'): Request {
  return new Request('http://here/file', { method, headers });
}

async function reply(request: Request, more: Partial<ContentReply> = {}): Promise<Response> {
  return replyWithContent(request, {
    content: memoryContent(DIGEST, BYTES),
    mediaType: 'text/plain',
    ...more,
  });
}

describe.each([
  ['in memory', () => memoryContent(DIGEST, BYTES)],
  ['to be opened', () => new OpenedContent()],
] as const)('content %s', (_, make) => {
  test('is sent whole, with all that is known of it', async () => {
    const response = await reply(ask(), {
      content: make(),
      lastModified: MODIFIED,
      cacheControl: 'max-age=60',
      headers: { 'x-more': 'yes' },
    });
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toEqual({
      'accept-ranges': 'bytes',
      'cache-control': 'max-age=60',
      'content-length': '10',
      'content-type': 'text/plain',
      etag: `"${DIGEST}"`,
      'last-modified': 'Sun, 01 Mar 2026 12:00:00 GMT',
      'x-more': 'yes',
    });
    expect(await response.text()).toBe('0123456789');
  });

  test.each([
    ['bytes=2-4', 'bytes 2-4/10', '234'],
    ['bytes=7-', 'bytes 7-9/10', '789'],
    ['bytes=-2', 'bytes 8-9/10', '89'],
    ['bytes=-20', 'bytes 0-9/10', '0123456789'],
  ])('is sent in parts: %s', async (range, contentRange, text) => {
    const response = await reply(ask({ range }), { content: make() });
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe(contentRange);
    expect(response.headers.get('content-length')).toBe(String(text.length));
    expect(response.headers.get('etag')).toBe(`"${DIGEST}"`);
    expect(await response.text()).toBe(text);
  });
});

test('a HEAD has the headers of a GET, opens nothing, and knows no parts', async () => {
  const content = new OpenedContent();
  const got = await reply(ask(), { content });
  await got.text();
  const headed = await reply(ask({ range: 'bytes=2-4' }, 'HEAD'), { content });
  expect(headed.status).toBe(200);
  expect(headed.body).toBeNull();
  expect(Object.fromEntries(headed.headers)).toEqual(Object.fromEntries(got.headers));
  expect([content.opened, content.closed]).toEqual([1, 1]);
});

test('nothing is opened for who has it, or asks for bytes that are not there', async () => {
  const content = new OpenedContent();
  expect((await reply(ask({ 'if-none-match': `"${DIGEST}"` }), { content })).status).toBe(304);
  expect((await reply(ask({ range: 'bytes=10-' }), { content })).status).toBe(416);
  expect(content.opened).toBe(0);
});

test('what is opened can be sent past the stream, and is closed by who does', async () => {
  const content = new OpenedContent();
  const body = contentBodyOf(await reply(ask({ range: 'bytes=2-4' }), { content }));
  expect(body).toMatchObject({ start: 2, end: 5 });
  expect(content.closed).toBe(0);
  await body?.opened[Symbol.asyncDispose]();
});

test('what turns out to be of another size is not begun', async () => {
  const content = new OpenedContent(4);
  expect(await rejection(reply(ask(), { content }))).toMatchObject({ code: 'SIZE_MISMATCH' });
  expect(content.closed).toBe(1);
});

test('headers that cannot be sent leave nothing open', async () => {
  const content = new OpenedContent();
  await rejection(reply(ask(), { content, mediaType: 'a\r\nb: c' }));
  expect(content.closed).toBe(content.opened);
});

test('bytes that are not there are refused with the size', async () => {
  const response = await reply(ask({ range: 'bytes=10-' }), { cacheControl: 'max-age=60' });
  expect(response.status).toBe(416);
  expect(response.headers.get('content-range')).toBe('bytes */10');
  expect(response.headers.get('cache-control')).toBe('no-store');
  expect(await response.text()).toBe('');
});

test.each(['bytes=0-1,4-5', 'bytes=4-2', 'lines=1-2', 'nonsense'])('%s gets the whole', async (range) => {
  const response = await reply(ask({ range }));
  expect(response.status).toBe(200);
  expect(await response.text()).toBe('0123456789');
});

test('nothing at all is sent as such', async () => {
  const content = memoryContent(digestOf(Buffer.alloc(0)), Buffer.alloc(0));
  expect((await reply(ask(), { content })).headers.get('content-length')).toBe('0');
  expect((await reply(ask({ range: 'bytes=-5' }), { content })).status).toBe(200);
  expect((await reply(ask({ range: 'bytes=0-' }), { content })).status).toBe(416);
});

describe('a compressed form', () => {
  test('has its own tag, says so, and is never sent in parts', async () => {
    const response = await reply(ask({ range: 'bytes=2-4' }), { encoding: 'zstd' });
    expect(response.status).toBe(200);
    expect(response.headers.get('etag')).toBe(`"${DIGEST}-zstd"`);
    expect(response.headers.get('content-encoding')).toBe('zstd');
    expect(response.headers.get('vary')).toBe('accept-encoding');
    expect(response.headers.has('accept-ranges')).toBe(false);
    expect(await response.text()).toBe('0123456789');
  });

  test('is not what a client has that has the plain one', async () => {
    const tags = [entityTag(DIGEST), entityTag(DIGEST, 'gzip'), entityTag(DIGEST, 'zstd')];
    expect(new Set(tags).size).toBe(3);
    expect((await reply(ask({ 'if-none-match': tags[0] ?? '' }), { encoding: 'gzip' })).status).toBe(200);
    expect((await reply(ask({ 'if-none-match': tags[1] ?? '' }), { encoding: 'gzip' })).status).toBe(304);
  });

  test('of the plain form says that there are others', async () => {
    expect((await reply(ask(), { varies: true })).headers.get('vary')).toBe('accept-encoding');
    expect((await reply(ask())).headers.has('vary')).toBe(false);
  });
});

describe('a client that has it', () => {
  const tag = `"${DIGEST}"`;

  test.each([tag, `W/${tag}`, '*', ` * `, `"other", ${tag}`, `"other",W/${tag}`, `"a,b" , ${tag} ,"c"`])(
    'is told so: If-None-Match %s',
    async (list) => {
      const more = { lastModified: MODIFIED, cacheControl: 'max-age=60', varies: true };
      const response = await reply(ask({ 'if-none-match': list }), more);
      expect(response.status).toBe(304);
      expect(Object.fromEntries(response.headers)).toEqual({
        'cache-control': 'max-age=60',
        etag: tag,
        'last-modified': 'Sun, 01 Mar 2026 12:00:00 GMT',
        vary: 'accept-encoding',
      });
      expect(await response.text()).toBe('');
    },
  );

  test.each(['"other"', DIGEST, `"${DIGEST}-zstd"`, '""', '"', `"${DIGEST}`])(
    'but not this one is sent it: If-None-Match %s',
    async (list) => {
      // The date would say that it is unchanged, and does not count beside tags.
      const asked = { 'if-none-match': list, 'if-modified-since': 'Mon, 02 Mar 2026 12:00:00 GMT' };
      expect((await reply(ask(asked), { lastModified: MODIFIED })).status).toBe(200);
    },
  );

  test.each([
    ['Sun, 01 Mar 2026 12:00:00 GMT', 304],
    ['Mon, 02 Mar 2026 12:00:00 GMT', 304],
    ['Sun, 01 Mar 2026 11:59:59 GMT', 200],
    ['yesterday', 200],
  ])('may have only a date: %s is %i', async (date, status) => {
    const response = await reply(ask({ 'if-modified-since': date }), { lastModified: MODIFIED });
    expect(response.status).toBe(status);
  });

  test('may have a weak tag of ours', async () => {
    expect((await reply(ask({ 'if-none-match': '"x"' }), { etag: 'W/"x"' })).status).toBe(304);
  });
});

test.each([
  [`"${DIGEST}"`, 206],
  [`W/"${DIGEST}"`, 200],
  ['"other"', 200],
  ['Sun, 01 Mar 2026 12:00:00 GMT', 206],
  ['Sun, 01 Mar 2026 12:00:01 GMT', 200],
  ['nonsense', 200],
])('a part goes to who has the rest of the same: If-Range %s is %i', async (ifRange, status) => {
  const response = await reply(ask({ range: 'bytes=2-4', 'if-range': ifRange }), { lastModified: MODIFIED });
  expect(response.status).toBe(status);
});
