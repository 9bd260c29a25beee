import type { OpenedBytes } from '../../io/opened-bytes.js';

/** What the body of a response is a part of. */
export interface ContentBody {
  /** To be disposed of when the body was sent, or nobody wants it any more. */
  readonly opened: OpenedBytes;
  /** First byte, and the byte behind the last one. */
  readonly start: number;
  readonly end: number;
}

const CHUNK_BYTES = 256 * 1024;

const bodies = new WeakMap<Response, ContentBody>();

/**
 * Makes a response out of a part of opened bytes. Its body is a stream as any other; a server that knows
 * {@link contentBodyOf} sends the bytes without it, which is faster. Either way, `opened` is disposed of at the end.
 */
export function contentResponse(body: ContentBody, init: ResponseInit): Response {
  const { opened, end } = body;
  let position = body.start;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const target = new Uint8Array(Math.min(CHUNK_BYTES, end - position));
        let count = 0;
        try {
          if (target.byteLength > 0) count = await opened.read(target, position);
        } catch (error) {
          // Nobody cancels a stream that has failed.
          await opened[Symbol.asyncDispose]();
          throw error;
        }
        position += count;
        if (count > 0) controller.enqueue(target.subarray(0, count));
        if (position < end && count > 0) return;
        await opened[Symbol.asyncDispose]();
        // A file that lost its end must not look whole.
        if (position < end) controller.error(new Error('the content ends early'));
        else controller.close();
      },
      cancel: () => opened[Symbol.asyncDispose]().then(() => undefined),
    },
    { highWaterMark: 0 },
  );
  const response = new Response(stream, init);
  bodies.set(response, body);
  return response;
}

/**
 * What the body of a response is a part of, if {@link contentResponse} made it; then its stream must not be read any more.
 */
export function contentBodyOf(response: Response): ContentBody | undefined {
  return bodies.get(response);
}
