/**
 * Archives that need not move: the source is a channel in the destination's own registry, which takes blobs over from
 * one repository into another. Nobody reads them here, and nobody has to: the registry names each blob by its digest,
 * and the one that is mounted is the one that the record names. Info and index are taken over with it, as whoever
 * packed them there left them.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import { OciChannel } from '../artifact/oci-channel.js';
import { checkPackedInfo, type StoredArchive, type StoredInfo } from '../artifact/package-artifact.js';
import { MAX_INDEX_JSON_BYTES } from '../conda/archive/limits.js';
import type { HeldArchive } from '../artifact/relabel.js';
import type { ChannelSource } from '../conda/channel-source.js';
import { parseArchiveFilename } from '../conda/names.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { isFerryError } from '../errors.js';
import { collect } from '../io/bytes.js';
import type { Descriptor } from '../oci/descriptor.js';
import type { CallOptions } from '../oci/storage.js';
import type { TagWork } from './plan.js';
import { fromSource, isSameRegistry, readStoredArtifact, type StoredArtifact } from './stored-artifact.js';

/** What {@link findMountable} came to. */
export interface Mountable {
  /** Repository that may hold the blobs, such as `org/conda-forge/noarch/zlib`. */
  readonly from: string;
  /** Archives that need not be read. The others are fetched; their blobs may be mounted all the same. */
  readonly archives: ReadonlyMap<RepodataRecord, StoredArchive>;
}

/** The channel that blobs can be mounted from, if the source is one, and another one than the destination. */
export function mountableSource(source: ChannelSource, destination: ChannelStore): ChannelStore | undefined {
  if (!(source instanceof OciChannel) || !isSameRegistry(source.store, destination)) return undefined;
  return source.store.path === destination.path ? undefined : source.store;
}

/**
 * Looks at the source's artifact: which archives of an item it holds as their records say, with all that an artifact
 * needs of them. Whatever cannot be told for certain is left out; then the archive is fetched, and fails or goes well as
 * from any other source.
 */
export async function findMountable(
  { subdir, add }: TagWork,
  isWanted: (record: RepodataRecord) => boolean,
  source: ChannelStore,
  { signal }: CallOptions,
): Promise<Mountable | undefined> {
  // An md5 alone names no blob, and a size that nobody says might be anything in the manifest.
  const records = add.filter(
    (record) => isWanted(record) && record.sha256 !== undefined && record.size !== undefined,
  );
  const [first] = add;
  const place = first && (await unlessUnusable(() => source.schema.placeOf(first)));
  if (place === undefined) return undefined;
  const archives = new Map<RepodataRecord, StoredArchive>();
  const mountable = { from: source.repositoryName(subdir, place.repository), archives };
  if (records.length === 0) return mountable;
  const artifact = await unlessUnusable(() => readStoredArtifact(source, subdir, place, records, { signal }));
  if (artifact === undefined) return mountable;
  const [leader, ...others] = artifact.parts.archives;
  const info = await unlessUnusable(() => infoOf(artifact, { signal }));
  const keep = ({ record, layer, md5 }: HeldArchive, ownInfo: StoredInfo | undefined): void => {
    if (md5 !== undefined) archives.set(record, storedArchive(record, { ...layer, md5 }, ownInfo, artifact));
  };
  // Without the one whose info it is, the others have none to go with.
  if (leader?.md5 === undefined || info === undefined) return mountable;
  keep(leader, info);
  for (const other of others) keep(other, undefined);
  return mountable;
}

function storedArchive(
  { filename, extension }: RepodataRecord,
  layer: Descriptor & { readonly md5: string },
  info: StoredInfo | undefined,
  { repository }: StoredArtifact,
): StoredArchive {
  return {
    name: parseArchiveFilename(filename),
    layer: { filename, extension, digest: layer.digest, size: layer.size, md5: layer.md5 },
    open: (open) => fromSource(repository.fetch(layer, open), layer),
    info,
  };
}

/** What is wrong with the artifact is said by fetching the archive, which asks in more than one way. */
async function unlessUnusable<T>(look: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    if (!isFerryError(error) || error.code === 'INTERNAL') throw error;
    return undefined;
  }
}

/**
 * Info and index of the archive that leads; `undefined` where the artifact has none of its own. Of an artifact that is
 * not ours, the index is read first: whoever wrote that may not have looked whether it is this package's.
 */
async function infoOf(
  { parts, repository, isCanonical }: StoredArtifact,
  { signal }: CallOptions,
): Promise<StoredInfo | undefined> {
  const { info: own, annotations, archives } = parts;
  const [leader] = archives;
  if (own === undefined || leader === undefined) return undefined;
  if (!isCanonical) {
    const { filename, listedIn } = leader.record;
    const body = fromSource(repository.fetch(own.index, { signal }), own.index);
    const indexJson = await collect(body, MAX_INDEX_JSON_BYTES, `index of \`${filename}\``);
    checkPackedInfo({ indexJson, innerStem: undefined }, filename, listedIn);
  }
  return {
    ...own,
    annotations,
    fetch: (wanted, open) => fromSource(repository.fetch(wanted, open), wanted),
  };
}
