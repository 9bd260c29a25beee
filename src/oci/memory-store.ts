import { FerryError } from '../errors.js';
import { collect, openerOf, type Bytes, type OpenBytes, type OpenOptions } from '../io/bytes.js';
import { isDigest, type Digest } from '../io/digest.js';
import { checkBytes, verifyBytes } from '../io/verify.js';
import type { Descriptor } from './descriptor.js';
import { successorsOf } from './manifest.js';
import { isManifestMediaType } from './media-types.js';
import { MAX_NAME_LENGTH, parseRepositoryName, parseTag } from './reference.js';
import { hasArtifactType, readReferrer, type Referrer } from './referrers.js';
import type { PushOptions, ReferrersOptions, Registry, Repository, StoredManifest } from './storage.js';

/** A registry in memory: for small things on their way elsewhere, and for tests. */
export class MemoryRegistry implements Registry {
  readonly location = 'memory';
  readonly maxNameLength = MAX_NAME_LENGTH;
  readonly #repositories = new Map<string, MemoryRepository>();

  repository(name: string): MemoryRepository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const repository = new MemoryRepository(parseRepositoryName(name));
    this.#repositories.set(name, repository);
    return repository;
  }

  async repositories(): Promise<readonly string[]> {
    return Promise.resolve([...this.#repositories.values()].filter((r) => !r.isEmpty).map((r) => r.name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#repositories.clear();
    return Promise.resolve();
  }
}

/** One repository in memory. */
export class MemoryRepository implements Repository {
  readonly name: string;
  readonly #content = new Map<Digest, { readonly mediaType: string; readonly bytes: Uint8Array }>();
  readonly #tags = new Map<string, Descriptor>();
  /** By their own digest. */
  readonly #referrers = new Map<Digest, Referrer>();

  constructor(name: string) {
    this.name = name;
  }

  /** Whether nothing was ever stored, or all was deleted. */
  get isEmpty(): boolean {
    return this.#content.size === 0;
  }

  async exists(descriptor: Descriptor): Promise<boolean> {
    return Promise.resolve(this.#content.get(descriptor.digest)?.bytes.byteLength === descriptor.size);
  }

  async *fetch(descriptor: Descriptor, options: OpenOptions = {}): Bytes {
    const content = this.#content.get(descriptor.digest);
    if (content === undefined) throw this.#notFound(descriptor.digest);
    const stream = openerOf(content.bytes)(options);
    yield* (options.offset ?? 0) === 0 ? verifyBytes(stream, descriptor, descriptor.digest) : stream;
  }

  async push(descriptor: Descriptor, open: OpenBytes, options: PushOptions = {}): Promise<void> {
    const bytes = await collect(open({ signal: options.signal }), descriptor.size, descriptor.digest);
    checkBytes(bytes, descriptor, descriptor.digest);
    for (const child of successorsOf(descriptor.mediaType, bytes)) {
      if (!(await this.exists(child))) {
        throw new FerryError(
          'MANIFEST_BLOB_UNKNOWN',
          `manifest names ${child.digest}, which is not in \`${this.name}\``,
        );
      }
    }
    this.#content.set(descriptor.digest, { mediaType: descriptor.mediaType, bytes });
    const referrer = readReferrer({ descriptor, bytes });
    if (referrer !== undefined) this.#referrers.set(descriptor.digest, referrer);
    for (const tag of options.tags ?? []) await this.tag(descriptor, tag);
  }

  async resolve(reference: string): Promise<Descriptor | undefined> {
    if (!isDigest(reference)) return Promise.resolve(this.#tags.get(reference));
    const content = this.#content.get(reference);
    if (content === undefined || !isManifestMediaType(content.mediaType)) return undefined;
    return { mediaType: content.mediaType, digest: reference, size: content.bytes.byteLength };
  }

  async fetchManifest(reference: string): Promise<StoredManifest | undefined> {
    const descriptor = await this.resolve(reference);
    const content = descriptor && this.#content.get(descriptor.digest);
    return descriptor === undefined || content === undefined
      ? undefined
      : { descriptor, bytes: content.bytes };
  }

  async tag(descriptor: Descriptor, tag: string): Promise<void> {
    const found = await this.resolve(descriptor.digest);
    if (found === undefined) throw this.#notFound(descriptor.digest);
    this.#tags.set(parseTag(tag), found);
  }

  async *tags(): AsyncIterable<string> {
    await Promise.resolve();
    yield* this.#tags.keys();
  }

  async delete(descriptor: Descriptor): Promise<void> {
    this.#content.delete(descriptor.digest);
    this.#referrers.delete(descriptor.digest);
    for (const [tag, target] of this.#tags) if (target.digest === descriptor.digest) this.#tags.delete(tag);
    return Promise.resolve();
  }

  async sweepBlobs(blobs: readonly Descriptor[]): Promise<readonly Descriptor[]> {
    const named = new Set<Digest>();
    for (const { mediaType, bytes } of this.#content.values()) {
      for (const { digest } of successorsOf(mediaType, bytes)) named.add(digest);
    }
    const isNeedless = ({ mediaType, digest }: Descriptor): boolean =>
      !isManifestMediaType(mediaType) && !named.has(digest) && this.#content.delete(digest);
    return Promise.resolve(blobs.filter(isNeedless));
  }

  async untag(tag: string): Promise<void> {
    this.#tags.delete(parseTag(tag));
    return Promise.resolve();
  }

  async *referrers(subject: Descriptor, options: ReferrersOptions = {}): AsyncIterable<Descriptor> {
    await Promise.resolve();
    for (const referrer of this.#referrers.values()) {
      const isWanted = hasArtifactType(referrer.descriptor, options.artifactType);
      if (isWanted && referrer.subject.digest === subject.digest) yield referrer.descriptor;
    }
  }

  async statBlob(digest: Digest): Promise<{ readonly size: number } | undefined> {
    const content = this.#content.get(digest);
    return Promise.resolve(content && { size: content.bytes.byteLength });
  }

  #notFound(digest: Digest): FerryError {
    return new FerryError('NOT_FOUND', `\`${this.name}\` has no content ${digest}`);
  }
}
