import type { Bytes, OpenBytes, OpenOptions } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import type { OpenedBytes } from '../io/opened-bytes.js';
import type { Descriptor } from './descriptor.js';

/**
 * The content-store interfaces: what a registry, an image layout and a memory store have in common. Everything
 * else in the project is a copy between two of them. Powers that a store may lack are optional methods.
 */

/** Options of every call that waits. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Anything that content can be fetched from. */
export interface ContentSource {
  /**
   * Streams content, checked against the descriptor when read from its start: the iteration throws at its end if
   * size or digest are wrong.
   * @throws FerryError `NOT_FOUND`; IntegrityError `DIGEST_MISMATCH`, `SIZE_MISMATCH`, `SIZE_EXCEEDED`
   */
  fetch(descriptor: Descriptor, options?: OpenOptions): Bytes;
}

/** A manifest's bytes exactly as stored, with what describes them. */
export interface StoredManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** What a tag named when its new content was made out of it. */
export type ReplacedManifest = Digest | 'nothing';

/** Options of {@link Repository.tag}. */
export interface TagOptions extends CallOptions {
  /**
   * What the tag named when the new content was made out of it; with several tags, what each of them named. Then an
   * answer that was lost is not answered by writing blindly again: the tag is read, and `TAG_MOVED` thrown where somebody
   * else has written it. Stores in which no answer can be lost need not heed it: it is no condition on the write itself.
   * @defaultValue the content does not depend on what was there
   */
  readonly replaces?: ReplacedManifest | undefined;
}

/** Options of {@link Repository.push}. */
export interface PushOptions extends TagOptions {
  /** Tags the manifest gets with the push; only for manifests. */
  readonly tags?: readonly string[] | undefined;
  /** A repository of the same registry that may hold the blob, so that it need not be sent; only for blobs. */
  readonly mountFrom?: string | undefined;
}

/** Options of {@link Repository.referrers}. */
export interface ReferrersOptions extends CallOptions {
  /** Only referrers of that type, such as `application/vnd.dev.sigstore.bundle.v0.3+json`. @defaultValue all */
  readonly artifactType?: string | undefined;
}

/** Options of {@link Repository.delete}. */
export interface DeleteOptions extends CallOptions {
  /**
   * All tags that the caller takes the manifest to have. A store that sees others at that moment may refuse with
   * `UNSUPPORTED`, and removes nothing.
   * @defaultValue whatever tags there are
   */
  readonly tags?: readonly string[] | undefined;
  /**
   * Where a registry cannot hold a repository without tags, let the repository go with its last one, and with it the
   * settings that it has there, such as who may read it.
   * @defaultValue false: `delete` fails
   */
  readonly withRepository?: boolean | undefined;
}

/** Options of {@link Repository.lock}. */
export interface LockOptions extends CallOptions {
  /** How long to wait for it, in milliseconds. @defaultValue one minute */
  readonly timeoutMs?: number | undefined;
}

