import type { ChannelStore } from '../../artifact/channel-store.js';
import { packageMediaType } from '../../artifact/media-types.js';
import type { ArchiveLocation, ChannelSource } from '../../conda/channel-source.js';
import { parseArchiveFilename } from '../../conda/names.js';
import { FerryError, IntegrityError, isFerryError } from '../../errors.js';
import type { Bytes, OpenOptions } from '../../io/bytes.js';
import { sha256Digest, type Digest } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import type { CallOptions, Repository } from '../../oci/storage.js';
import type { FillableArchive } from './fill-list.js';
import { metadataOf } from './upstream-metadata.js';

/** A client waits meanwhile; the upstream has all that the store has. */
const DEFAULT_STORE_PATIENCE_MS = 5_000;
/** A store that does not answer makes each archive late by the patience; this long it is not asked again. */
const DEFAULT_REST_MS = 30_000;
/** Blobs of the store that were found to be damaged, to be had upstream from then on. */
const MAX_DAMAGED = 1_000;

/** Hears what {@link PullThroughSource} does. All methods may be missing. */
export interface PullThroughReporter {
  /** The store could not be asked for an archive, or gave a damaged one; it comes from upstream. */
  storeFailed?(archive: ArchiveLocation, error: FerryError): void;
}

/** What a {@link PullThroughSource} works with. */
export interface PullThroughOptions {
  /** The channel that is served. */
  readonly upstream: ChannelSource;
  /** Where archives are looked for first. */
  readonly store: ChannelStore;
  /** Hears of archives that were read from upstream from beginning to end, for the store to be filled with them. */
  readonly onFetched?: ((archive: FillableArchive) => void) | undefined;
  /** How long the store may take to its first byte, in milliseconds. @defaultValue 5,000 */
  readonly storePatienceMs?: number | undefined;
  /** How long a store that failed is left alone, in milliseconds. @defaultValue 30,000 */
  readonly restMs?: number | undefined;
  /** Monotonic milliseconds, for tests. @defaultValue `performance.now` */
  readonly now?: (() => number) | undefined;
  readonly reporter?: PullThroughReporter | undefined;
}

/**
 * The upstream channel, whose archives are read from the store where that has them. What is listed is what the upstream
 * lists: the store's own repodata names a part of it, and would make the rest look absent. An archive is asked for in the
 * store by the digest of its record, so whether it is listed there does not matter.
 */
