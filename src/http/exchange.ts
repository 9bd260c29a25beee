import { Readable } from 'node:stream';
import { errors, type Dispatcher } from 'undici';

/** Bytes of an answer that may wait for their reader before the server is held back. */
const MAX_WAITING_BYTES = 256 * 1024;
/** The server goes on when no more than this is left. */
const FEW_WAITING_BYTES = 64 * 1024;

/** What undici is asked to do. */
export type ExchangeOptions = Dispatcher.DispatchOptions & { readonly body: Readable | Uint8Array | null };

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

type Piece = IteratorResult<Uint8Array, undefined>;

/**
 * One request and its answer, by undici's `dispatch`: its `request` makes a stream of every answer, and for those without a
 * body that is most of what they cost. Iterates over the body, once; who leaves early breaks the connection.
 */
export class Exchange implements Dispatcher.DispatchHandler, AsyncIterableIterator<Uint8Array, undefined> {
  /** Of the answer; 0 before it begins. */
  status = 0;
  /** Of the answer, names in lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>> = {};
  readonly #options: ExchangeOptions;
  readonly #signal: AbortSignal | undefined;
  #begun: Waiting<this> | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #chunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #reader: Waiting<Piece> | undefined;
  #end: { readonly error?: unknown } | undefined;
  /** Set when nobody wants the rest: how much of it is still read, and who waits for that. */
  #rest: { bytes: number; readonly done: () => void } | undefined;

  constructor(options: ExchangeOptions, signal: AbortSignal | undefined) {
    this.#options = options;
    this.#signal = signal;
  }

  /** Sends the request; resolves to this when the answer begins. @throws what undici throws, or the signal's reason */
  async begin(dispatcher: Dispatcher): Promise<this> {
    this.#signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.#begun = { resolve, reject };
      this.#signal?.addEventListener('abort', this.#onAbort);
      dispatcher.dispatch(this.#options, this);
    });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // It may have ended while it waited for its connection.
    if (this.#end !== undefined) controller.abort(this.#reason());
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Exchange['headers']): void {
    if (status < 200) return;
    this.status = status;
    this.headers = headers;
    this.#begun?.resolve(this);
    this.#begun = undefined;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#rest !== undefined) {
      this.#rest.bytes -= chunk.byteLength;
      if (this.#rest.bytes < 0) this.#abort(new errors.RequestAbortedError());
    } else if (this.#reader !== undefined) {
      const { resolve } = this.#reader;
      this.#reader = undefined;
      resolve({ done: false, value: chunk });
    } else {
      this.#chunks.push(chunk);
      this.#waitingBytes += chunk.byteLength;
      if (this.#waitingBytes > MAX_WAITING_BYTES) controller.pause();
    }
  }

  onResponseEnd(): void {
    this.#finish({});
  }

  onResponseError(_: unknown, error: Error): void {
    this.#finish({ error });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Piece> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#waitingBytes -= chunk.byteLength;
      if (this.#waitingBytes <= FEW_WAITING_BYTES && this.#controller?.paused === true)
        this.#controller.resume();
      return Promise.resolve({ done: false, value: chunk });
    }
    return new Promise((resolve, reject) => {
      if (this.#end === undefined) this.#reader = { resolve, reject };
      else if ('error' in this.#end) reject(this.#reason());
      else resolve({ done: true, value: undefined });
    });
  }

  return(): Promise<Piece> {
    this.#chunks = [];
    this.#abort(new errors.RequestAbortedError());
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Reads and drops what is left, if it is not more than `maxBytes`; else breaks the connection. Never rejects. */
  async discard(maxBytes: number): Promise<void> {
    this.#chunks = [];
    if (this.#end !== undefined) return;
    if (Number(this.headers['content-length'] ?? 0) > maxBytes && this.#options.method !== 'HEAD') {
      this.#abort(new errors.RequestAbortedError());
      return;
    }
    await new Promise<void>((done) => {
      this.#rest = { bytes: maxBytes, done };
      if (this.#controller?.paused === true) this.#controller.resume();
    });
  }

  readonly #onAbort = (): void => {
    this.#abort(this.#signal?.reason as Error);
  };

  #abort(reason: Error): void {
    if (this.#end !== undefined) return;
    this.#finish({ error: reason });
    this.#controller?.abort(reason);
  }

  #reason(): Error {
    const error = this.#end?.error;
    return error instanceof Error ? error : new errors.RequestAbortedError();
  }

  #finish(end: { readonly error?: unknown }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const { body } = this.#options;
    if ('error' in end) {
      if (body instanceof Readable) body.on('error', () => undefined).destroy(this.#reason());
      this.#begun?.reject(end.error);
      this.#reader?.reject(end.error);
    } else this.#reader?.resolve({ done: true, value: undefined });
    this.#begun = undefined;
    this.#reader = undefined;
    this.#rest?.done();
  }
}
