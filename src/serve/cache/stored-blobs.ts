import { IntegrityError, isFerryError, isSystemError } from '../../errors.js';
import { noteFailure, type NotedFailure, type OpenBytes } from '../../io/bytes.js';
import type { Digest } from '../../io/digest.js';
import type { OpenedBytes } from '../../io/opened-bytes.js';
import type { BlobFolder, ExpectedBlob } from '../../oci/blob-folder.js';
import type { CallOptions } from '../../oci/storage.js';
import { CacheEntries, type CacheEntry } from './cache-entries.js';
import type { CheckedFiles } from './checked-files.js';
import { SharedFiles } from './shared-files.js';

/** How long what was fetched waits to be opened by those who asked for it. */
const HOLD_MS = 10_000;
/** A file need not tell more exactly when it was used. */
const TOUCH_EVERY_MS = 10 * 60_000;
/** Looking through the whole folder again is for folders that were deleted. */
const RECOUNT_EVERY_MS = 10_000;
/** Share of the cache that goes where the disk is full and nobody knows what is needed. */
const ROOM_SHARE = 0.1;

/** Told what goes wrong without anybody's request failing for it. */
export interface ContentCacheReporter {
  /** The folder does not take a blob, or does not let one go. */
  readonly troubled?: ((error: unknown) => void) | undefined;
  /** A blob in the folder had the wrong bytes, and was removed. */
  readonly corrupt?: ((digest: Digest) => void) | undefined;
}

/** What {@link StoredBlobs} needs. */
export interface StoredBlobsOptions {
  readonly folder: BlobFolder;
  readonly maxBytes: number;
  readonly checked: CheckedFiles;
  readonly reporter: ContentCacheReporter;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** What became of a blob: it is stored, or the folder does not take it. */
export type Stored = { readonly size: number } | { readonly trouble: unknown };

/** The cache's blobs on disk, which come and go: what is there, what is read, and what has to make room. To be disposed of. */
export class StoredBlobs implements AsyncDisposable {
  readonly #folder: BlobFolder;
  readonly #checked: CheckedFiles;
  readonly #reporter: ContentCacheReporter;
  readonly #now: () => number;
  readonly #entries: CacheEntries;
  readonly #files = new SharedFiles();
  readonly #removals = new Map<Digest, Promise<void>>();
  /** Ends when all removals so far have ended: one after the other, however many go at once. */
  #removed: Promise<void> = Promise.resolve();
  readonly #background = new Set<Promise<void>>();
  #trimTimer: NodeJS.Timeout | undefined;
  #recountedAtMs = -Infinity;
  #evictions = 0;
  #isClosed = false;

  constructor(options: StoredBlobsOptions) {
    this.#folder = options.folder;
    this.#checked = options.checked;
    this.#reporter = options.reporter;
    this.#now = options.now;
    this.#entries = new CacheEntries(options.maxBytes);
  }

