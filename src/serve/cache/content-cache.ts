/**
 * The gateway's disk cache: blobs by digest in a folder, bounded in size. What enters was verified, what is fetched is
 * fetched once however many ask, and a folder that is full, read-only or deleted costs speed and nothing else.
 */
import { FerryError, IntegrityError, isFerryError, isSystemError } from '../../errors.js';
import { ByteBudget } from '../../io/byte-budget.js';
import { collect, noteFailure, type NotedFailure, type OpenBytes } from '../../io/bytes.js';
import { digestAlgorithm, digestOf, type Digest } from '../../io/digest.js';
import type { OpenedBytes } from '../../io/opened-bytes.js';
import { openedMemory, readOpened } from '../../io/opened-memory.js';
import { checkBytes } from '../../io/verify.js';
import type { BlobFolder } from '../../oci/blob-folder.js';
import type { CallOptions } from '../../oci/storage.js';
import type { Content } from '../content.js';
import { CacheEntries, type CacheEntry } from './cache-entries.js';
import { CheckedFiles, type OpenFile } from './checked-files.js';
import type { ContentOrigin } from './content-source.js';
import { Flights } from './flights.js';
import { MemoryContents, memoryContent } from './memory-contents.js';

/** What is not larger is kept in memory too: shards, manifests, small metadata. */
const SMALL_BYTES = 64 * 1024;
const DEFAULT_MEMORY_BYTES = 32 * 1024 * 1024;
/** Where the disk takes nothing, what is not larger is held in memory instead. */
const MAX_HELD_BYTES = 8 * 1024 * 1024;
/** Of those, so many bytes are fetched at once. */
const HELD_BYTES_AT_ONCE = 4 * MAX_HELD_BYTES;
/** Of unknown size, so much is taken also where the bound is lower. */
const MIN_UNSIZED_LIMIT = 256 * 1024 * 1024;
/** How long what was fetched waits to be opened by those who asked for it. */
const HOLD_MS = 10_000;
/** A file need not tell more exactly when it was used. */
const TOUCH_EVERY_MS = 10 * 60_000;
/** Looking through the whole folder again is for folders that were deleted. */
const RECOUNT_EVERY_MS = 10_000;
const DEFAULT_LINGER_MS = 5 * 60_000;
const MAX_ROUNDS = 3;
/** Share of the cache that goes where the disk is full and nobody knows what is needed. */
const ROOM_SHARE = 0.1;

/** Told what goes wrong without anybody's request failing for it. */
export interface ContentCacheReporter {
  /** The folder does not take a blob, or does not let one go. */
  readonly troubled?: ((error: unknown) => void) | undefined;
  /** A blob in the folder had the wrong bytes, and was removed. */
  readonly corrupt?: ((digest: Digest) => void) | undefined;
}

/** Options of {@link ContentCache}. */
export interface ContentCacheOptions {
  /** Bytes on disk, but for what is pinned, read or just being fetched. */
  readonly maxBytes: number;
  /** Bytes of small contents in memory. @defaultValue 32 MiB */
  readonly memoryBytes?: number | undefined;
  /** How long a fetch goes on that nobody waits for any more, in milliseconds. @defaultValue 5 minutes */
  readonly lingerMs?: number | undefined;
  readonly reporter?: ContentCacheReporter | undefined;
  /** Milliseconds since 1970. @defaultValue `Date.now` */
  readonly now?: (() => number) | undefined;
}

/** Figures of a cache. Hits and misses are those of {@link ContentCache.get}; files of other stores are neither. */
export interface ContentCacheStats {
  /** On disk. */
  readonly bytes: number;
  readonly blobs: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
}

/** What a fetch left: a blob in the folder, or bytes in memory. */
interface Landed {
  readonly size: number;
  readonly bytes?: Uint8Array | undefined;
}

/** See the head of this file. To be disposed of, which gives up what is being fetched. */
export class ContentCache implements AsyncDisposable {
  readonly #folder: BlobFolder;
  readonly #options: ContentCacheOptions;
  readonly #now: () => number;
  readonly #entries: CacheEntries;
  readonly #memory: MemoryContents;
  readonly #checked = new CheckedFiles();
  readonly #flights: Flights<Landed>;
  readonly #heldRoom = new ByteBudget(HELD_BYTES_AT_ONCE);
  readonly #removals = new Map<Digest, Promise<void>>();
  /** Ends when all removals so far have ended: one after the other, however many go at once. */
  #removed: Promise<void> = Promise.resolve();
  readonly #background = new Set<Promise<void>>();
  #trimTimer: NodeJS.Timeout | undefined;
  #recountedAtMs = -Infinity;
  #counts = { hits: 0, misses: 0, evictions: 0 };

