import { isFerryError } from '../errors.js';
import type { Digest } from '../io/digest.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseImageIndex } from '../oci/manifest.js';
import { DOCKER_MANIFEST_LIST, IMAGE_INDEX } from '../oci/media-types.js';
import type { LayoutIndex } from './layout-index.js';

/** Indexes that are read in search of one manifest; real layouts nest a handful. */
const MAX_INDEXES = 10_000;

const known = new WeakMap<LayoutIndex, ReadonlyMap<Digest, Descriptor>>();

/**
 * Finds the manifests that only indexes below `index.json` list, each index read once however often they are asked for.
 * `readManifest` throws `NOT_FOUND` for an index that a sparse layout leaves out; what it lists is left out too.
 */
export async function nestedManifests(
  index: LayoutIndex,
  readManifest: (descriptor: Descriptor) => Promise<Uint8Array>,
): Promise<ReadonlyMap<Digest, Descriptor>> {
  const cached = known.get(index);
  if (cached !== undefined) return cached;
  const found = new Map<Digest, Descriptor>();
  const indexes = new Map([...index.digests.values()].filter(isIndex).map((entry) => [entry.digest, entry]));
  let isWhole = true;
  // The map grows while it is walked, and takes each digest once.
  for (const nested of indexes.values()) {
    try {
      for (const { mediaType, digest, size } of parseImageIndex(await readManifest(nested)).manifests) {
        const entry = { mediaType, digest, size };
        found.set(digest, entry);
        if (isIndex(entry) && !indexes.has(digest) && indexes.size < MAX_INDEXES) indexes.set(digest, entry);
      }
    } catch (error) {
      if (!isFerryError(error, 'NOT_FOUND')) throw error;
      isWhole = false;
    }
  }
  if (isWhole) known.set(index, found);
  return found;
}

function isIndex({ mediaType }: Descriptor): boolean {
  return mediaType === IMAGE_INDEX || mediaType === DOCKER_MANIFEST_LIST;
}
