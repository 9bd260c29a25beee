import { TransportError } from '../errors.js';
import { skipBytes, type Bytes } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';
import { clockOf, type ClockOptions } from './clock.js';
import { responseError } from './response-error.js';
import { pauseBeforeRetry } from './retry.js';
import type { HttpRequest, HttpResponse, Send } from './send.js';

/** Failures in a row without a single new byte. */
const MAX_STALLS = 8;
/** Failures in all: a server that breaks off after every piece shall not keep us for ever. */
const MAX_RESUMES = 100;

/** What {@link resumedBody} needs. */
export interface ResumeOptions {
  readonly send: Send;
  /** The GET that was answered, without `range`; sent again to its original URL, since signed ones expire. */
  readonly request: HttpRequest;
  /** Its answer: 200, or 206 from `offset`. */
  readonly first: HttpResponse;
  /** First byte wanted. @defaultValue 0 */
  readonly offset?: number | undefined;
  /** Bytes of the whole, where known: an answer that ends early in good order is gone on with, too. */
  readonly size?: number | undefined;
  /**
   * An entity tag that the rest must still have, for content that no digest holds together.
   * @defaultValue none: the reader checks the whole
   */
  readonly etag?: string | undefined;
  readonly clock?: ClockOptions | undefined;
}

/**
 * The body of an answer, gone on with by `Range` where a connection breaks, from the byte after the last. So a reader
 * sees one stream, and a hash over it needs no new start. A server that ignores the range is read from its beginning
 * and skipped.
 * @throws TransportError after eight failures without progress; ResponseError where the server changed its mind
 * @see RFC 9110, section 14
 */
export async function* resumedBody(options: ResumeOptions): Bytes {
  const { send, request, size } = options;
  const clock = clockOf(options.clock ?? {});
  let position = options.offset ?? 0;
  let response: HttpResponse = options.first;
  let stalls = 0;
  let usesRange = true;
  let endedEarly = false;
  for (let resumes = 0; ; resumes += 1) {
    const before = position;
    try {
      const start = startOf(response);
      if (start > position) {
        await response.discard();
        usesRange = false;
        throw brokenOff(request, `the answer to a range began at byte ${String(start)}`);
      }
      const rest = start === position ? response.body : skipBytes(response.body, position - start);
      for await (const chunk of rest) {
        position += chunk.byteLength;
        yield chunk;
      }
      if (size === undefined || position >= size) return;
      // Twice the same end in good order is the end.
      if (endedEarly && position === before) return;
      endedEarly = true;
      throw brokenOff(request, `the answer ended at byte ${String(position)} of ${String(size)}`);
    } catch (error) {
      request.signal?.throwIfAborted();
      if (!(error instanceof TransportError)) throw error;
      stalls = position > before ? 1 : stalls + 1;
      if (stalls >= MAX_STALLS || resumes >= MAX_RESUMES) throw error;
      await pauseBeforeRetry(stalls, undefined, request.signal, clock);
      response = await send(restOf(request, usesRange ? position : 0, options.etag));
      if (response.status === 416) {
        await response.discard();
        if (endedEarly) return;
        usesRange = false;
        response = await send(request);
      }
      if (response.status !== 200 && response.status !== 206) throw await responseError(request, response);
      if (position > 0 && isChanged(response, options.etag)) {
        await response.discard();
        throw brokenOff(request, 'what it gives changed while it was read');
      }
    }
  }
}

/**
 * A server may not know ranges and send the same whole again, or not know `If-Range` and send a part of another: its
 * entity tag tells.
 */
function isChanged(response: HttpResponse, etag: string | undefined): boolean {
  if (etag === undefined) return false;
  const now = response.header('etag');
  return now === undefined ? response.status === 200 : now !== etag;
}

/** Adds a range to a request. */
export function restOf(request: HttpRequest, position: number, etag?: string): HttpRequest {
  if (position === 0) return request;
  const range = { range: `bytes=${String(position)}-` };
  const condition = etag === undefined ? {} : { 'if-range': etag };
  return { ...request, headers: { ...request.headers, ...range, ...condition } };
}

/** First byte of an answer; a partial one that does not say is none that can be used. Shape: `bytes 5-9/10`. */
function startOf(response: HttpResponse): number {
  if (response.status !== 206) return 0;
  const start = /^bytes (\d+)-/.exec(response.header('content-range') ?? '')?.[1];
  return start === undefined ? Infinity : Number(start);
}

function brokenOff(request: HttpRequest, why: string): TransportError {
  const url = redactUrl(request.url);
  return new TransportError('NETWORK', `${request.method} ${url}: ${why}`, {
    method: request.method,
    url,
    attempts: 1,
  });
}
