import type { ServerResponse } from 'node:http';
import { contentBodyOf, type ContentBody } from '../reply/content-body.js';
import type { BufferPool } from './buffer-pool.js';
import { MAX_HOT_BODY_BYTES } from './hot-answers.js';

/** An answer on its way to a client. */
export interface Delivery {
  readonly outgoing: ServerResponse;
  readonly buffers: BufferPool;
  /** Bytes of the body that were given to the connection. */
  bytes: number;
  /** Whether we wait for the client to take something. */
  isWaiting: boolean;
}

/** An answer that was sent from memory, as it could be sent again. */
export interface SentAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Buffer | undefined;
}

/** How fast a client takes a buffer to be given a large one next, in milliseconds. */
const FAST_MS = 250;

// These have no body, whatever their headers say.
const BODILESS = new Set([204, 304]);

/**
 * Sends a response, the body without the detour of a stream where {@link contentBodyOf} knows it. What was opened for it is
 * disposed of at the end, also where the client goes away, which is no error.
 * @returns the answer, if it was small enough to be in memory
 * @throws whatever the body's source throws; nothing was sent then if `outgoing.headersSent` is false
 */
export async function sendResponse(delivery: Delivery, response: Response): Promise<SentAnswer | undefined> {
  const { outgoing } = delivery;
  const body = contentBodyOf(response);
  const isHead = outgoing.req.method === 'HEAD';
  if (body !== undefined) {
    try {
      const length = body.end - body.start;
      const headers = headersOf(response, length);
      if (isHead || BODILESS.has(response.status)) return sendWhole(delivery, response.status, headers);
      if (length <= MAX_HOT_BODY_BYTES) {
        const bytes = Buffer.allocUnsafeSlow(length);
        await readFully(body, bytes, body.start);
        return sendWhole(delivery, response.status, headers, bytes);
      }
      outgoing.writeHead(response.status, headers);
      await pumpContent(delivery, body);
      return undefined;
    } finally {
      await body.opened[Symbol.asyncDispose]();
    }
  }
  const stream = response.body;
  if (stream === null) {
    return sendWhole(delivery, response.status, headersOf(response, isHead ? undefined : 0));
  }
  if (isHead || BODILESS.has(response.status)) {
    await stream.cancel();
    return sendWhole(delivery, response.status, headersOf(response, undefined));
  }
  return sendStream(delivery, response, stream.getReader());
}

/**
 * Names and values in a row, with what every answer carries.
 * @param length the body's, where that is known for sure; then it wins over what the headers say
 */
function headersOf(response: Response, length: number | undefined): string[] {
  const headers: string[] = [];
  const isBodiless = BODILESS.has(response.status);
  for (const [name, value] of response.headers) {
    if (name === 'x-content-type-options' || name === 'connection' || name === 'transfer-encoding') continue;
    if (name === 'content-length' && length !== undefined) continue;
    headers.push(name, value);
  }
  if (length !== undefined && !isBodiless) headers.push('content-length', String(length));
  headers.push('x-content-type-options', 'nosniff');
  return headers;
}

function sendWhole(
  delivery: Delivery,
  status: number,
  headers: readonly string[],
  body?: Buffer,
): SentAnswer {
  const { outgoing } = delivery;
  outgoing.writeHead(status, headers as string[]);
  delivery.isWaiting = true;
  if (body === undefined) outgoing.end();
  else outgoing.end(body);
  delivery.bytes += body?.byteLength ?? 0;
  return { status, headers, body };
}

async function readFully(body: ContentBody, target: Buffer, position: number): Promise<void> {
  let filled = 0;
  while (filled < target.byteLength) {
    const count = await body.opened.read(filled === 0 ? target : target.subarray(filled), position + filled);
    // A file that lost its end must not look whole.
    if (count === 0) throw new Error('the content ends early');
    filled += count;
  }
}

async function pumpContent(delivery: Delivery, body: ContentBody): Promise<void> {
  const { outgoing, buffers } = delivery;
  let position = body.start;
  let isSlow = false;
  while (position < body.end && !outgoing.destroyed) {
    const buffer = buffers.lend(isSlow);
    let isOurs = true;
    try {
      const wanted = Math.min(buffer.byteLength, body.end - position);
      const chunk = wanted === buffer.byteLength ? buffer : buffer.subarray(0, wanted);
      await readFully(body, chunk, position);
      position += wanted;
      const started = performance.now();
      // Windows may read a buffer still when its connection is gone.
      isOurs = await write(delivery, chunk);
      isSlow = performance.now() - started > FAST_MS;
    } finally {
      if (isOurs) buffers.giveBack(buffer);
      else buffers.forget(buffer);
    }
  }
  if (!outgoing.destroyed) outgoing.end();
}

