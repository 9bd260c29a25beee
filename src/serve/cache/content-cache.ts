/**
 * The gateway's disk cache: blobs by digest in a folder, bounded in size. What enters was verified, what is fetched is
 * fetched once however many ask, and a folder that is full, read-only or deleted costs speed and nothing else.
 */
import { FerryError, IntegrityError, isFerryError } from '../../errors.js';
import { ByteBudget } from '../../io/byte-budget.js';
import { collect, type OpenBytes } from '../../io/bytes.js';
import { digestAlgorithm, digestOf, type Digest } from '../../io/digest.js';
import type { OpenedBytes } from '../../io/opened-bytes.js';
import { openedMemory, readOpened } from '../../io/opened-memory.js';
import { checkBytes } from '../../io/verify.js';
import type { BlobFolder } from '../../oci/blob-folder.js';
import type { CallOptions } from '../../oci/storage.js';
import type { Content } from '../content.js';
import { CheckedFiles, type OpenFile } from './checked-files.js';
import type { ContentOrigin } from './content-source.js';
import { Flights } from './flights.js';
import { MemoryContents, memoryContent } from './memory-contents.js';
import { SharedFiles } from './shared-files.js';
import { StoredBlobs, type ContentCacheReporter } from './stored-blobs.js';

/** What is not larger is kept in memory too: shards, manifests, small metadata. */
const SMALL_BYTES = 64 * 1024;
const DEFAULT_MEMORY_BYTES = 32 * 1024 * 1024;
/** Where the disk takes nothing, what is not larger is held in memory instead. */
const MAX_HELD_BYTES = 8 * 1024 * 1024;
/** Of those, so many bytes are fetched at once. */
const HELD_BYTES_AT_ONCE = 4 * MAX_HELD_BYTES;
/** Of unknown size, so much is taken also where the bound is lower. */
const MIN_UNSIZED_LIMIT = 256 * 1024 * 1024;
const DEFAULT_LINGER_MS = 5 * 60_000;
/** What is gone again each time it was fetched is given up. */
const MAX_ROUNDS = 3;

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
  readonly #location: string;
  readonly #unsizedLimit: number;
  readonly #blobs: StoredBlobs;
  readonly #memory: MemoryContents;
  readonly #checked = new CheckedFiles();
  /** Files of other stores. */
  readonly #files = new SharedFiles();
  readonly #flights: Flights<Landed>;
  readonly #heldRoom = new ByteBudget(HELD_BYTES_AT_ONCE);
  #hits = 0;
  #misses = 0;

  /** Takes the folder for empty; {@link open} looks. */
  constructor(folder: BlobFolder, options: ContentCacheOptions) {
    const { maxBytes, memoryBytes, lingerMs, reporter = {}, now = Date.now } = options;
    this.#location = folder.location;
    this.#unsizedLimit = Math.max(maxBytes, MIN_UNSIZED_LIMIT);
    this.#blobs = new StoredBlobs({ folder, maxBytes, checked: this.#checked, reporter, now });
    this.#memory = new MemoryContents(memoryBytes ?? DEFAULT_MEMORY_BYTES);
    this.#flights = new Flights(lingerMs ?? DEFAULT_LINGER_MS);
  }

  /**
   * Opens a cache with what is in its folder. What was there before is hashed when it is first used.
   * @throws FerryError `LAYOUT_INVALID` where the folder is something else
   */
  static async open(
    folder: BlobFolder,
    options: ContentCacheOptions,
    callOptions: CallOptions = {},
  ): Promise<ContentCache> {
    const cache = new ContentCache(folder, options);
    await cache.#blobs.load(callOptions);
    return cache;
  }

  get stats(): ContentCacheStats {
    return { ...this.#blobs.stats, hits: this.#hits, misses: this.#misses };
  }

  /**
   * Gives content, from the cache or fetched into it. All who ask for one digest at a time share one fetch, by the opener
   * of whoever came first, which must not end with its request; an abort is each one's own. Where the content is gone when
   * it is opened, it is fetched again.
   * @throws IntegrityError where the origin gives other bytes; FerryError `DISK_FULL` where they can be put nowhere; what the
   * origin throws
   */
  async get(origin: ContentOrigin, { signal }: CallOptions = {}): Promise<Content> {
    signal?.throwIfAborted();
    const { digest, openFile } = origin;
    const inMemory = this.#fromMemory(digest);
    if (inMemory === undefined && openFile !== undefined) {
      const file = await this.#fromFile(digest, openFile, signal);
      if (file !== undefined) return checkSize(origin, file);
    }
    const here = inMemory ?? (await this.#fromFolder(digest, origin, signal));
    if (here !== undefined) {
      this.#hits += 1;
      return checkSize(origin, here);
    }
    this.#misses += 1;
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
    if (here !== undefined) return checkSize(expected, here);
    const landed = await this.#land({ ...expected, open }, signal);
    return this.#contentOf(expected.digest, landed, undefined);
  }

  /** Keeps a blob from being evicted, whether it is there yet or not, until disposed. */
  pin(digest: Digest): Disposable {
    return this.#blobs.pin(digest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#flights[Symbol.asyncDispose]();
    await this.#checked[Symbol.asyncDispose]();
    await this.#files[Symbol.asyncDispose]();
    await this.#blobs[Symbol.asyncDispose]();
  }

  #fromMemory(digest: Digest): Content | undefined {
    const bytes = this.#memory.get(digest);
    if (bytes === undefined) return undefined;
    this.#blobs.use(digest);
    return memoryContent(digest, bytes);
  }

  /** A file of another store, as it lies there. */
  async #fromFile(digest: Digest, openFile: OpenFile, signal?: AbortSignal): Promise<Content | undefined> {
    const open = (options?: CallOptions): Promise<OpenedBytes | undefined> =>
      this.#files.open(digest, () => this.#checked.open(digest, openFile, options));
    await using opened = await open({ signal });
    if (opened === undefined) return undefined;
    const { size } = opened;
    if (size <= SMALL_BYTES) return memoryContent(digest, await this.#readSmall(digest, opened));
    return {
      digest,
      size,
      open: async () => (await open()) ?? this.#throwGone(digest),
    };
  }

  async #fromFolder(
    digest: Digest,
    origin: ContentOrigin | undefined,
    signal?: AbortSignal,
  ): Promise<Content | undefined> {
    const known = this.#blobs.find(digest);
    if (known === undefined) return undefined;
    this.#blobs.use(digest);
    const { size } = known;
    if (known.isChecked && size > SMALL_BYTES) return this.#contentOf(digest, { size }, origin);
    await using opened = await this.#blobs.open(digest, signal);
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
      const opened = await this.#blobs.open(digest);
      if (opened !== undefined) return opened;
      if (origin === undefined) break;
      const { bytes } = await this.#land(origin);
      if (bytes !== undefined) return openedMemory(bytes);
    }
    return this.#throwGone(digest);
  }

  #throwGone(digest: Digest): never {
    throw new FerryError('NOT_FOUND', `${digest} is gone from \`${this.#location}\``);
  }

  async #land(origin: ContentOrigin, signal?: AbortSignal): Promise<Landed> {
    const landed = await this.#flights.join(origin.digest, (own) => this.#fetch(origin, own), signal);
    // Others may have asked for it with another size, or none.
    return checkSize(origin, landed);
  }

  async #fetch(origin: ContentOrigin, signal: AbortSignal): Promise<Landed> {
    const { digest, size, open } = origin;
    const adopted = await this.#blobs.adopt(digest, signal);
    if (adopted !== undefined) return this.#landed(digest, adopted, signal);
    const stored = await this.#blobs.write({ digest, size, maxBytes: this.#unsizedLimit }, open, signal);
    return 'size' in stored
      ? this.#landed(digest, stored.size, signal)
      : this.#hold(origin, signal, stored.trouble);
  }

  async #landed(digest: Digest, size: number, signal: AbortSignal): Promise<Landed> {
    if (size > SMALL_BYTES) return { size };
    await using opened = await this.#blobs.open(digest, signal);
    // Where the folder was deleted at that very moment, who opens it finds out.
    return opened === undefined ? { size } : { size, bytes: await this.#readSmall(digest, opened) };
  }

  /** Fetches into memory what the folder does not take. */
  async #hold({ digest, size, open }: ContentOrigin, signal: AbortSignal, cause: unknown): Promise<Landed> {
    const maxBytes = size ?? MAX_HELD_BYTES;
    const full = (): FerryError =>
      new FerryError('DISK_FULL', `\`${this.#location}\` does not take ${digest}`, { cause });
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

  /** Reads what is small once, as far as memory goes. */
  async #readSmall(digest: Digest, opened: OpenedBytes): Promise<Uint8Array> {
    const bytes = await readOpened(opened, digest);
    const actual = digestOf(bytes, digestAlgorithm(digest));
    if (actual !== digest) throw new IntegrityError('DIGEST_MISMATCH', 'a file', digest, actual);
    this.#memory.set(digest, bytes);
    return bytes;
  }
}

/** The digest decides what the bytes are; whoever says that they are more or fewer is wrong. */
function checkSize<T extends { readonly size: number }>(
  { digest, size }: { readonly digest: Digest; readonly size: number | undefined },
  found: T,
): T {
  if (size !== undefined && size !== found.size) {
    throw new IntegrityError('SIZE_MISMATCH', digest, size, found.size);
  }
  return found;
}