  /** Takes the folder for empty; {@link open} looks. */
  constructor(folder: BlobFolder, options: ContentCacheOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#entries = new CacheEntries(options.maxBytes);
    this.#memory = new MemoryContents(options.memoryBytes ?? DEFAULT_MEMORY_BYTES);
    this.#flights = new Flights(options.lingerMs ?? DEFAULT_LINGER_MS);
  }

  /**
   * Opens a cache with what is in its folder. What was there before is hashed when it is first used.
   * @throws FerryError `LAYOUT_INVALID` where the folder is something else
   */
  static async open(
    folder: BlobFolder,
    options: ContentCacheOptions,
    { signal }: CallOptions = {},
  ): Promise<ContentCache> {
    const found = [];
    for await (const blob of folder.blobs({ signal })) found.push(blob);
    const cache = new ContentCache(folder, options);
    found.sort((a, b) => a.usedAt - b.usedAt);
    for (const { digest, size, usedAt } of found) cache.#entries.add(digest, size, { touchedAtMs: usedAt });
    cache.#trim();
    return cache;
  }

  get stats(): ContentCacheStats {
    return { ...this.#counts, bytes: this.#entries.bytes, blobs: this.#entries.count };
  }

  /**
   * Gives content, from the cache or fetched into it. All who ask for one digest at a time share one fetch; an abort is
   * each one's own. Where it is gone again when it is opened, it is fetched again.
   * @throws IntegrityError where the origin gives other bytes; FerryError `DISK_FULL` where they can be put nowhere; what the
   * origin throws
   */
  async get(origin: ContentOrigin, { signal }: CallOptions = {}): Promise<Content> {
    signal?.throwIfAborted();
    const { digest, openFile } = origin;
    const here =
      this.#fromMemory(digest) ??
      (openFile === undefined ? undefined : await this.#fromFile(digest, openFile, signal)) ??
      (await this.#fromFolder(digest, origin, signal));
    if (here !== undefined) {
      checkSize(origin, here.size);
      if (openFile === undefined) this.#counts.hits += 1;
      return here;
    }
    this.#counts.misses += 1;
    return this.#contentOf(digest, await this.#land(origin, signal), origin);
  }

  /** Content that is in the cache; `undefined` where it is not. */
  async find(digest: Digest, { signal }: CallOptions = {}): Promise<Content | undefined> {
    signal?.throwIfAborted();
    return this.#fromMemory(digest) ?? (await this.#fromFolder(digest, undefined, signal));
  }

  /**
   * Stores content that was made here; what is there already is not read.
   * @throws IntegrityError; FerryError `DISK_FULL`; what `open` throws
   */
  async put(
    open: OpenBytes,
    expected: { readonly digest: Digest; readonly size: number },
    { signal }: CallOptions = {},
  ): Promise<Content> {
    const here = await this.find(expected.digest, { signal });
    if (here !== undefined) {
      checkSize(expected, here.size);
      return here;
    }
    return this.#contentOf(expected.digest, await this.#land({ ...expected, open }, signal), undefined);
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

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#trimTimer);
    await this.#flights[Symbol.asyncDispose]();
    await this.#checked[Symbol.asyncDispose]();
    while (this.#background.size > 0) await Promise.all(this.#background);
    await this.#removed;
    clearTimeout(this.#trimTimer);
  }

  #fromMemory(digest: Digest): Content | undefined {
    const bytes = this.#memory.get(digest);
    if (bytes === undefined) return undefined;
    const entry = this.#entries.get(digest);
    if (entry !== undefined) this.#use(entry);
    return memoryContent(digest, bytes);
  }

  /** A file of another store, as it lies there. */
  async #fromFile(digest: Digest, openFile: OpenFile, signal?: AbortSignal): Promise<Content | undefined> {
    await using opened = await this.#checked.open(digest, openFile, { signal });
    if (opened === undefined) return undefined;
    const { size } = opened;
    if (size <= SMALL_BYTES) return memoryContent(digest, await this.#readSmall(digest, opened));
    return {
      digest,
      size,
      open: async () => (await this.#checked.open(digest, openFile)) ?? this.#throwGone(digest),
    };
  }

  async #fromFolder(
    digest: Digest,
    origin: ContentOrigin | undefined,
    signal?: AbortSignal,
  ): Promise<Content | undefined> {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    this.#use(entry);
    const { size } = entry;
    if (entry.isChecked && size > SMALL_BYTES) return this.#contentOf(digest, { size }, origin);
    await using opened = await this.#openEntry(digest, signal);
    if (opened === undefined) return undefined;
    const bytes = size <= SMALL_BYTES ? await this.#readSmall(digest, opened) : undefined;
    return this.#contentOf(digest, { size, bytes }, origin);
  }

  #contentOf(digest: Digest, { size, bytes }: Landed, origin: ContentOrigin | undefined): Content {
    if (bytes !== undefined) return memoryContent(digest, bytes);
    return { digest, size, open: () => this.#open(digest, origin) };
  }

  async #open(digest: Digest, origin: ContentOrigin | undefined): Promise<OpenedBytes> {
    for (let round = 1; round <= MAX_ROUNDS; round += 1) {
      const opened = await this.#openEntry(digest);
      if (opened !== undefined) return opened;
      if (origin === undefined) break;
      const { bytes } = await this.#land(origin);
      if (bytes !== undefined) return openedMemory(bytes);
    }
    return this.#throwGone(digest);
  }

  #throwGone(digest: Digest): never {
    throw new FerryError('NOT_FOUND', `${digest} is gone from \`${this.#folder.location}\``);
  }

  /** Opens a blob of the folder, checked if it was not yet. What is wrong with it is set right, and it counts as absent. */
  async #openEntry(digest: Digest, signal?: AbortSignal): Promise<OpenedBytes | undefined> {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    // Before anything is waited for: from here on it is not evicted.
    entry.readers += 1;
    let opened: OpenedBytes | undefined;
    try {
      opened = await this.#checked.open(digest, () => this.#folder.open(digest), { signal });
    } catch (error) {
      this.#release(entry);
      signal?.throwIfAborted();
      // The process has too much open, which says nothing of this file.
      if (isSystemError(error, 'EMFILE', 'ENFILE')) throw error;
      if (error instanceof IntegrityError) this.#options.reporter?.corrupt?.(digest);
      else this.#options.reporter?.troubled?.(error);
      if (this.#entries.remove(entry)) this.#remove(entry);
      return undefined;
    }
    if (opened === undefined) {
      this.#release(entry);
      this.#entries.remove(entry);
      this.#recount();
      return undefined;
    }
    entry.isChecked = true;
    return new CountedBytes(opened, () => {
      this.#release(entry);
    });
  }

  #release(entry: CacheEntry): void {
    entry.readers -= 1;
    if (entry.readers > 0) return;
    entry.heldUntilMs = -Infinity;
    this.#trim();
  }

  #land(origin: ContentOrigin, signal?: AbortSignal): Promise<Landed> {
    return this.#flights.join(origin.digest, (own) => this.#fetch(origin, own), signal);
  }

