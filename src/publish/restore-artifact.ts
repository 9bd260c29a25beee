import type { ChannelStore } from '../artifact/channel-store.js';
import type { ListingEntry } from '../artifact/operation-log.js';
import { layersOf, makePackageArtifact, type StoredArchive } from '../artifact/package-artifact.js';
import { parseArchiveFilename } from '../conda/names.js';
import { digestHex, type Digest } from '../io/digest.js';
import { copyGraph } from '../oci/copy-graph.js';
import { tryParseImageManifest } from '../oci/manifest.js';
import type { CallOptions } from '../oci/storage.js';

/**
 * Makes the tag of an archive name the bytes that are listed, after another writer of the same name put others there. All
 * blobs are there, since that archive was stored first. Where its manifest is gone nothing can be done, and `verify` says so.
 * @returns whether the tag names them now
 */
export async function restoreArtifact(
  store: ChannelStore,
  subdir: string,
  entry: ListingEntry,
  { signal }: CallOptions,
): Promise<boolean> {
  const { filename, record, manifest } = entry;
  if (manifest === undefined) return false;
  const name = parseArchiveFilename(filename);
  const place = store.schema.placeOf(name);
  const repository = store.packageRepository(subdir, place);
  const present = await repository.fetchManifest(place.tag, { signal });
  const existing = present && tryParseImageManifest(present.bytes);
  const isListed = (layers: ReturnType<typeof layersOf>): boolean =>
    layers.packages.some(({ descriptor }) => digestHex(descriptor.digest) === record.sha256);
  if (existing !== undefined && isListed(layersOf(existing))) return true;
  const stored = await repository.fetchManifest(manifest, { signal });
  const own = stored && tryParseImageManifest(stored.bytes);
  if (stored === undefined || own === undefined) return false;
  const { packages, info, index } = layersOf(own);
  const layer = packages.find(({ descriptor }) => digestHex(descriptor.digest) === record.sha256)?.descriptor;
  const md5 = layer?.annotations?.[store.schema.md5Annotation];
  if (layer === undefined || md5 === undefined || info === undefined || index === undefined) return false;
  const twins = existing === undefined || !store.schema.holdsTwins ? undefined : existing;
  const hasTwin =
    twins !== undefined && layersOf(twins).packages.some(({ extension }) => extension !== name.extension);
  if (!hasTwin) {
    await repository.tag(stored.descriptor, place.tag, { signal });
    return true;
  }
  const archive: StoredArchive = {
    name,
    layer: { filename, extension: name.extension, digest: layer.digest, size: layer.size, md5 },
    // Else those of the twin lead.
    info:
      name.extension === 'conda'
        ? {
            info,
            index,
            annotations: own.annotations,
            fetch: (wanted, open) => repository.fetch(wanted, open),
          }
        : undefined,
    open: (open) => repository.fetch(layer, open),
  };
  const artifact = makePackageArtifact(store.schema, [archive], { existing: twins });
  await copyGraph(artifact, repository, artifact.descriptor, { tags: [place.tag], signal });
  return true;
}

/** Finds the artifact of an archive with these very bytes. @returns its manifest; `undefined` where the tag names none or others */
export async function findArchive(
  store: ChannelStore,
  subdir: string,
  filename: string,
  sha256: string,
  { signal }: CallOptions,
): Promise<Digest | undefined> {
  const place = store.schema.placeOf(parseArchiveFilename(filename));
  const present = await store.packageRepository(subdir, place).fetchManifest(place.tag, { signal });
  const manifest = present && tryParseImageManifest(present.bytes);
  const packages = manifest === undefined ? [] : layersOf(manifest).packages;
  const isThere = packages.some(({ descriptor }) => digestHex(descriptor.digest) === sha256);
  return isThere ? present?.descriptor.digest : undefined;
}
