import { isDigest, type Digest } from '../../io/digest.js';
import { tryParseImageManifest } from '../../oci/manifest.js';
import type { Repository, StoredManifest } from '../../oci/storage.js';
import { HeldAnswers, type Freshness } from './held-answers.js';

/** Manifests of conda packages have about 1 KiB. */
const MAX_HELD_BYTES = 32 * 1024 * 1024;
/** Of one digest and its size, about. */
const SIZE_BYTES = 200;
const MAX_SIZES_BYTES = 4 * 1024 * 1024;

/**
 * Reads manifests and holds them: by digest for good, by tag for a few seconds. It also remembers how large the blobs are
 * that they name, so that fetching one needs no question for its size.
 */
export class ManifestReader {
  readonly #byDigest: HeldAnswers<StoredManifest | undefined>;
  readonly #byTag: HeldAnswers<StoredManifest | undefined>;
  readonly #sizes = new Map<string, number>();

  constructor({ maxAgeMs, ...options }: Freshness) {
    const bounds = {
      ...options,
      maxBytes: MAX_HELD_BYTES,
      bytesOf: (stored: StoredManifest | undefined) => stored?.bytes.byteLength ?? 0,
    };
    const lasting = (stored: StoredManifest | undefined): number =>
      stored === undefined ? maxAgeMs : Infinity;
    this.#byDigest = new HeldAnswers({ ...bounds, maxAgeMs: lasting });
    this.#byTag = new HeldAnswers({ ...bounds, maxAgeMs: () => maxAgeMs });
  }

  /** As {@link Repository.fetchManifest}. @param name of the repository, as clients know it */
  async read(name: string, repository: Repository, reference: string): Promise<StoredManifest | undefined> {
    const held = isDigest(reference) ? this.#byDigest : this.#byTag;
    return held.get(`${name}:${reference}`, async (signal) => {
      const stored = await repository.fetchManifest(reference, { signal });
      if (stored !== undefined) {
        this.#noteSizes(name, stored);
        // Docker asks by tag first, and by digest next.
        if (!isDigest(reference)) this.#byDigest.put(`${name}:${stored.descriptor.digest}`, stored);
      }
      return stored;
    });
  }

  /** Size of a blob, if a manifest named it lately. Within the repository only: elsewhere nobody vouches for it. */
  blobSize(name: string, digest: Digest): number | undefined {
    return this.#sizes.get(`${name}@${digest}`);
  }

  #noteSizes(name: string, { bytes }: StoredManifest): void {
    const manifest = tryParseImageManifest(bytes);
    if (manifest === undefined) return;
    for (const { digest, size } of [manifest.config, ...manifest.layers]) {
      this.#sizes.delete(`${name}@${digest}`);
      this.#sizes.set(`${name}@${digest}`, size);
    }
    for (const oldest of this.#sizes.keys()) {
      if (this.#sizes.size * SIZE_BYTES <= MAX_SIZES_BYTES) break;
      this.#sizes.delete(oldest);
    }
  }
}