  async #fetch(origin: ContentOrigin, signal: AbortSignal): Promise<Landed> {
    const { digest } = origin;
    // Or it would take the new file away.
    await this.#removals.get(digest);
    const known = this.#entries.get(digest) ?? (await this.#adopt(digest, signal));
    if (known !== undefined) {
      checkSize(origin, known.size);
      return { size: known.size };
    }
    const landed = await this.#store(origin, signal);
    if (landed.bytes !== undefined) return landed;
    const nowMs = this.#now();
    const { size } = landed;
    const entry = this.#entries.add(digest, size, { heldUntilMs: nowMs + HOLD_MS, touchedAtMs: nowMs });
    this.#trim();
    return { size, bytes: await this.#trustWritten(entry) };
  }

  /** A blob that another process put into the folder, or that could not be removed. */
  async #adopt(digest: Digest, signal: AbortSignal): Promise<CacheEntry | undefined> {
    try {
      await using opened = await this.#checked.open(digest, () => this.#folder.open(digest), { signal });
      if (opened === undefined) return undefined;
      const heldUntilMs = this.#now() + HOLD_MS;
      return this.#entries.add(digest, opened.size, { isChecked: true, heldUntilMs });
    } catch {
      signal.throwIfAborted();
      // Whatever it is, writing comes next and puts the right bytes in its place, or tells.
      return undefined;
    }
  }

  /** Its bytes were checked on their way; they need not be read for that again. */
  async #trustWritten(entry: CacheEntry): Promise<Uint8Array | undefined> {
    const { digest, size } = entry;
    try {
      await using opened = await this.#folder.open(digest);
      if (opened?.size !== size) return undefined;
      this.#checked.trust(digest, opened);
      entry.isChecked = true;
      return size <= SMALL_BYTES ? await this.#readSmall(digest, opened) : undefined;
    } catch {
      // Deleted at that very moment; who opens it finds out.
      return undefined;
    }
  }

  async #store(origin: ContentOrigin, signal: AbortSignal): Promise<Landed> {
    const { digest, size } = origin;
    const maxBytes = Math.max(this.#options.maxBytes, MIN_UNSIZED_LIMIT);
    for (let isFirst = true; ; isFirst = false) {
      const failure: NotedFailure = {};
      try {
        const open: OpenBytes = (options) => noteFailure(() => origin.open(options), failure);
        return await this.#folder.write({ digest, size, maxBytes }, open, { signal });
      } catch (error) {
        if ('error' in failure) throw failure.error;
        signal.throwIfAborted();
        if (error instanceof IntegrityError) throw error;
        this.#options.reporter?.troubled?.(error);
        const isWorthIt =
          // Somebody deletes the folder right now.
          isSystemError(error, 'ENOENT') ||
          (isFerryError(error, 'DISK_FULL') && (await this.#makeRoom(size)));
        if (!isFirst || !isWorthIt) return await this.#hold(origin, signal, error);
      }
    }
  }

  /** Fetches into memory what the folder does not take. */
  async #hold({ digest, size, open }: ContentOrigin, signal: AbortSignal, cause: unknown): Promise<Landed> {
    const maxBytes = size ?? MAX_HELD_BYTES;
    const full = (): FerryError =>
      new FerryError('DISK_FULL', `\`${this.#folder.location}\` does not take ${digest}`, { cause });
    if (maxBytes > MAX_HELD_BYTES) throw full();
    using _room = await this.#heldRoom.take(maxBytes, { signal });
    let bytes: Uint8Array;
    try {
      bytes = await collect(open({ signal }), maxBytes, digest);
    } catch (error) {
      throw size === undefined && isFerryError(error, 'SIZE_EXCEEDED') ? full() : error;
    }
    checkBytes(bytes, { digest, size: size ?? bytes.byteLength }, digest);
    this.#memory.set(digest, bytes);
    return { size: bytes.byteLength, bytes };
  }

  /** Lets go of as much as is needed, where the disk is full. @returns whether anything went */
  async #makeRoom(size: number | undefined): Promise<boolean> {
    const victims = this.#entries.take(size ?? this.#entries.bytes * ROOM_SHARE, this.#now());
    for (const victim of victims) this.#evict(victim);
    await this.#removed;
    return victims.length > 0;
  }

  #trim(): void {
    const nowMs = this.#now();
    for (const victim of this.#entries.takeExcess(nowMs)) this.#evict(victim);
    if (!this.#entries.isOver || this.#trimTimer !== undefined) return;
    // What nobody came for goes without anybody coming.
    this.#trimTimer = setTimeout(() => {
      this.#trimTimer = undefined;
      this.#trim();
    }, HOLD_MS);
    this.#trimTimer.unref();
  }

  #evict(entry: CacheEntry): void {
    this.#counts.evictions += 1;
    this.#remove(entry);
  }

  /** Removes a file whose entry is gone; where that fails, it is counted again. */
  #remove({ digest, size }: CacheEntry): void {
    const removal = this.#removed.then(async () => {
      try {
        await this.#folder.remove(digest);
      } catch (error) {
        this.#options.reporter?.troubled?.(error);
        if (this.#entries.get(digest) === undefined) this.#entries.add(digest, size);
      }
      if (this.#removals.get(digest) === removal) this.#removals.delete(digest);
    });
    this.#removed = removal;
    this.#removals.set(digest, removal);
  }

  #use(entry: CacheEntry): void {
    this.#entries.use(entry);
    const nowMs = this.#now();
    if (nowMs - entry.touchedAtMs < TOUCH_EVERY_MS) return;
    entry.touchedAtMs = nowMs;
    this.#runBehind(() => this.#touch(entry.digest));
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
      .catch((error: unknown) => this.#options.reporter?.troubled?.(error))
      .finally(() => this.#background.delete(running));
    this.#background.add(running);
  }

  /** Reads what is small once and for all, as far as memory goes. */
  async #readSmall(digest: Digest, opened: OpenedBytes): Promise<Uint8Array> {
    const bytes = await readOpened(opened, digest);
    const actual = digestOf(bytes, digestAlgorithm(digest));
    if (actual !== digest) throw new IntegrityError('DIGEST_MISMATCH', 'a file', digest, actual);
    this.#memory.set(digest, bytes);
    return bytes;
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

/** The digest decides what the bytes are; whoever says that they are more or fewer is wrong. */
function checkSize(
  { digest, size }: { readonly digest: Digest; readonly size: number | undefined },
  actual: number,
): void {
  if (size !== undefined && size !== actual) throw new IntegrityError('SIZE_MISMATCH', digest, size, actual);
}