/** Gives bytes to the connection. @returns whether they were taken: else the client has gone */
function write(delivery: Delivery, chunk: Uint8Array): Promise<boolean> {
  const { outgoing } = delivery;
  if (outgoing.destroyed) return Promise.resolve(false);
  delivery.isWaiting = true;
  return new Promise((resolve) => {
    const settle = (isTaken: boolean): void => {
      outgoing.off('close', onClose);
      delivery.isWaiting = false;
      if (isTaken) delivery.bytes += chunk.byteLength;
      resolve(isTaken);
    };
    const onClose = (): void => {
      settle(false);
    };
    outgoing.on('close', onClose);
    outgoing.write(chunk, (error) => {
      settle(error === null || error === undefined);
    });
  });
}

/**
 * Sends a stream, whole if it is short and its bytes are there: most answers of handlers are such. Otherwise it is sent
 * as it comes.
 */
async function sendStream(
  delivery: Delivery,
  response: Response,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<SentAnswer | undefined> {
  const { outgoing } = delivery;
  const onClose = (): void => {
    // Whatever it says: nobody wants it any more.
    reader.cancel().catch(() => undefined);
  };
  outgoing.once('close', onClose);
  try {
    const declared = declaredLength(response);
    const first = await readShort(reader);
    if (first.isDone) {
      const body = Buffer.concat(first.chunks);
      checkLength(body.byteLength, declared, true);
      return sendWhole(delivery, response.status, headersOf(response, body.byteLength), body);
    }
    const firstBytes = first.chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    checkLength(firstBytes, declared, false);
    outgoing.writeHead(response.status, headersOf(response, undefined));
    for (const chunk of first.chunks) await write(delivery, chunk);
    for (let next = await first.next; !next.done; next = await reader.read()) {
      checkLength(delivery.bytes + next.value.byteLength, declared, false);
      if (!(await write(delivery, next.value))) return undefined;
    }
    checkLength(delivery.bytes, declared, true);
    if (!outgoing.destroyed) outgoing.end();
    return undefined;
  } catch (error) {
    // Cancelled above; then its end is no failure.
    if (outgoing.destroyed) return undefined;
    throw error;
  } finally {
    outgoing.off('close', onClose);
    // Where it is not at its end, whoever makes it may stop.
    onClose();
  }
}

function declaredLength(response: Response): number | undefined {
  const declared = response.headers.get('content-length');
  return declared === null ? undefined : Number(declared);
}

/** Too few bytes must not look whole; one too many would be taken for the beginning of the next answer. */
function checkLength(length: number, declared: number | undefined, isEnd: boolean): void {
  if (declared === undefined) return;
  if (length > declared) throw new Error('the content is longer than its headers say');
  if (isEnd && length < declared) throw new Error('the content ends early');
}

type Read = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']>>;

type ShortRead =
  | { readonly isDone: true; readonly chunks: readonly Uint8Array[] }
  | { readonly isDone: false; readonly chunks: readonly Uint8Array[]; readonly next: Promise<Read> };

async function readShort(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<ShortRead> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const next = readNext(reader);
    // The first chunk is waited for in any case; those behind it may be long in coming.
    const result = chunks.length === 0 ? await next : await Promise.race([next, afterThisTurn()]);
    if (result === undefined) return { isDone: false, chunks, next };
    if (result.done) return { isDone: true, chunks };
    chunks.push(result.value);
    length += result.value.byteLength;
    if (length > MAX_HOT_BODY_BYTES) return { isDone: false, chunks, next: readNext(reader) };
  }
}

/** Nobody may be waiting any more when it fails, which must not end the process. */
function readNext(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Read> {
  const next = reader.read();
  next.catch(() => undefined);
  return next;
}

function afterThisTurn(): Promise<undefined> {
  return new Promise((resolve) => {
    setImmediate(() => {
      resolve(undefined);
    });
  });
}
