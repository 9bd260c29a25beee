import type { RepodataRecord } from '../../conda/package-record.js';
import type { Content } from '../content.js';

/**
 * What the gateway's routes and pages see of a channel. Everything is brought up to date by asking, at most once in a while;
 * where the channel cannot be reached, what was there last is given, and says so.
 */
export interface ServedChannel {
  /** First component of its URLs, such as `conda-forge`. */
  readonly name: string;
  /** Label of the channel, such as `dev`; its URLs are below `/<name>/label/<label>/`. */
  readonly label: string | undefined;
  /** Where it is, for people and without secrets: `oci://ghcr.io/org/conda-forge`. */
  readonly location: string;
  /**
   * Subdirs that have repodata; `noarch` is always among them.
   * @throws FerryError what keeps the channel from being read
   */
  subdirs(options?: { readonly signal?: AbortSignal | undefined }): Promise<readonly string[]>;
  /**
   * The repodata of a subdir as it is now; `undefined` where the channel has none.
   * @throws FerryError what keeps it from being read, where nothing was there before
   */
  generation(
    subdir: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<Generation | undefined>;
}

/** Why what is given is not what may be there by now. */
export interface Staleness {
  /** When it was last known to be what is there. */
  readonly since: Date;
  /** Code of what kept us from asking, such as `NETWORK`. */
  readonly code: string;
}

/** How bytes may be encoded on their way to a client; `identity` is as they are. */
export type Encoding = 'identity' | 'zstd' | 'gzip';

/** A document in all forms it is served in; each is made once, when it is asked for first. */
export interface ServedDocument {
  /** When this state was made, where the source tells, else when it was first seen. */
  readonly modified: Date;
  readonly staleness: Staleness | undefined;
  readonly plain: Content;
  /** The form of that encoding, if it is there by now; else it is made in the background. */
  readyForm(encoding: Encoding): Content | undefined;
  /** The form of that encoding. @throws FerryError `DISK_FULL` */
  form(encoding: Encoding, signal?: AbortSignal): Promise<Content>;
}

/** One state of a subdir's repodata. */
export interface Generation extends ServedDocument {
  readonly subdir: string;
  /** The shards, once they are made; `undefined` until then. */
  readonly shards: ShardSet | undefined;
  /** Waits for the shards. @throws FerryError `REPODATA_INVALID`, `DISK_FULL` where they cannot be made */
  whenSharded(signal?: AbortSignal): Promise<ShardSet>;
}

/** A record as repodata has it, under its file name. */
export interface NamedRecord {
  readonly filename: string;
  readonly record: RepodataRecord;
  /** All that the record says, as JSON. */
  readonly document: Readonly<Record<string, unknown>>;
}

/** The records of one package name. */
export interface PackageListing {
  readonly name: string;
  readonly records: readonly NamedRecord[];
  /** File names that are listed, but whose records cannot be used. */
  readonly invalid: readonly string[];
  /** File names that are gone from the index on purpose. */
  readonly removed: readonly string[];
}

/** Sharded repodata of one generation: it also answers what the repodata says of one package, without reading it all. */
export interface ShardSet {
  /**
   * `repodata_shards.msgpack.zst`; `undefined` where some package is more than a shard may be, and clients have to take the
   * repodata.
   */
  readonly index: Content | undefined;
  /** All package names, sorted. */
  readonly names: readonly string[];
  /** How many archives are listed. */
  readonly recordCount: number;
  /** A shard by its digest, 64 lower-case hex digits; `undefined` for none of this generation. */
  shard(digest: string): Content | undefined;
  /**
   * What is said of a package; `undefined` for a name that is not listed.
   * @throws FerryError `NOT_FOUND` where it is gone by now; IntegrityError `DIGEST_MISMATCH`, `SIZE_MISMATCH`
   */
  listing(
    name: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<PackageListing | undefined>;
}
