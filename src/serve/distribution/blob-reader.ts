import { FerryError } from '../../errors.js';
import type { Bytes, OpenOptions } from '../../io/bytes.js';
import type { Digest } from '../../io/digest.js';
import type { CallOptions, Repository } from '../../oci/storage.js';
import type { ContentOrigin } from '../cache/content-source.js';
import type { Content } from '../content.js';
import { HeldAnswers, type Freshness } from './held-answers.js';

/** Which blob is meant. */
export interface WantedBlob {
  /** Of the repository, as clients know it. */
  readonly name: string;
  readonly repository: Repository;
  readonly digest: Digest;
  /** In bytes, where a manifest told it. */
  readonly size: number | undefined;
}

/** Options of {@link BlobReader}. */
export interface BlobReaderOptions extends Freshness {
  /** Brings content and keeps it: the cache. */
  readonly content: (origin: ContentOrigin, options: CallOptions) => Promise<Content>;
}

/** The media type of a blob of which only the digest is known. */
export const ANY_BYTES = 'application/octet-stream';

const MAX_STATS_BYTES = 4 * 1024 * 1024;

/** Reads blobs of which clients know the digest only. */
export class BlobReader {
  readonly #options: BlobReaderOptions;
  readonly #stats: HeldAnswers<{ readonly size: number } | undefined>;

  constructor(options: BlobReaderOptions) {
    this.#options = options;
    const { maxAgeMs } = options;
    this.#stats = new HeldAnswers({
      ...options,
      maxAgeMs: () => maxAgeMs,
      bytesOf: () => 0,
      maxBytes: MAX_STATS_BYTES,
    });
  }

  /** Brings a blob, from the store's own disk or through the cache. @throws FerryError `NOT_FOUND` and as the store */
  async read(blob: WantedBlob, options: CallOptions): Promise<Content> {
    const { repository, digest, size } = blob;
    const origin: ContentOrigin = { digest, size, open: (how) => this.#fetch(blob, how) };
    if (repository.openBlob === undefined) return this.#options.content(origin, options);
    return this.#options.content(
      { ...origin, openFile: async (how) => repository.openBlob?.(digest, how) },
      options,
    );
  }

  /**
   * Enough of a blob to answer a HEAD; what it holds is not brought, where the store can do without.
   * @throws FerryError `NOT_FOUND` and as the store
   */
  async stat(blob: WantedBlob, options: CallOptions): Promise<Content> {
    const { name, repository, digest } = blob;
    if (repository.statBlob === undefined) return this.read(blob, options);
    const stat = await this.#stats.get(`${name}@${digest}`, async (signal) =>
      repository.statBlob?.(digest, { signal }),
    );
    if (stat === undefined) throw noBlob(blob);
    return { digest, size: stat.size, open: () => Promise.reject(noBlob(blob)) };
  }

  /** Asks for the size only where no manifest told it, and only where the blob has to be fetched. */
  async *#fetch(blob: WantedBlob, options: OpenOptions = {}): Bytes {
    const { repository, digest } = blob;
    const timeLimit = AbortSignal.timeout(this.#options.timeLimitMs);
    const signal = options.signal === undefined ? timeLimit : AbortSignal.any([options.signal, timeLimit]);
    const size = blob.size ?? (await repository.statBlob?.(digest, { signal }))?.size;
    if (size === undefined) throw noBlob(blob);
    yield* repository.fetch({ mediaType: ANY_BYTES, digest, size }, options);
  }
}

function noBlob({ name, digest }: WantedBlob): FerryError {
  return new FerryError('NOT_FOUND', `\`${name}\` has no blob ${digest}`);
}
