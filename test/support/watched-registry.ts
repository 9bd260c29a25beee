import type { Registry, Repository } from '#ferry/oci/storage.js';
import type { Write } from './failing-registry.js';

/** A store that goes on as another one and waits after each write for `look`, so that no state goes unseen. */
export function watchedRegistry(registry: Registry, look: (write: Write) => Promise<void>): Registry {
  const wrap = (repository: Repository): Repository => ({
    name: repository.name,
    exists: (...args) => repository.exists(...args),
    fetch: (...args) => repository.fetch(...args),
    resolve: (...args) => repository.resolve(...args),
    fetchManifest: (...args) => repository.fetchManifest(...args),
    tags: (...args) => repository.tags(...args),
    push: async (descriptor, open, options) => {
      await repository.push(descriptor, open, options);
      await look({ repository: repository.name, verb: 'push', descriptor });
    },
    tag: async (descriptor, tag, options) => {
      await repository.tag(descriptor, tag, options);
      await look({ repository: repository.name, verb: 'tag', descriptor });
    },
  });
  return {
    location: registry.location,
    maxNameLength: registry.maxNameLength,
    repository: (name) => wrap(registry.repository(name)),
    repositories: (options) => registry.repositories(options),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}
