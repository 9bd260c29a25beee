import type { Digest } from '../../io/digest.js';

/** A blob that the cache has on disk. */
export interface CacheEntry {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** How many have it open. */
  readers: number;
  /** Until then it stays although nobody has it open: those it was fetched for are about to. */
  heldUntilMs: number;
  /** Whether its bytes were right when they were last looked at in this process. */
  isChecked: boolean;
  /** When its file was last marked as used. */
  touchedAtMs: number;
}

/**
 * What a cache holds, in the order of use, and what has to go. It only counts: the files are the caller's. What is read,
 * pinned or held stays, though the bound be passed; what is larger than the whole bound never drives others out.
 */
export class CacheEntries {
  readonly #maxBytes: number;
  /** Least recently used first. */
  readonly #entries = new Map<Digest, CacheEntry>();
  readonly #oversized = new Set<CacheEntry>();
  readonly #pins = new Map<Digest, number>();
  #bytes = 0;
  #oversizedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** In bytes, of all. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#entries.size;
  }

  /** Whether something should go, now or as soon as it can. */
  get isOver(): boolean {
    return this.#oversized.size > 0 || this.#bytes - this.#oversizedBytes > this.#maxBytes;
  }

  get(digest: Digest): CacheEntry | undefined {
    return this.#entries.get(digest);
  }

  all(): CacheEntry[] {
    return [...this.#entries.values()];
  }

  /** Takes in a blob as the one last used, in place of what was known of it. */
  add(digest: Digest, size: number, state: Partial<CacheEntry> = {}): CacheEntry {
    const known = this.#entries.get(digest);
    if (known !== undefined) this.remove(known);
    const entry: CacheEntry = {
      readers: 0,
      heldUntilMs: -Infinity,
      isChecked: false,
      touchedAtMs: -Infinity,
      ...state,
      digest,
      size,
    };
    this.#entries.set(digest, entry);
    this.#bytes += size;
    if (size > this.#maxBytes) {
      this.#oversized.add(entry);
      this.#oversizedBytes += size;
    }
    return entry;
  }

  /** Notes that it was used just now. */
  use(entry: CacheEntry): void {
    if (this.#entries.get(entry.digest) !== entry) return;
    this.#entries.delete(entry.digest);
    this.#entries.set(entry.digest, entry);
  }

  /** Forgets an entry, unless it was forgotten or replaced before. */
  remove(entry: CacheEntry): boolean {
    if (this.#entries.get(entry.digest) !== entry) return false;
    this.#entries.delete(entry.digest);
    this.#bytes -= entry.size;
    if (this.#oversized.delete(entry)) this.#oversizedBytes -= entry.size;
    return true;
  }

  /** Keeps a blob, there or not, until what is returned is disposed of as often as this was called. */
  pin(digest: Digest): Disposable {
    this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        const left = (this.#pins.get(digest) ?? 1) - 1;
        if (left === 0) this.#pins.delete(digest);
        else this.#pins.set(digest, left);
      },
    };
  }

  /** Forgets what has to go to keep the bound, least recently used first. */
  takeExcess(nowMs: number): CacheEntry[] {
    const taken = [...this.#oversized].filter((entry) => this.#mayGo(entry, nowMs));
    for (const entry of taken) this.remove(entry);
    return [...taken, ...this.take(this.#bytes - this.#oversizedBytes - this.#maxBytes, nowMs)];
  }

  /** Forgets so many bytes, least recently used first, as far as they may go. */
  take(bytes: number, nowMs: number): CacheEntry[] {
    const taken: CacheEntry[] = [];
    let left = bytes;
    if (left <= 0) return taken;
    for (const entry of this.#entries.values()) {
      if (this.#oversized.has(entry) || !this.#mayGo(entry, nowMs)) continue;
      this.remove(entry);
      taken.push(entry);
      left -= entry.size;
      if (left <= 0) break;
    }
    return taken;
  }

  #mayGo({ digest, readers, heldUntilMs }: CacheEntry, nowMs: number): boolean {
    return readers === 0 && heldUntilMs <= nowMs && !this.#pins.has(digest);
  }
}
