import type { Descriptor } from '../../oci/descriptor.js';
import { tryParseImageManifest } from '../../oci/manifest.js';
import type { CallOptions, Repository } from '../../oci/storage.js';

/**
 * Runs a deletion of manifests, then deletes the blobs that only these named, where the store has no collection of
 * garbage of its own. Registries have one, and are asked for nothing here. Configs stay: writers remember where they are.
 * @param references tags or digests of the manifests that are to go
 */
export async function withSweep<T>(
  repository: Repository,
  references: readonly string[],
  work: () => Promise<T>,
  options: CallOptions,
): Promise<T> {
  if (repository.sweepBlobs === undefined) return work();
  const layers: Descriptor[] = [];
  for (const reference of references) {
    const stored = await repository.fetchManifest(reference, options);
    if (stored === undefined) continue;
    // No image manifest: what it names is nothing of ours.
    layers.push(...(tryParseImageManifest(stored.bytes)?.layers ?? []));
  }
  const result = await work();
  if (layers.length > 0) await repository.sweepBlobs(layers, options);
  return result;
}
