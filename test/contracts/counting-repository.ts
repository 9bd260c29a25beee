import type { Bytes, OpenBytes, OpenOptions } from '#ferry/io/bytes.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import type { CallOptions, PushOptions, Repository, StoredManifest } from '#ferry/oci/storage.js';

/** A repository that passes every call on and notes the pushes. */
export class CountingRepository implements Repository {
  readonly name: string;
  /** Digests pushed, in order, failed ones too. */
  readonly pushed: string[] = [];
  readonly #inner: Repository;

  constructor(inner: Repository) {
    this.name = inner.name;
    this.#inner = inner;
  }

  exists(descriptor: Descriptor, options?: CallOptions): Promise<boolean> {
    return this.#inner.exists(descriptor, options);
  }

  fetch(descriptor: Descriptor, options?: OpenOptions): Bytes {
    return this.#inner.fetch(descriptor, options);
  }

  async push(descriptor: Descriptor, open: OpenBytes, options?: PushOptions): Promise<void> {
    this.pushed.push(descriptor.digest);
    await this.#inner.push(descriptor, open, options);
  }

  resolve(reference: string, options?: CallOptions): Promise<Descriptor | undefined> {
    return this.#inner.resolve(reference, options);
  }

  fetchManifest(reference: string, options?: CallOptions): Promise<StoredManifest | undefined> {
    return this.#inner.fetchManifest(reference, options);
  }

  tag(descriptor: Descriptor, tag: string, options?: CallOptions): Promise<void> {
    return this.#inner.tag(descriptor, tag, options);
  }

  tags(options?: CallOptions): AsyncIterable<string> {
    return this.#inner.tags(options);
  }
}
