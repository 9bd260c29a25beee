import { MemoryRegistry, type MemoryRepository } from '#ferry/oci/memory-store.js';
import type { Bytes, OpenBytes, OpenOptions } from '#ferry/io/bytes.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import type { CallOptions, PushOptions, Registry, Repository, StoredManifest } from '#ferry/oci/storage.js';

/** A registry in memory that notes what is pushed and tagged. */
export class RecordingRegistry implements Registry {
  readonly location = 'memory';
  readonly maxNameLength: number;
  /** Digests pushed and tags moved, in order. */
  readonly writes: string[] = [];
  readonly inner = new MemoryRegistry();
  /** Called with each tag read before its answer is given. */
  onRead: (tag: string) => Promise<void> = () => Promise.resolve();
  readonly #canList: boolean;

  constructor(options: { readonly maxNameLength?: number; readonly canList?: boolean } = {}) {
    this.maxNameLength = options.maxNameLength ?? this.inner.maxNameLength;
    this.#canList = options.canList ?? true;
  }

  repository(name: string): Repository {
    return new RecordingRepository(this.inner.repository(name), this);
  }

  async repositories(): Promise<readonly string[] | undefined> {
    return this.#canList ? this.inner.repositories() : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}

class RecordingRepository implements Repository {
  readonly name: string;
  readonly #inner: MemoryRepository;
  readonly #registry: RecordingRegistry;

  constructor(inner: MemoryRepository, registry: RecordingRegistry) {
    this.name = inner.name;
    this.#inner = inner;
    this.#registry = registry;
  }

  exists(descriptor: Descriptor): Promise<boolean> {
    return this.#inner.exists(descriptor);
  }

  fetch(descriptor: Descriptor, options?: OpenOptions): Bytes {
    return this.#inner.fetch(descriptor, options);
  }

  async push(descriptor: Descriptor, open: OpenBytes, options?: PushOptions): Promise<void> {
    await this.#inner.push(descriptor, open, options);
    this.#registry.writes.push(descriptor.digest, ...(options?.tags ?? []));
  }

  async resolve(reference: string): Promise<Descriptor | undefined> {
    await this.#registry.onRead(reference);
    return this.#inner.resolve(reference);
  }

  async fetchManifest(reference: string): Promise<StoredManifest | undefined> {
    await this.#registry.onRead(reference);
    return this.#inner.fetchManifest(reference);
  }

  async tag(descriptor: Descriptor, tag: string, _options?: CallOptions): Promise<void> {
    await this.#inner.tag(descriptor, tag);
    this.#registry.writes.push(tag);
  }

  tags(): AsyncIterable<string> {
    return this.#inner.tags();
  }
}