export class PullThroughSource implements ChannelSource {
  readonly url: string;
  readonly origin?: string;
  readonly subdirs: ChannelSource['subdirs'];
  readonly openMetadata: ChannelSource['openMetadata'];
  readonly openLinked?: NonNullable<ChannelSource['openLinked']>;
  readonly openSidecar?: NonNullable<ChannelSource['openSidecar']>;
  readonly #options: PullThroughOptions;
  readonly #now: () => number;
  readonly #damaged = new Set<Digest>();
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: PullThroughOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    const { url, origin, subdirs, openMetadata, openLinked, openSidecar } = metadataOf(options.upstream);
    this.url = url;
    this.subdirs = subdirs;
    this.openMetadata = openMetadata;
    if (origin !== undefined) this.origin = origin;
    if (openLinked !== undefined) this.openLinked = openLinked;
    if (openSidecar !== undefined) this.openSidecar = openSidecar;
  }

  /**
   * Opens an archive: out of the store, or, where that does not have it or fails, from upstream. Where the store breaks off,
   * the upstream goes on from there; whoever reads checks the whole.
   * @throws IntegrityError where the store's copy turns out to be damaged at its end; the next try goes to the upstream
   */
  async *openArchive(archive: ArchiveLocation, options: OpenOptions = {}): Bytes {
    const { signal, offset = 0 } = options;
    const stored = this.#stored(archive);
    let sent = 0;
    if (stored !== undefined) {
      try {
        for await (const chunk of this.#readStored(stored, { signal, offset })) {
          sent += chunk.byteLength;
          yield chunk;
        }
        return;
      } catch (error) {
        this.#noteStoreFault(archive, stored, error, signal);
        // All of it is out, and it is wrong.
        if (error instanceof IntegrityError && sent > 0) throw error;
      }
    }
    yield* this.#fetch(archive, { signal, offset: offset + sent });
  }

  /** Asks the store first, as {@link openArchive} does. */
  async statArchive(
    archive: ArchiveLocation,
    options: CallOptions = {},
  ): Promise<{ readonly size: number | undefined } | undefined> {
    const { signal } = options;
    const stored = this.#stored(archive);
    if (stored !== undefined) {
      using patience = new Patience(this.#patienceMs, signal);
      try {
        const { repository, descriptor } = stored;
        if (await repository.exists(descriptor, { signal: patience.signal }))
          return { size: descriptor.size };
      } catch (error) {
        this.#noteStoreFault(archive, stored, patience.reasonOf(error), signal);
      }
    }
    const { upstream } = this.#options;
    if (upstream.statArchive !== undefined) return upstream.statArchive(archive, options);
    // The record is all there is to go by; whether it is true, opening the archive tells.
    return { size: archive.size };
  }

  get #patienceMs(): number {
    return this.#options.storePatienceMs ?? DEFAULT_STORE_PATIENCE_MS;
  }

  /** Where the store would have it; `undefined` where it need not be asked. */
  #stored({ subdir, filename, sha256, size }: ArchiveLocation): StoredPlace | undefined {
    if (sha256 === undefined || size === undefined || this.#now() < this.#restsUntilMs) return undefined;
    const { store } = this.#options;
    try {
      const name = parseArchiveFilename(filename);
      const digest = sha256Digest(sha256);
      if (this.#damaged.has(digest)) return undefined;
      const repository = store.packageRepository(subdir, store.schema.placeOf(name));
      return { repository, descriptor: { mediaType: packageMediaType(name.extension), digest, size } };
    } catch (error) {
      // What the schema cannot hold is never there.
      if (!isFerryError(error)) throw error;
      return undefined;
    }
  }

  async *#readStored(
    { repository, descriptor }: StoredPlace,
    { signal, offset }: { readonly signal: AbortSignal | undefined; readonly offset: number },
  ): Bytes {
    using patience = new Patience(this.#patienceMs, signal);
    try {
      const open = { signal: patience.signal, ...(offset === 0 ? {} : { offset }) };
      for await (const chunk of repository.fetch(descriptor, open)) {
        patience.end();
        yield chunk;
      }
    } catch (error) {
      throw patience.reasonOf(error);
    }
  }

  async *#fetch(archive: ArchiveLocation, options: OpenOptions): Bytes {
    yield* this.#options.upstream.openArchive(archive, options);
    const { subdir, filename, sha256, size } = archive;
    this.#options.onFetched?.({ subdir, filename, sha256, size });
  }

  #noteStoreFault(
    archive: ArchiveLocation,
    { descriptor }: StoredPlace,
    error: unknown,
    signal: AbortSignal | undefined,
  ): void {
    signal?.throwIfAborted();
    if (isFerryError(error, 'NOT_FOUND')) return;
    const fault = isFerryError(error)
      ? error
      : new FerryError('INTERNAL', 'the store failed', { cause: error });
    this.#options.reporter?.storeFailed?.(archive, fault);
    if (fault instanceof IntegrityError) {
      this.#damaged.add(descriptor.digest);
      const [oldest] = this.#damaged;
      if (this.#damaged.size > MAX_DAMAGED && oldest !== undefined) this.#damaged.delete(oldest);
      return;
    }
    // Some registries refuse to tell of repositories that are not there: that is about one archive, and comes at once.
    if (fault.code === 'DENIED' || fault.code === 'UNAUTHORIZED') return;
    this.#restsUntilMs = this.#now() + (this.#options.restMs ?? DEFAULT_REST_MS);
  }
}

interface StoredPlace {
  readonly repository: Repository;
  readonly descriptor: Descriptor;
}

/** A time limit that can be lifted, beside the caller's own signal. */
class Patience implements Disposable {
  readonly signal: AbortSignal;
  readonly #own = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number, signal: AbortSignal | undefined) {
    this.signal = signal === undefined ? this.#own.signal : AbortSignal.any([signal, this.#own.signal]);
    this.#timer = setTimeout(() => {
      this.#own.abort(new FerryError('TIMEOUT', 'the store does not answer in time'));
    }, ms);
  }

  /** Lifts the limit. */
  end(): void {
    clearTimeout(this.#timer);
  }

  /** What an error comes from: the limit, or itself. */
  reasonOf(error: unknown): unknown {
    return this.#own.signal.aborted ? this.#own.signal.reason : error;
  }

  [Symbol.dispose](): void {
    this.end();
  }
}
