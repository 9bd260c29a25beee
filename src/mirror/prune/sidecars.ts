import type { ChannelStore } from '../../artifact/channel-store.js';
import { TITLE } from '../../artifact/manifest-parts.js';
import type { Repodata } from '../../conda/repodata/repodata.js';
import { tryParseImageManifest } from '../../oci/manifest.js';
import type { CallOptions } from '../../oci/storage.js';
import { sidecarsOf } from '../generations/read-generation.js';

/** Tags of sidecars are the digests that records name. @see CEP draft, conda/ceps pull 142 */
const SIDECAR_TAG = /^[0-9a-f]{64}$/;
/** Such as `zlib-1.2.11-0.conda.sigs`, `zlib-1.2.11-0.conda.v0.sigs` */
const SIDECAR_TITLE = /^(.+\.(?:conda|tar\.bz2))(?:\.v\d+)?\.sigs$/;

/** What {@link findSidecars} works with. */
export interface FindSidecarsOptions extends CallOptions {
  readonly published: Repodata;
  /** Digests that records name which may be listed again. */
  readonly alsoNeeded: ReadonlySet<string>;
}

/**
 * Finds the attestation sidecars of archives that go: those that no record names any more, and whose title says that they
 * are of such an archive. None where the channel has no sidecars.
 * @returns their tags
 */
export async function findSidecars(
  store: ChannelStore,
  subdir: string,
  going: ReadonlySet<string>,
  { published, alsoNeeded, signal }: FindSidecarsOptions,
): Promise<string[]> {
  if (going.size === 0) return [];
  const repository = store.metadataRepository(subdir, 'attestations');
  const needed = sidecarsOf(published);
  const found: string[] = [];
  for await (const tag of repository.tags({ signal })) {
    if (!SIDECAR_TAG.test(tag) || needed.has(tag) || alsoNeeded.has(tag)) continue;
    const stored = await repository.fetchManifest(tag, { signal });
    if (stored === undefined) continue;
    const title = tryParseImageManifest(stored.bytes)?.layers[0]?.annotations?.[TITLE];
    const filename = title?.match(SIDECAR_TITLE)?.[1];
    if (filename !== undefined && going.has(filename)) found.push(tag);
  }
  return found.sort();
}
