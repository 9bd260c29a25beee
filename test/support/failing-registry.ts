import type { Registry } from '#ferry/oci/storage.js';
import { watchedRegistry, type Write } from './watched-registry.js';

/** A store that goes on as another one until `fails` says so: from then on every write throws, as after a kill. */
export function failingRegistry(registry: Registry, fails: (write: Write) => boolean): Registry {
  let isDead = false;
  return watchedRegistry(registry, {
    before: (write) => {
      isDead ||= fails(write);
      if (isDead) throw new Error('killed');
    },
  });
}
