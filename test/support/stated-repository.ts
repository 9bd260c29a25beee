import type { Repository } from '#ferry/oci/storage.js';

/** Powers of stores on disk. */
export type BlobPowers = Pick<Repository, 'statBlob' | 'openBlob'>;

/** A repository to read, with powers that it does not have by itself. */
export function statedRepository(inner: Repository, powers: BlobPowers): Repository {
  return {
    name: inner.name,
    exists: (...args) => inner.exists(...args),
    fetch: (...args) => inner.fetch(...args),
    push: (...args) => inner.push(...args),
    resolve: (...args) => inner.resolve(...args),
    fetchManifest: (...args) => inner.fetchManifest(...args),
    tag: (...args) => inner.tag(...args),
    tags: (...args) => inner.tags(...args),
    ...(inner.referrers === undefined ? {} : { referrers: inner.referrers.bind(inner) }),
    ...powers,
  };
}
