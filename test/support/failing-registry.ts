import type { Descriptor } from '#ferry/oci/descriptor.js';
import type { Registry, Repository } from '#ferry/oci/storage.js';

/** A write that is about to happen. */
export interface Write {
  readonly repository: string;
  readonly verb: 'push' | 'tag' | 'delete' | 'untag';
  readonly descriptor: Descriptor;
}

/** A store that goes on as another one until `fails` says so: from then on every write throws, as after a kill. */
export function failingRegistry(registry: Registry, fails: (write: Write) => boolean): Registry {
  let isDead = false;
  const check = (write: Write): void => {
    isDead ||= fails(write);
    if (isDead) throw new Error('killed');
  };
  const wrap = (repository: Repository): Repository => ({
    name: repository.name,
    exists: (...args) => repository.exists(...args),
    fetch: (...args) => repository.fetch(...args),
    resolve: (...args) => repository.resolve(...args),
    fetchManifest: (...args) => repository.fetchManifest(...args),
    tags: (...args) => repository.tags(...args),
    push: async (descriptor, open, options) => {
      check({ repository: repository.name, verb: 'push', descriptor });
      await repository.push(descriptor, open, options);
    },
    tag: async (descriptor, tag, options) => {
      check({ repository: repository.name, verb: 'tag', descriptor });
      await repository.tag(descriptor, tag, options);
    },
    delete: async (descriptor, options) => {
      check({ repository: repository.name, verb: 'delete', descriptor });
      await repository.delete?.(descriptor, options);
    },
    untag: async (tag, options) => {
      const descriptor = await repository.resolve(tag);
      if (descriptor !== undefined) check({ repository: repository.name, verb: 'untag', descriptor });
      await repository.untag?.(tag, options);
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