/** Content and tags of one repository. */
export interface Repository extends ContentSource {
  /** Full name on its registry, such as `conda-forge/linux-64/zlib`. */
  readonly name: string;
  /** Tells whether the content is there, without reading it. */
  exists(descriptor: Descriptor, options?: CallOptions): Promise<boolean>;
  /**
   * Stores content, whether it was there or not; manifests go where manifests belong, by their media type. Every
   * blob a manifest names must be there first, its subject need not. Nothing becomes visible unless all bytes match
   * the descriptor. A manifest with a subject is among the subject's {@link referrers} from then on.
   * @throws IntegrityError as `open`'s bytes differ from the descriptor; FerryError `MANIFEST_BLOB_UNKNOWN`,
   * `MANIFEST_TOO_LARGE`
   */
  push(descriptor: Descriptor, open: OpenBytes, options?: PushOptions): Promise<void>;
  /** Finds what a tag or digest names; `undefined` where there is no such manifest or repository. */
  resolve(reference: string, options?: CallOptions): Promise<Descriptor | undefined>;
  /** Reads a manifest by tag or digest in one step; `undefined` as in {@link resolve}. */
  fetchManifest(reference: string, options?: CallOptions): Promise<StoredManifest | undefined>;
  /** Names a manifest that is there. @throws FerryError `NOT_FOUND`, `TAG_MOVED` */
  tag(descriptor: Descriptor, tag: string, options?: TagOptions): Promise<void>;
  /** All tags, each once, in no order that means anything; none where the repository is absent. */
  tags(options?: CallOptions): AsyncIterable<string>;
  /**
   * Removes a manifest with all its tags, or a blob. Absent content is no error.
   * @throws FerryError `UNSUPPORTED` where this registry deletes nothing
   */
  delete?(descriptor: Descriptor, options?: DeleteOptions): Promise<void>;
  /**
   * Deletes those of the blobs that no manifest in the repository names, where the store has no collection of garbage of
   * its own. Absent ones are no error.
   * @returns what is gone
   */
  sweepBlobs?(blobs: readonly Descriptor[], options?: CallOptions): Promise<readonly Descriptor[]>;
  /**
   * Removes a tag and nothing else; what it named stays by digest. An absent tag is no error.
   * @throws FerryError `UNSUPPORTED` where this registry removes no tags
   */
  untag?(tag: string, options?: CallOptions): Promise<void>;
  /**
   * Lists the manifests that name `subject` as theirs, each once, in no order that means anything; the subject need
   * not be there. Descriptors carry `artifactType` and the annotations of the manifest, as far as the store knows them.
   * @see distribution-spec v1.1.1, "Listing Referrers"
   */
  referrers?(subject: Descriptor, options?: ReferrersOptions): AsyncIterable<Descriptor>;
  /**
   * Finds out whether a push would be let in, before anything is sent.
   * @throws FerryError with the code of what stands in the way, such as `UNAUTHORIZED` or `DENIED`
   */
  checkPush?(options?: CallOptions): Promise<void>;
  /**
   * Keeps everybody else out who asks for the same lock, until it is disposed. Only stores that can tell all their writers
   * apart have it.
   * @throws FerryError `LOCK_TIMEOUT`
   */
  lock?(options?: LockOptions): Promise<AsyncDisposable>;
  /**
   * Takes a blob over from another repository of the same registry, or from wherever the registry knows it; `false`
   * where that did not work.
   */
  mount?(descriptor: Descriptor, from: string | undefined, options?: CallOptions): Promise<boolean>;
  /** Tells the size of a blob of which only the digest is known; `undefined` where it is not there. */
  statBlob?(digest: Digest, options?: CallOptions): Promise<{ readonly size: number } | undefined>;
  /** Opens a blob where it lies on disk, unchecked; `undefined` where it is not there. Only stores on disk have it. */
  openBlob?(digest: Digest, options?: CallOptions): Promise<OpenedBytes | undefined>;
  /**
   * Where anybody may fetch a blob for a while, without credentials, such as a signed URL of the registry's storage;
   * `undefined` where the registry gives its blobs itself.
   * @throws FerryError `NOT_FOUND`, and as {@link fetch}
   */
  locateBlob?(descriptor: Descriptor, options?: CallOptions): Promise<URL | undefined>;
}

/** A set of repositories under one roof. */
export interface Registry extends AsyncDisposable {
  /** Where it is, for people: `127.0.0.1:5000` or a path. Never holds a secret. */
  readonly location: string;
  /** Where its requests go, such as `https://ghcr.io`; `undefined` where it is no server. */
  readonly origin?: string | undefined;
  /** Longest repository name it takes, in characters. */
  readonly maxNameLength: number;
  /** Requests that one blob costs, as far as that is known; 0 where the store is asked nothing. */
  readonly requestsPerBlob?: number | undefined;
  /** Where a blob costs one request: a larger one, in bytes, costs two. @defaultValue unlimited */
  readonly maxSinglePostBytes?: number | undefined;
  /** A repository, whether it exists or not; the same object for the same name. @throws ParseError `REFERENCE_INVALID` */
  repository(name: string): Repository;
  /** Names of all repositories, where the store can tell; else `undefined`. */
  repositories(options?: CallOptions): Promise<readonly string[] | undefined>;
}
