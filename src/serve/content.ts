import type { Digest } from '../io/digest.js';
import type { OpenedBytes } from '../io/opened-bytes.js';

/**
 * Something that can be answered with: bytes that were checked before, in memory or on disk. It may be opened any number of
 * times, and at once.
 */
export interface Content {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** The bytes themselves, where they are held in memory. */
  readonly bytes?: Uint8Array | undefined;
  /**
   * Opens the bytes. What is opened stays readable until it is disposed of.
   * @throws FerryError `NOT_FOUND` where they are gone by now, as with a cache whose folder was deleted
   */
  open(): Promise<OpenedBytes>;
}
