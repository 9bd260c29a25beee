import { isFerryError } from '../errors.js';
import type { Digest } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import type { Descriptor } from '../oci/descriptor.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '../oci/media-types.js';
import { readReferrer } from '../oci/referrers.js';
import type { LayoutIndex } from './layout-index.js';
import { nestedManifests } from './nested-manifests.js';

/** Manifests read at once. */
const READ_CONCURRENCY = 8;

type Referrers = ReadonlyMap<Digest, readonly Descriptor[]>;

const known = new WeakMap<LayoutIndex, Referrers>();

/**
 * Finds the referrers of every subject, by the subject's digest: among all manifests that `index.json` or an index
 * below it lists. An image layout has no other place for them. `readManifest` throws `NOT_FOUND` for a manifest that a
 * sparse layout leaves out; such a one refers to nothing.
 */
export async function layoutReferrers(
  index: LayoutIndex,
  readManifest: (descriptor: Descriptor) => Promise<Uint8Array>,
): Promise<Referrers> {
  const cached = known.get(index);
  if (cached !== undefined) return cached;
  const found = new Map<Digest, Descriptor[]>();
  const manifests = new Map([...(await nestedManifests(index, readManifest)), ...index.digests]);
  const missing = new Set<Digest>();
  await forEachConcurrently(manifests.values(), { concurrency: READ_CONCURRENCY }, async (descriptor) => {
    if (descriptor.mediaType !== IMAGE_MANIFEST && descriptor.mediaType !== IMAGE_INDEX) return;
    try {
      const referrer = readReferrer({ descriptor, bytes: await readManifest(descriptor) });
      if (referrer === undefined) return;
      const { digest } = referrer.subject;
      const others = found.get(digest);
      if (others === undefined) found.set(digest, [referrer.descriptor]);
      else others.push(referrer.descriptor);
    } catch (error) {
      // What another tool wrote, and nobody can read as a manifest, refers to nothing.
      if (isFerryError(error, 'MANIFEST_INVALID')) return;
      if (!isFerryError(error, 'NOT_FOUND')) throw error;
      missing.add(descriptor.digest);
    }
  });
  if (missing.size === 0) known.set(index, found);
  return found;
}
