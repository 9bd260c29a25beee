import type { Digest } from '../../io/digest.js';
import { openedMemory } from '../../io/opened-memory.js';
import type { Content } from '../content.js';

/** Content that is held in memory; its bytes were checked. */
export function memoryContent(digest: Digest, bytes: Uint8Array): Content {
  return { digest, size: bytes.byteLength, bytes, open: () => Promise.resolve(openedMemory(bytes)) };
}

/** The small contents last used, up to so many bytes in all. */
export class MemoryContents {
  readonly #maxBytes: number;
  /** Least recently used first. */
  readonly #contents = new Map<Digest, Uint8Array>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** In bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  get(digest: Digest): Uint8Array | undefined {
    const bytes = this.#contents.get(digest);
    if (bytes === undefined) return undefined;
    this.#contents.delete(digest);
    this.#contents.set(digest, bytes);
    return bytes;
  }

  /** Keeps bytes that were checked, in place of others; what is larger than the whole is not kept. */
  set(digest: Digest, bytes: Uint8Array): void {
    this.#remove(digest);
    if (bytes.byteLength > this.#maxBytes) return;
    this.#contents.set(digest, bytes);
    this.#bytes += bytes.byteLength;
    for (const oldest of this.#contents.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#remove(oldest);
    }
  }

  #remove(digest: Digest): void {
    this.#bytes -= this.#contents.get(digest)?.byteLength ?? 0;
    this.#contents.delete(digest);
  }
}
