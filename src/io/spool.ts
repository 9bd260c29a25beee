import { open, rm, type FileHandle } from 'node:fs/promises';
import { translateDiskError, writeFully } from './atomic-file.js';
import { concatBytes, type Bytes, type OpenBytes, type OpenOptions } from './bytes.js';
import type { TempFolder } from './temp-folder.js';

/** Bytes up to this many stay in memory, more go to a temporary file. 2 MiB times the usual 16 transfers is little. */
const MAX_MEMORY_BYTES = 2 * 1024 * 1024;

/** In memory, smaller pieces are joined up to this size, so that readers find their place in few of them. */
const JOIN_BYTES = 16 * 1024;

const READ_CHUNK_BYTES = 256 * 1024;

/** Options of {@link Spool}. */
export interface SpoolOptions {
  readonly temp: TempFolder;
  /** @defaultValue 2 MiB */
  readonly maxMemoryBytes?: number;
}

/** Where the bytes of a finished spool lie. */
export type SpooledBytes = { readonly bytes: Uint8Array } | { readonly path: string };

/**
 * Keeps bytes that arrive once so that they can be read many times, also while they still arrive: readers
 * follow the writer and end with it, or fail with it. Memory is bounded, whatever the size.
 */
export class Spool implements AsyncDisposable {
  readonly #temp: TempFolder;
  readonly #maxMemoryBytes: number;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #file: { readonly handle: FileHandle; readonly path: string } | undefined;
  #end: { readonly error?: unknown } | undefined;
  #disposed = false;
  #wake: (() => void)[] = [];

  constructor(options: SpoolOptions) {
    this.#temp = options.temp;
    this.#maxMemoryBytes = options.maxMemoryBytes ?? MAX_MEMORY_BYTES;
  }

  /** Bytes that have arrived. */
  get size(): number {
    return this.#size;
  }

  /** Takes all of `source`; its failure is thrown here and at every reader. @throws FerryError `DISK_FULL` */
  async fill(source: Bytes): Promise<void> {
    try {
      for await (const chunk of source) await this.#append(chunk);
      this.#finish({});
    } catch (error) {
      const reason = translateDiskError(error, this.#file?.path ?? this.#temp.path);
      this.#finish({ error: reason });
      throw reason;
    }
  }

  /** Reads from `offset` on, waiting for what has not arrived yet. */
  readonly open: OpenBytes = async function* (this: Spool, options: OpenOptions = {}) {
    let position = options.offset ?? 0;
    for (;;) {
      options.signal?.throwIfAborted();
      if (this.#disposed) throw new Error('spool was disposed of while it was read');
      if (position < this.#size) {
        const chunk = await this.#readAt(position);
        position += chunk.byteLength;
        yield chunk;
      } else if (this.#end === undefined) {
        await this.#change(options.signal);
      } else {
        if ('error' in this.#end) throw this.#end.error;
        return;
      }
    }
  }.bind(this);

  /** The finished bytes. Call after {@link fill} has ended well. */
  contents(): SpooledBytes {
    return this.#file === undefined ? { bytes: concatBytes(this.#chunks) } : { path: this.#file.path };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#chunks = [];
    this.#notify();
    if (this.#file !== undefined) {
      await this.#file.handle.close();
      await rm(this.#file.path, { force: true });
    }
  }

  async #append(chunk: Uint8Array): Promise<void> {
    if (this.#disposed) throw new Error('spool was disposed of while it was filled');
    if (this.#file === undefined && this.#size + chunk.byteLength > this.#maxMemoryBytes) {
      this.#file = await this.#moveToFile();
      this.#chunks = [];
    }
    if (this.#file === undefined) this.#keep(chunk);
    else await writeFully(this.#file.handle, chunk, this.#size);
    this.#size += chunk.byteLength;
    this.#notify();
  }

  #keep(chunk: Uint8Array): void {
    const last = this.#chunks.at(-1);
    if (last === undefined || last.byteLength + chunk.byteLength > JOIN_BYTES) this.#chunks.push(chunk);
    else this.#chunks[this.#chunks.length - 1] = concatBytes([last, chunk]);
  }

  async #moveToFile(): Promise<{ readonly handle: FileHandle; readonly path: string }> {
    const path = this.#temp.newPath();
    const handle = await open(path, 'wx+', 0o600);
    try {
      for (const kept of this.#chunks) await writeFully(handle, kept);
      if (this.#disposed) throw new Error('spool was disposed of while it was filled');
      return { handle, path };
    } catch (error) {
      await handle.close();
      await rm(path, { force: true });
      throw error;
    }
  }

  async #readAt(position: number): Promise<Uint8Array> {
    if (this.#file === undefined) {
      let start = 0;
      for (const chunk of this.#chunks) {
        if (position < start + chunk.byteLength) return chunk.subarray(position - start);
        start += chunk.byteLength;
      }
      throw new RangeError(`position ${String(position)} is behind the spool's end`);
    }
    const wanted = Math.min(READ_CHUNK_BYTES, this.#size - position);
    const { bytesRead, buffer } = await this.#file.handle.read(
      Buffer.allocUnsafe(wanted),
      0,
      wanted,
      position,
    );
    if (bytesRead === 0) throw new Error('somebody cut the file of a spool');
    return buffer.subarray(0, bytesRead);
  }

  #finish(end: { readonly error?: unknown }): void {
    this.#end = end;
    this.#notify();
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }

  async #change(signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#wake.push(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}
