import type { Descriptor } from '#ferry/oci/descriptor.js';
import type { Registry, Repository } from '#ferry/oci/storage.js';

/** A write, about to happen or just done. */
export interface Write {
  readonly repository: string;
  readonly verb: 'push' | 'tag' | 'delete' | 'untag';
  readonly descriptor: Descriptor;
}

/** Who watches; each write waits for both. */
export interface Watcher {
  /** What it throws, the write throws. */
  readonly before?: (write: Write) => void;
  readonly after?: (write: Write) => Promise<void>;
}

/** A store that goes on as another one while somebody watches every write, so that no state goes unseen. */
export function watchedRegistry(registry: Registry, { before, after }: Watcher): Registry {
  const watch = async (write: Write, go: () => Promise<unknown> | undefined): Promise<void> => {
    before?.(write);
    await go();
    await after?.(write);
  };
  const wrap = (inner: Repository): Repository => {
    const repository = inner.name;
    return {
      name: repository,
      exists: (...args) => inner.exists(...args),
      fetch: (...args) => inner.fetch(...args),
      resolve: (...args) => inner.resolve(...args),
      fetchManifest: (...args) => inner.fetchManifest(...args),
      tags: (...args) => inner.tags(...args),
      push: (descriptor, ...args) =>
        watch({ repository, verb: 'push', descriptor }, () => inner.push(descriptor, ...args)),
      tag: (descriptor, ...args) =>
        watch({ repository, verb: 'tag', descriptor }, () => inner.tag(descriptor, ...args)),
      delete: (descriptor, options) =>
        watch({ repository, verb: 'delete', descriptor }, () => inner.delete?.(descriptor, options)),
      untag: async (tag, options) => {
        const descriptor = await inner.resolve(tag);
        const untag = (): Promise<unknown> | undefined => inner.untag?.(tag, options);
        await (descriptor === undefined ? untag() : watch({ repository, verb: 'untag', descriptor }, untag));
      },
    };
  };
  return {
    location: registry.location,
    maxNameLength: registry.maxNameLength,
    repository: (name) => wrap(registry.repository(name)),
    repositories: (options) => registry.repositories(options),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}
