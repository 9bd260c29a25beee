import { FerryError } from '../../errors.js';
import { concatBytes, type OpenBytes } from '../../io/bytes.js';

/** Reads spans of a text, mostly forwards: going back opens it anew. */
export class SpanReader implements AsyncDisposable {
  readonly #open: OpenBytes;
  readonly #signal: AbortSignal | undefined;
  #iterator: AsyncIterator<Uint8Array> | undefined;
  #chunk: Uint8Array = new Uint8Array();
  /** Offset in the text of the chunk's first byte. */
  #base = 0;

  constructor(open: OpenBytes, signal?: AbortSignal) {
    this.#open = open;
    this.#signal = signal;
  }

  /** The span, if all of it is at hand; good until the next call. */
  peek(start: number, end: number): Uint8Array | undefined {
    const isThere = start >= this.#base && end <= this.#base + this.#chunk.byteLength;
    return isThere ? this.#chunk.subarray(start - this.#base, end - this.#base) : undefined;
  }

  /** The bytes of the span in pieces. @throws FerryError `REPODATA_INVALID` if the text ends before it */
  async *pieces(start: number, end: number): AsyncGenerator<Uint8Array, void> {
    await this.#seek(start);
    for (let at = start; at < end;) {
      while (at >= this.#base + this.#chunk.byteLength) await this.#next();
      const piece = this.#chunk.subarray(at - this.#base, end - this.#base);
      at += piece.byteLength;
      yield piece;
    }
  }

  /** The bytes of the span, which is small. @throws FerryError `REPODATA_INVALID` if the text ends before it */
  async read(start: number, end: number): Promise<Uint8Array> {
    const whole = this.peek(start, end);
    if (whole !== undefined) return whole;
    const pieces: Uint8Array[] = [];
    for await (const piece of this.pieces(start, end)) pieces.push(new Uint8Array(piece));
    return concatBytes(pieces);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const iterator = this.#iterator;
    this.#iterator = undefined;
    await iterator?.return?.(undefined);
  }

  async #seek(offset: number): Promise<void> {
    if (this.#iterator !== undefined && offset >= this.#base) return;
    await this[Symbol.asyncDispose]();
    this.#iterator = this.#open({ offset, ...(this.#signal === undefined ? {} : { signal: this.#signal }) })[
      Symbol.asyncIterator
    ]();
    this.#base = offset;
    this.#chunk = new Uint8Array();
  }

  async #next(): Promise<void> {
    this.#signal?.throwIfAborted();
    const next = await this.#iterator?.next();
    if (next === undefined || next.done === true) {
      throw new FerryError('REPODATA_INVALID', 'the repodata is shorter than when it was read first');
    }
    this.#base += this.#chunk.byteLength;
    this.#chunk = next.value;
  }
}
