import type { OpenBytes } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import type { OpenedBytes } from '../io/opened-bytes.js';
import type { CallOptions } from './storage.js';

/** What a blob to be stored must turn out to be. */
export interface ExpectedBlob {
  readonly digest: Digest;
  /** In bytes, where that is known before. */
  readonly size: number | undefined;
  /** The most that is taken where the size is not known, in bytes. @defaultValue unlimited */
  readonly maxBytes?: number | undefined;
}

/** A blob in a {@link BlobFolder}. */
export interface FolderBlob {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** When it was last written, or marked as used; in milliseconds since 1970. */
  readonly usedAt: number;
}

/**
 * Blobs on disk by digest, without names or lists: what a cache is made of. The folder may vanish at any time; then nothing
 * is there, and the next write makes it anew.
 */
export interface BlobFolder {
  /** For people: the folder's path. */
  readonly location: string;
  /** All blobs that are there. What else lies in the folder is passed over. */
  blobs(options?: CallOptions): AsyncIterable<FolderBlob>;
  /** Opens a blob as it is on disk; `undefined` where there is none. */
  open(digest: Digest): Promise<OpenedBytes | undefined>;
  /**
   * Stores a blob; it is there whole and verified, or not at all.
   * @returns its size in bytes
   * @throws IntegrityError `DIGEST_MISMATCH`, `SIZE_MISMATCH`, `SIZE_EXCEEDED`; FerryError `DISK_FULL`, `LAYOUT_INVALID`
   */
  write(expected: ExpectedBlob, open: OpenBytes, options?: CallOptions): Promise<{ readonly size: number }>;
  /** Notes that a blob was used, so that it counts as new when the folder is opened again. Best effort. */
  touch(digest: Digest): Promise<void>;
  /** Removes a blob; an absent one is no error. */
  remove(digest: Digest): Promise<void>;
}