  get stats(): { readonly bytes: number; readonly blobs: number; readonly evictions: number } {
    return { bytes: this.#entries.bytes, blobs: this.#entries.count, evictions: this.#evictions };
  }

  /** Takes in what is in the folder. @throws FerryError `LAYOUT_INVALID` */
  async load(options: CallOptions): Promise<void> {
    const found = [];
    for await (const blob of this.#folder.blobs(options)) found.push(blob);
    found.sort((a, b) => a.usedAt - b.usedAt);
    for (const { digest, size, usedAt } of found) this.#entries.add(digest, size, { touchedAtMs: usedAt });
    this.#trim();
  }

  /** What is known of a blob that is there. */
  find(digest: Digest): Pick<CacheEntry, 'size' | 'isChecked'> | undefined {
    return this.#entries.get(digest);
  }

  /** Keeps a blob from being evicted, whether it is there yet or not, until disposed. */
  pin(digest: Digest): Disposable {
    const pin = this.#entries.pin(digest);
    return {
      [Symbol.dispose]: () => {
        pin[Symbol.dispose]();
        this.#trim();
      },
    };
  }

  /** Notes that a blob was used just now. */
  use(digest: Digest): void {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return;
    this.#entries.use(entry);
    const nowMs = this.#now();
    if (nowMs - entry.touchedAtMs < TOUCH_EVERY_MS) return;
    entry.touchedAtMs = nowMs;
    this.#runBehind(() => this.#touch(digest));
  }

  /**
   * Opens a blob, checked if it was not yet. What is found wrong with it is set right, and it counts as absent; `undefined`
   * then. Until it is disposed of, it is not evicted.
   */
  async open(digest: Digest, signal?: AbortSignal): Promise<OpenedBytes | undefined> {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    // Before anything is waited for.
    entry.readers += 1;
    let opened: OpenedBytes | undefined;
    try {
      opened = await this.#openFile(digest, signal);
    } catch (error) {
      this.#release(entry);
      signal?.throwIfAborted();
      // The process has too much open, which says nothing of this file.
      if (isSystemError(error, 'EMFILE', 'ENFILE')) throw error;
      if (error instanceof IntegrityError) this.#reporter.corrupt?.(digest);
      else this.#reporter.troubled?.(error);
      if (this.#entries.remove(entry)) this.#remove(entry);
      return undefined;
    }
    if (opened?.size === entry.size) {
      entry.isChecked = true;
      return new CountedBytes(opened, () => {
        this.#release(entry);
      });
    }
    await opened?.[Symbol.asyncDispose]();
    this.#release(entry);
    this.#entries.remove(entry);
    this.#recount();
    return undefined;
  }

  /** A blob that is there and right, also where another process put it there; it is held until somebody opens it. */
  async adopt(digest: Digest, signal: AbortSignal): Promise<number | undefined> {
    // A removal under way would take away what comes now.
    await this.#removals.get(digest);
    const known = this.#entries.get(digest);
    if (known?.isChecked === true) return known.size;
    try {
      await using opened = await this.#openFile(digest, signal);
      if (opened === undefined) return undefined;
      return this.#add(digest, opened.size).size;
    } catch {
      signal.throwIfAborted();
      // Whatever it is, writing comes next, which puts the right bytes in its place or tells.
      return undefined;
    }
  }

  /**
   * Stores a blob, verified. Where the disk is full, others go and it is tried once more.
   * @throws IntegrityError; what `open` throws
   */
  async write(expected: ExpectedBlob, open: OpenBytes, signal: AbortSignal): Promise<Stored> {
    for (let isFirst = true; ; isFirst = false) {
      const failure: NotedFailure = {};
      try {
        const noted: OpenBytes = (options) => noteFailure(() => open(options), failure);
        const { size } = await this.#folder.write(expected, noted, { signal });
        const entry = this.#add(expected.digest, size);
        await this.#trustWritten(entry);
        return { size };
      } catch (error) {
        if ('error' in failure) throw failure.error;
        signal.throwIfAborted();
        if (error instanceof IntegrityError) throw error;
        this.#reporter.troubled?.(error);
        const isFull = isFerryError(error, 'DISK_FULL') || isSystemError(error, 'ENOSPC', 'EDQUOT');
        const isGoneNow = isSystemError(error, 'ENOENT');
        const mayTryAgain = isFirst && (isGoneNow || (isFull && (await this.#makeRoom(expected.size))));
        if (!mayTryAgain) return { trouble: error };
      }
    }
  }

  /** What is still being read stays on disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#trimTimer);
    await Promise.all(this.#background);
    await this.#removed;
    await this.#files[Symbol.asyncDispose]();
  }

  #openFile(digest: Digest, signal: AbortSignal | undefined): Promise<OpenedBytes | undefined> {
    return this.#files.open(digest, () =>
      this.#checked.open(digest, () => this.#folder.open(digest), { signal }),
    );
  }

  #add(digest: Digest, size: number): CacheEntry {
    const nowMs = this.#now();
    const state = { isChecked: true, heldUntilMs: nowMs + HOLD_MS, touchedAtMs: nowMs };
    const entry = this.#entries.add(digest, size, state);
    this.#trim();
    return entry;
  }

  #release(entry: CacheEntry): void {
    entry.readers -= 1;
    if (entry.readers > 0) return;
    entry.heldUntilMs = -Infinity;
    this.#trim();
  }

  /** Its bytes were checked on their way; they need not be read for that again. */
  async #trustWritten({ digest, size }: CacheEntry): Promise<void> {
    try {
      await using opened = await this.#folder.open(digest);
      if (opened?.size === size) this.#checked.trust(digest, opened);
    } catch (error) {
      // It is hashed when it is used, then.
      this.#reporter.troubled?.(error);
    }
  }

  /** Lets go of as much as is needed, where the disk is full. @returns whether anything went */
  async #makeRoom(size: number | undefined): Promise<boolean> {
    const victims = this.#entries.take(size ?? this.#entries.bytes * ROOM_SHARE, this.#now());
    for (const victim of victims) this.#evict(victim);
    await this.#removed;
    return victims.length > 0;
  }

  #trim(): void {
    if (this.#isClosed) return;
    for (const victim of this.#entries.takeExcess(this.#now())) this.#evict(victim);
    if (!this.#entries.isOver || this.#trimTimer !== undefined) return;
    // What nobody came for goes without anybody coming.
    this.#trimTimer = setTimeout(() => {
      this.#trimTimer = undefined;
      this.#trim();
    }, HOLD_MS);
    this.#trimTimer.unref();
  }

  #evict(entry: CacheEntry): void {
    this.#evictions += 1;
    this.#remove(entry);
  }

  /** Removes a file whose entry is gone; where that fails, it is counted again. */
  #remove({ digest, size }: CacheEntry): void {
    // Its room on the disk is free when nobody has it open.
    this.#files.forget(digest);
    const removal = this.#removed.then(async () => {
      try {
        await this.#folder.remove(digest);
      } catch (error) {
        this.#reporter.troubled?.(error);
        if (this.#entries.get(digest) === undefined) this.#entries.add(digest, size);
      }
      if (this.#removals.get(digest) === removal) this.#removals.delete(digest);
    });
    this.#removed = removal;
    this.#removals.set(digest, removal);
  }

  /** Marks a file as used, which makes it look changed to whoever checks files. */
  async #touch(digest: Digest): Promise<void> {
    await using before = await this.#folder.open(digest);
    if (before === undefined) return;
    const isTrusted = this.#checked.isTrusted(digest, before);
    await this.#folder.touch(digest);
    await using after = await this.#folder.open(digest);
    if (isTrusted && after?.size === before.size) this.#checked.trust(digest, after);
  }

  /** Counts anew what is there, where something is not that should be: the whole folder may be gone. */
  #recount(): void {
    const nowMs = this.#now();
    if (nowMs - this.#recountedAtMs < RECOUNT_EVERY_MS) return;
    this.#recountedAtMs = nowMs;
    const known = this.#entries.all();
    this.#runBehind(async () => {
      const there = new Set<Digest>();
      for await (const { digest } of this.#folder.blobs()) there.add(digest);
      for (const entry of known) if (!there.has(entry.digest)) this.#entries.remove(entry);
    });
  }

  #runBehind(work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => this.#reporter.troubled?.(error))
      .finally(() => this.#background.delete(running));
    this.#background.add(running);
  }
}

/** Tells when it is disposed of, once. */
class CountedBytes implements OpenedBytes {
  readonly size: number;
  readonly identity: string | undefined;
  readonly #opened: OpenedBytes;
  #onDispose: (() => void) | undefined;

  constructor(opened: OpenedBytes, onDispose: () => void) {
    this.size = opened.size;
    this.identity = opened.identity;
    this.#opened = opened;
    this.#onDispose = onDispose;
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return this.#opened.read(target, position);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const onDispose = this.#onDispose;
    this.#onDispose = undefined;
    try {
      await this.#opened[Symbol.asyncDispose]();
    } finally {
      onDispose?.();
    }
  }
}
