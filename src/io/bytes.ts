import { IntegrityError } from '../errors.js';

/** The one currency for bytes on the move; Node streams and web streams both are one. */
export type Bytes = AsyncIterable<Uint8Array>;

/** What opening may be told. */
export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  /** First byte wanted, from 0. */
  readonly offset?: number | undefined;
}

/** Opens the same bytes again and again, as retries and redirects of uploads need it. */
export type OpenBytes = (options?: OpenOptions) => Bytes;

/** Bytes that are all at hand. */
class BytesAtHand implements Bytes {
  readonly #bytes: Uint8Array;
  readonly #signal: AbortSignal | undefined;

  constructor(bytes: Uint8Array, signal: AbortSignal | undefined) {
    this.#bytes = bytes;
    this.#signal = signal;
  }

  whole(): Uint8Array {
    this.#signal?.throwIfAborted();
    return this.#bytes;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- nothing to wait for, but the type is that of all bytes
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    if (this.whole().byteLength > 0) yield this.#bytes;
  }
}

/**
 * All that an opener over bytes in memory gave, without the way through iterators, if `source` is that; else `undefined`.
 * Throws if it was aborted.
 */
export function bytesAtHand(source: Bytes): Uint8Array | undefined {
  return source instanceof BytesAtHand ? source.whole() : undefined;
}

/** Opener over bytes in memory. */
export function openerOf(bytes: Uint8Array): OpenBytes {
  return ({ signal, offset }: OpenOptions = {}) =>
    new BytesAtHand(offset === undefined ? bytes : bytes.subarray(offset), signal);
}

/**
 * Collects all bytes, refusing more than `maxBytes`. `what` names them in the error.
 * @throws IntegrityError `SIZE_EXCEEDED`
 */
export async function collect(source: Bytes, maxBytes: number, what: string): Promise<Uint8Array> {
  const whole = bytesAtHand(source);
  if (whole !== undefined && whole.byteLength <= maxBytes) return whole;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size > maxBytes) throw new IntegrityError('SIZE_EXCEEDED', what, maxBytes, size);
    chunks.push(chunk);
  }
  const only = chunks[0];
  return chunks.length === 1 && only !== undefined ? only : concatBytes(chunks);
}

/** What {@link noteFailure} found: nothing, or the error. */
export interface NotedFailure {
  error?: unknown;
}

/** Passes the bytes on and notes what they themselves fail with, to tell it from a failure of whoever takes them. */
export async function* noteFailure(open: () => Bytes, failure: NotedFailure): Bytes {
  try {
    for await (const chunk of open()) yield chunk;
  } catch (error) {
    failure.error = error;
    throw error;
  }
}

/** Leaves out the first `count` bytes. */
export async function* skipBytes(source: Bytes, count: number): Bytes {
  let left = count;
  for await (const chunk of source) {
    if (left < chunk.byteLength) yield left === 0 ? chunk : chunk.subarray(left);
    left = Math.max(0, left - chunk.byteLength);
  }
}

/** Joins chunks into one array. */
export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(chunks);
}
