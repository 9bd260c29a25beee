import { WorkerPool } from '../artifact/worker-pool.js';
import { decompressZstd } from '../io/zstd.js';

/** Up to here the start of a thread takes longer than the work: these bytes expand to 64 MiB at most. */
const MAX_INLINE_BYTES = 256 * 1024;

/** Expands zstd: large input in a thread, which starts with the first. */
export class Expander implements AsyncDisposable {
  #workers: WorkerPool | undefined;

  /** @throws FerryError `REPODATA_INVALID` where the bytes are damaged; IntegrityError `SIZE_EXCEEDED` */
  async expand(
    input: { readonly bytes: Uint8Array; readonly maxBytes: number; readonly what: string },
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const { bytes, maxBytes, what } = input;
    if (bytes.byteLength <= MAX_INLINE_BYTES) return decompressZstd(bytes, maxBytes, what);
    this.#workers ??= new WorkerPool(1);
    return this.#workers.run('decompress', input, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#workers?.[Symbol.asyncDispose]();
  }
}
