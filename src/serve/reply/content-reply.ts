/**
 * Replies to GET and HEAD: conditions, ranges, validators, and what is said when it goes wrong. What is replied with was
 * checked before; nothing here changes bytes.
 */
import { IntegrityError } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import type { Content } from '../content.js';
import { parseRange, type ByteRange } from './byte-range.js';
import type { ContentEncoding } from './choose-encoding.js';
import { contentResponse } from './content-body.js';

/** What is replied with, and what is said of it. */
export interface ContentReply {
  readonly content: Content;
  readonly mediaType: string;
  /** With its quotes. @defaultValue `entityTag` of the digest and encoding */
  readonly etag?: string | undefined;
  /** How the content is compressed, other than what the URL names. Such a form is never sent in parts. */
  readonly encoding?: ContentEncoding | undefined;
  /** Not to be changed afterwards. */
  readonly lastModified?: Date | undefined;
  /** Such as `max-age=60`. */
  readonly cacheControl?: string | undefined;
  /** More headers, for every answer but 416. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Whether the URL is answered in other encodings too. @defaultValue whether this is one */
  readonly varies?: boolean | undefined;
}

/**
 * The validator of content in one form, such as `"sha256:…"` or `"sha256:…-zstd"`: strong, since the digest is of the very
 * bytes, and each encoding has its own.
 */
export function entityTag(digest: Digest, encoding?: ContentEncoding): string {
  return encoding === undefined ? `"${digest}"` : `"${digest}-${encoding}"`;
}

/**
 * Replies with content: 200, 206 for a part of it, 304 where the client has it, 416 where it asks for bytes that are not
 * there. A HEAD opens nothing. Of the methods only GET and HEAD may come here.
 * @throws FerryError as {@link Content.open}; IntegrityError `SIZE_MISMATCH` where what is opened is of another size
 * @see RFC 9110, sections 13 and 14
 */
export async function replyWithContent(request: Request, reply: ContentReply): Promise<Response> {
  const { content, encoding } = reply;
  const { headers: asked, method } = request;
  const etag = reply.etag ?? entityTag(content.digest, encoding);
  const headers = sharedHeaders(reply, etag);
  if (isFresh(asked, etag, reply.lastModified)) return new Response(null, { status: 304, headers });

  const mayBePart = encoding === undefined && method !== 'HEAD';
  const range = mayBePart ? rangeOf(asked, reply, etag) : undefined;
  if (range === 'none') {
    const refusal = { 'content-range': `bytes */${String(content.size)}`, 'content-length': '0' };
    return new Response(null, { status: 416, headers: { ...refusal, 'cache-control': 'no-store' } });
  }
  headers['content-type'] = reply.mediaType;
  if (encoding === undefined) headers['accept-ranges'] = 'bytes';
  else headers['content-encoding'] = encoding;
  const { start, end } = range ?? { start: 0, end: content.size };
  headers['content-length'] = String(end - start);
  if (range !== undefined) {
    headers['content-range'] = `bytes ${String(start)}-${String(end - 1)}/${String(content.size)}`;
  }
  const init = { status: range === undefined ? 200 : 206, headers };
  if (method === 'HEAD') return new Response(null, init);
  if (content.bytes !== undefined) {
    return new Response(range === undefined ? content.bytes : content.bytes.subarray(start, end), init);
  }
  return openedResponse(content, { start, end }, init);
}

/** What a 304 says too. */
function sharedHeaders(reply: ContentReply, etag: string): Record<string, string> {
  const { lastModified, cacheControl, varies = reply.encoding !== undefined } = reply;
  const headers: Record<string, string> = { ...reply.headers, etag };
  if (cacheControl !== undefined) headers['cache-control'] = cacheControl;
  if (lastModified !== undefined) headers['last-modified'] = httpDate(lastModified);
  if (varies) headers['vary'] = 'accept-encoding';
  return headers;
}

// A generation's date is the same object in each reply, and to write it takes longer than all other headers.
const written = new WeakMap<Date, string>();

function httpDate(date: Date): string {
  const before = written.get(date);
  if (before !== undefined) return before;
  const text = date.toUTCString();
  written.set(date, text);
  return text;
}

async function openedResponse(content: Content, range: ByteRange, init: ResponseInit): Promise<Response> {
  const opened = await content.open();
  try {
    // A file that somebody has cut short, or written over; better said now than in the middle of the body.
    if (opened.size !== content.size) {
      throw new IntegrityError('SIZE_MISMATCH', content.digest, content.size, opened.size);
    }
    return contentResponse({ opened, ...range }, init);
  } catch (error) {
    await opened[Symbol.asyncDispose]();
    throw error;
  }
}

/** Whether the client has what it asks for. The date counts only where no tags are given. */
function isFresh(asked: Headers, etag: string, lastModified: Date | undefined): boolean {
  const known = asked.get('if-none-match');
  if (known !== null) return known === etag || matchesWeakly(known, etag);
  if (lastModified === undefined) return false;
  const since = asked.get('if-modified-since');
  // A date that cannot be read is NaN, and nothing is before that.
  return since !== null && wholeSeconds(lastModified.getTime()) <= Date.parse(since);
}

const ENTITY_TAGS = /"[^"]*"/g;

/** Whether one of the tags in the list is this one, whether they are called weak or not. `*` stands for any. */
function matchesWeakly(list: string, etag: string): boolean {
  if (list.trim() === '*') return true;
  const opaque = etag.startsWith('W/') ? etag.slice(2) : etag;
  return list.match(ENTITY_TAGS)?.includes(opaque) === true;
}

function rangeOf(asked: Headers, reply: ContentReply, etag: string): ByteRange | 'none' | undefined {
  const header = asked.get('range');
  if (header === null || !isUnchanged(asked.get('if-range'), reply, etag)) return undefined;
  return parseRange(header, reply.content.size);
}

/** Whether a part may be put together with what the client has: the same strong tag, or exactly the same date. */
function isUnchanged(ifRange: string | null, { lastModified }: ContentReply, etag: string): boolean {
  if (ifRange === null) return true;
  if (ifRange.startsWith('W/')) return false;
  if (ifRange.startsWith('"')) return ifRange === etag;
  return lastModified !== undefined && wholeSeconds(lastModified.getTime()) === Date.parse(ifRange);
}

/** Dates of HTTP have no smaller unit. */
function wholeSeconds(ms: number): number {
  return ms - (ms % 1000);
}
