import type { ChannelStore } from '../../artifact/channel-store.js';
import { layersOf } from '../../artifact/package-artifact.js';
import { compareText } from '../../io/compare-text.js';
import { digestHex } from '../../io/digest.js';
import { forEachConcurrently } from '../../io/pool.js';
import { tryParseImageManifest, type ImageManifest } from '../../oci/manifest.js';
import type { Candidate } from './candidates.js';
import type { PlannedArchive, PlannedArtifact } from './plan-document.js';

/** What {@link findArtifacts} works with. */
export interface FindArtifactsOptions {
  readonly store: ChannelStore;
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the registry what stands at the places of archives that may go: one request for each place.
 * @param ripe with the moment since which they are not listed
 * @returns what goes, and the archives that are not there, or not with the bytes that were meant
 */
export async function findArtifacts(
  subdir: string,
  ripe: readonly (readonly [Candidate, Date])[],
  { store, concurrency, signal }: FindArtifactsOptions,
): Promise<{ readonly artifacts: PlannedArtifact[]; readonly forget: string[] }> {
  const byPlace = new Map<string, (readonly [Candidate, Date])[]>();
  for (const entry of ripe) {
    const { repository, tag } = entry[0].place;
    const key = `${repository}:${tag}`;
    byPlace.set(key, [...(byPlace.get(key) ?? []), entry]);
  }
  const artifacts: PlannedArtifact[] = [];
  const forget: string[] = [];
  await forEachConcurrently(byPlace.values(), { concurrency, signal }, async (entries) => {
    const place = entries[0]?.[0].place;
    if (place === undefined) return;
    const stored = await store.packageRepository(subdir, place).fetchManifest(place.tag, { signal });
    const manifest = stored && tryParseImageManifest(stored.bytes);
    const { going, gone } = sortArchives(entries, manifest);
    forget.push(...gone);
    if (stored === undefined || manifest === undefined || going.length === 0) return;
    const digests = new Set<string>(going.map(({ digest }) => digest));
    const { packages } = layersOf(manifest);
    const stays = packages.find(({ descriptor }) => !digests.has(descriptor.digest));
    const layers = stays === undefined ? manifest.layers : packages.map(({ descriptor }) => descriptor);
    artifacts.push({
      ...place,
      manifest: stored.descriptor.digest,
      archives: going,
      ...(stays === undefined ? {} : { stays: twinName(entries[0], stays.extension) }),
      bytes: layers
        .filter(({ digest }) => stays === undefined || digests.has(digest))
        .reduce((total, { size }) => total + size, 0),
    });
  });
  artifacts.sort((a, b) => compareText(a.repository, b.repository) || compareText(a.tag, b.tag));
  return { artifacts, forget: forget.sort(compareText) };
}

/** Which of the archives are in the artifact, with the bytes that were meant. */
function sortArchives(
  entries: readonly (readonly [Candidate, Date])[],
  manifest: ImageManifest | undefined,
): { readonly going: PlannedArchive[]; readonly gone: string[] } {
  const going: PlannedArchive[] = [];
  const gone: string[] = [];
  const packages = manifest === undefined ? [] : layersOf(manifest).packages;
  for (const [{ filename, name, identity }, since] of entries) {
    const layer = packages.find(({ extension }) => extension === name.extension)?.descriptor;
    // Other bytes than the ledger speaks of were put there since: of them it tells no time.
    const isMeant =
      identity?.startsWith('sha256:') !== true ||
      identity === `sha256:${digestHex(layer?.digest ?? 'sha256:')}`;
    if (layer === undefined || !isMeant) gone.push(filename);
    else going.push({ filename, digest: layer.digest, size: layer.size, since: since.toISOString() });
  }
  return { going, gone };
}

function twinName(entry: readonly [Candidate, Date] | undefined, extension: string): string {
  const name = entry?.[0].name;
  return name === undefined ? '' : `${name.name}-${name.version}-${name.build}.${extension}`;
}
