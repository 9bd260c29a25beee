import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

/** From here on a thread, which takes 50 ms to start, is worth it: md5 alone takes 1.3 s for a GiB. */
const MIN_THREAD_BYTES = 64 * 1024 * 1024;
/** What goes to the thread at once. */
const BUFFER_BYTES = 1024 * 1024;
const BUFFERS = 4;

/** What conda knows an archive by, in lower-case hex. */
export interface Sums {
  readonly sha256: string;
  readonly md5: string;
}

/** Sums up bytes as they arrive. Disposing ends it, finished or not. */
export interface Summer extends AsyncDisposable {
  /** Takes the next bytes; where it returns a promise, no more may come, nor may they change, before that is kept. */
  update(chunk: Uint8Array): Promise<void> | undefined;
  /** The sums of all. */
  finish(): Promise<Sums>;
}

let threads = 0;

/**
 * Sums up about so many bytes: many of them in a thread of their own, as long as there are processors for that, so that the
 * thread that moves them does nothing else.
 */
export function openSummer(expectedBytes: number): Summer {
  const isFree = threads < availableParallelism();
  return expectedBytes >= MIN_THREAD_BYTES && isFree ? new ThreadSummer() : summerHere();
}

function summerHere(): Summer {
  const hashes = { sha256: createHash('sha256'), md5: createHash('md5') };
  return {
    update: (chunk) => {
      hashes.sha256.update(chunk);
      hashes.md5.update(chunk);
      return undefined;
    },
    finish: () => Promise.resolve({ sha256: hashes.sha256.digest('hex'), md5: hashes.md5.digest('hex') }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

interface Answer {
  readonly buffer?: ArrayBuffer;
  readonly sums?: Sums;
}

class ThreadSummer implements Summer {
  readonly #worker = new Worker(new URL('./sums-worker.js', import.meta.url));
  /** Buffers that are here; the others are on their way. */
  readonly #free = Array.from({ length: BUFFERS }, () => new ArrayBuffer(BUFFER_BYTES));
  /** How much of the first one is full. */
  #filled = 0;
  #failure: { readonly error: unknown } | undefined;
  #sums: Sums | undefined;
  #wake: (() => void) | undefined;

  constructor() {
    threads += 1;
    this.#worker.on('message', ({ buffer, sums }: Answer) => {
      if (buffer !== undefined) this.#free.push(buffer);
      this.#sums ??= sums;
      this.#notify();
    });
    this.#worker.on('error', (error) => {
      this.#failure ??= { error };
      this.#notify();
    });
  }

  update(chunk: Uint8Array): Promise<void> | undefined {
    let rest = chunk;
    for (;;) {
      const [buffer] = this.#free;
      if (buffer === undefined || this.#failure !== undefined) return this.#updateLater(rest);
      const part = rest.subarray(0, BUFFER_BYTES - this.#filled);
      new Uint8Array(buffer).set(part, this.#filled);
      this.#filled += part.byteLength;
      rest = rest.subarray(part.byteLength);
      if (this.#filled < BUFFER_BYTES) return undefined;
      this.#send();
      if (rest.byteLength === 0) return undefined;
    }
  }

  async finish(): Promise<Sums> {
    if (this.#filled > 0) this.#send();
    this.#worker.postMessage({ bytes: 0 });
    while (this.#sums === undefined) await this.#news();
    return this.#sums;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    threads -= 1;
    await this.#worker.terminate();
  }

  async #updateLater(rest: Uint8Array): Promise<void> {
    await this.#news();
    await this.update(rest);
  }

  #send(): void {
    const buffer = this.#free.shift();
    if (buffer !== undefined) this.#worker.postMessage({ buffer, bytes: this.#filled }, [buffer]);
    this.#filled = 0;
  }

  async #news(): Promise<void> {
    if (this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
