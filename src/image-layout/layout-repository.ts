import { join } from 'node:path';
import { FerryError, isFerryError } from '../errors.js';
import { collect, openerOf, type Bytes, type OpenBytes, type OpenOptions } from '../io/bytes.js';
import { isDigest, type Digest } from '../io/digest.js';
import { acquireDirectoryLock } from '../io/directory-lock.js';
import type { OpenedBytes } from '../io/opened-bytes.js';
import { forEachConcurrently } from '../io/pool.js';
import { checkBytes, verifyBytes } from '../io/verify.js';
import type { Descriptor } from '../oci/descriptor.js';
import { MAX_MANIFEST_BYTES, successorsOf } from '../oci/manifest.js';
import { isManifestMediaType } from '../oci/media-types.js';
import { parseTag } from '../oci/reference.js';
import { hasArtifactType } from '../oci/referrers.js';
import type {
  CallOptions,
  LockOptions,
  PushOptions,
  ReferrersOptions,
  Repository,
  StoredManifest,
} from '../oci/storage.js';
import type { IndexFile } from './index-file.js';
import type { LayoutFolder } from './layout-folder.js';
import type { LayoutIndex } from './layout-index.js';
import { layoutReferrers } from './layout-referrers.js';
import { nestedManifests } from './nested-manifests.js';

/** Looks at the disk under way at once while the children of a manifest are checked. */
const CHECK_CONCURRENCY = 8;
/** Beside that of `index.json`, which is held for one write only. */
const WRITERS_LOCK = '.writers';

/** One repository as an OCI image layout on disk. Made by `LayoutRegistry`. */
export class LayoutRepository implements Repository {
  readonly name: string;
  readonly #folder: LayoutFolder;
  readonly #index: IndexFile;
  /** The layout of another repository under the same root. */
  readonly #folderOf: (name: string) => LayoutFolder;

  constructor(
    name: string,
    folder: LayoutFolder,
    index: IndexFile,
    folderOf: (name: string) => LayoutFolder,
  ) {
    this.name = name;
    this.#folder = folder;
    this.#index = index;
    this.#folderOf = folderOf;
  }

  /** Where it lies. */
  get folder(): LayoutFolder {
    return this.#folder;
  }

  /** Waits until nothing is being written any more. */
  async settled(): Promise<void> {
    await this.#index.settled();
  }

  /**
   * Tells whether there is a file of that size; for a manifest also whether it is listed, since a killed push may have
   * written the file and not the list.
   */
  async exists(descriptor: Descriptor, options: CallOptions = {}): Promise<boolean> {
    options.signal?.throwIfAborted();
    if (!isManifestMediaType(descriptor.mediaType)) return this.#folder.hasBlob(descriptor);
    return (await this.resolve(descriptor.digest, options))?.size === descriptor.size;
  }

  async *fetch(descriptor: Descriptor, options: OpenOptions = {}): Bytes {
    const stream = this.#folder.readBlob(descriptor.digest, options);
    yield* (options.offset ?? 0) === 0 ? verifyBytes(stream, descriptor, descriptor.digest) : stream;
  }

  /** Stores content. A blob that is there is not read again; a manifest is listed in `index.json`, tagged or not. */
  async push(descriptor: Descriptor, open: OpenBytes, options: PushOptions = {}): Promise<void> {
    const { signal } = options;
    signal?.throwIfAborted();
    const tags = (options.tags ?? []).map(parseTag);
    if (isManifestMediaType(descriptor.mediaType)) {
      await this.#pushManifest(descriptor, open, tags, signal);
      return;
    }
    if (tags.length > 0) {
      throw new FerryError('MANIFEST_INVALID', `\`${descriptor.mediaType}\` is no manifest and takes no tag`);
    }
    if (await this.#folder.hasBlob(descriptor)) return;
    const { mountFrom } = options;
    if (mountFrom !== undefined && (await this.mount(descriptor, mountFrom, { signal }))) return;
    await this.#folder.writeBlob(descriptor, open, signal);
  }

  async resolve(reference: string, options: CallOptions = {}): Promise<Descriptor | undefined> {
    options.signal?.throwIfAborted();
    const index = await this.#index.read();
    const descriptor = isDigest(reference)
      ? await this.#findByDigest(index, reference)
      : index.tags.get(reference);
    // A layout may be sparse: what it lists need not be there.
    return descriptor !== undefined && (await this.#folder.hasBlob(descriptor)) ? descriptor : undefined;
  }

  async fetchManifest(reference: string, options: CallOptions = {}): Promise<StoredManifest | undefined> {
    const descriptor = await this.resolve(reference, options);
    if (descriptor === undefined) return undefined;
    try {
      return { descriptor, bytes: await this.#readManifest(descriptor, options) };
    } catch (error) {
      // Deleted since it was resolved.
      if (isFerryError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  async tag(descriptor: Descriptor, tag: string, options: CallOptions = {}): Promise<void> {
    const tags = [parseTag(tag)];
    const found = await this.resolve(descriptor.digest, options);
    if (found === undefined) throw this.#notFound(descriptor.digest);
    if (isListed(await this.#index.read(), found, tags)) return;
    await this.#index.commit(async (editor) => {
      const isThere = !editor.isRemoved(found.digest) && (await this.#folder.hasBlob(found));
      if (!isThere) throw this.#notFound(found.digest);
      editor.list(found, tags);
      return undefined;
    }, options.signal);
  }

  async *tags(options: CallOptions = {}): AsyncIterable<string> {
    options.signal?.throwIfAborted();
    yield* (await this.#index.read()).tags.keys();
  }

  async delete(descriptor: Descriptor, options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (!(await this.#folder.exists())) return;
    if (!isManifestMediaType(descriptor.mediaType)) {
      await this.#folder.removeBlob(descriptor.digest);
      return;
    }
    await this.#index.commit(async (editor) => {
      editor.remove(descriptor.digest);
      // After the list, so that at no moment something listed is missing; nor if a push in the same batch listed it again.
      return Promise.resolve(async () => {
        if (editor.isRemoved(descriptor.digest)) await this.#folder.removeBlob(descriptor.digest);
      });
    }, options.signal);
  }

  /** Under the lock, and a push looks again under the lock too: nothing that is listed meanwhile loses a blob. */
  async sweepBlobs(blobs: readonly Descriptor[], options: CallOptions = {}): Promise<readonly Descriptor[]> {
    options.signal?.throwIfAborted();
    if (!(await this.#folder.exists())) return [];
    const gone: Descriptor[] = [];
    await this.#index.commit(
      () =>
        Promise.resolve(async () => {
          const named = await this.#namedBlobs();
          for (const blob of blobs) {
            if (isManifestMediaType(blob.mediaType) || named.has(blob.digest)) continue;
            await this.#folder.removeBlob(blob.digest);
            gone.push(blob);
          }
        }),
      options.signal,
    );
    return gone;
  }

  async untag(tag: string, options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const known = parseTag(tag);
    if (!(await this.#index.read()).tags.has(known)) return;
    await this.#index.commit(async (editor) => {
      editor.untag(known);
      return Promise.resolve(undefined);
    }, options.signal);
  }

  /** Reads all manifests that the layout lists, once for each state of `index.json`. */
  async *referrers(subject: Descriptor, options: ReferrersOptions = {}): AsyncIterable<Descriptor> {
    options.signal?.throwIfAborted();
    const all = await layoutReferrers(await this.#index.read(), (manifest) =>
      this.#readManifest(manifest, options),
    );
    for (const referrer of all.get(subject.digest) ?? []) {
      if (hasArtifactType(referrer, options.artifactType)) yield referrer;
    }
  }

  /** For changes that take more than one write; single ones are safe without. */
  async lock({ signal, timeoutMs }: LockOptions = {}): Promise<AsyncDisposable> {
    signal?.throwIfAborted();
    await this.#folder.checkBeforeWriting();
    await this.#folder.makeLayout();
    return acquireDirectoryLock(join(this.#folder.path, WRITERS_LOCK), { signal, timeoutMs });
  }

  /** Takes a blob over as a second name of the same file, where the disk can do that. */
  async mount(descriptor: Descriptor, from: string, options: CallOptions = {}): Promise<boolean> {
    options.signal?.throwIfAborted();
    return (
      (await this.#folder.hasBlob(descriptor)) || this.#folder.linkBlob(descriptor, this.#folderOf(from))
    );
  }

  async statBlob(digest: Digest, options: CallOptions = {}): Promise<{ readonly size: number } | undefined> {
    options.signal?.throwIfAborted();
    const size = await this.#folder.blobSize(digest);
    return size === undefined ? undefined : { size };
  }

  async openBlob(digest: Digest, options: CallOptions = {}): Promise<OpenedBytes | undefined> {
    options.signal?.throwIfAborted();
    return this.#folder.openBlob(digest);
  }

  async #pushManifest(
    descriptor: Descriptor,
    open: OpenBytes,
    tags: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const limit = Math.min(descriptor.size, MAX_MANIFEST_BYTES);
    const bytes = await collect(open({ signal }), limit, `manifest ${descriptor.digest}`);
    checkBytes(bytes, descriptor, `manifest ${descriptor.digest}`);
    const children = successorsOf(descriptor.mediaType, bytes);
    await this.#checkChildren(children, signal);
    const isThere = await this.#folder.hasBlob(descriptor);
    if (!isThere) await this.#folder.writeBlob(descriptor, openerOf(bytes), signal);
    if (isThere && isListed(await this.#index.read(), descriptor, tags)) return;
    await this.#index.commit(async (editor) => {
      // A deletion may have come between; from here on the lock keeps it out.
      if (!(await this.#folder.hasBlob(descriptor)))
        await this.#folder.writeBlob(descriptor, openerOf(bytes));
      await this.#checkChildren(children);
      editor.list(descriptor, tags);
      return undefined;
    }, signal);
  }

  async #checkChildren(children: readonly Descriptor[], signal?: AbortSignal): Promise<void> {
    await forEachConcurrently(children, { concurrency: CHECK_CONCURRENCY, signal }, async (child) => {
      if (await this.#folder.hasBlob(child)) return;
      throw new FerryError(
        'MANIFEST_BLOB_UNKNOWN',
        `manifest names ${child.digest}, which is not in \`${this.name}\``,
      );
    });
  }

  /** What any manifest names, tagged or not. @throws FerryError `MANIFEST_INVALID` where that cannot be told */
  async #namedBlobs(): Promise<ReadonlySet<Digest>> {
    const index = await this.#index.read();
    const nested = await nestedManifests(index, (manifest) => this.#readManifest(manifest, {}));
    const named = new Set<Digest>();
    for (const { digest, mediaType, size } of [...index.digests.values(), ...nested.values()]) {
      named.add(digest);
      try {
        const bytes = await this.#readManifest({ digest, mediaType, size }, {});
        for (const child of successorsOf(mediaType, bytes)) named.add(child.digest);
      } catch (error) {
        // A layout may be sparse.
        if (!isFerryError(error, 'NOT_FOUND')) throw error;
      }
    }
    return named;
  }

  async #findByDigest(index: LayoutIndex, digest: Digest): Promise<Descriptor | undefined> {
    const listed = index.digests.get(digest);
    if (listed !== undefined) return listed;
    return (await nestedManifests(index, (nested) => this.#readManifest(nested, {}))).get(digest);
  }

  async #readManifest(descriptor: Descriptor, options: CallOptions): Promise<Uint8Array> {
    return collect(this.fetch(descriptor, options), MAX_MANIFEST_BYTES, `manifest ${descriptor.digest}`);
  }

  #notFound(digest: Digest): FerryError {
    return new FerryError('NOT_FOUND', `\`${this.name}\` has no manifest ${digest}`);
  }
}

/** Whether the index says already what listing the manifest under these tags would make it say. */
function isListed(index: LayoutIndex, { digest }: Descriptor, tags: readonly string[]): boolean {
  return index.digests.has(digest) && tags.every((tag) => index.tags.get(tag)?.digest === digest);
}
