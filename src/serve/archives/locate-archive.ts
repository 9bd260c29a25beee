import { packageMediaType } from '../../artifact/media-types.js';
import type { ChannelStore } from '../../artifact/channel-store.js';
import { layersOf } from '../../artifact/package-artifact.js';
import { parseArchiveFilename, type ArchiveName } from '../../conda/names.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import { FerryError, isFerryError } from '../../errors.js';
import type { OpenBytes } from '../../io/bytes.js';
import { sha256Digest, type Digest } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { parseImageManifest } from '../../oci/manifest.js';
import type { Repository } from '../../oci/storage.js';
import type { ContentOrigin } from '../cache/content-source.js';
import type { GatewayChannel } from '../channels/gateway-channel.js';

/** Where the bytes of an archive are. */
export interface LocatedArchive extends ContentOrigin {
  /** Where the registry says that anybody may fetch it, if it does. */
  readonly locate?: ((signal: AbortSignal) => Promise<URL | undefined>) | undefined;
}

/** An archive of which nothing tells a sha256: it has to be fetched to know. */
export interface UnknownArchive {
  readonly digest: undefined;
  readonly open: OpenBytes;
}

/**
 * Finds where the bytes of an archive are: by the digest of its record, or as its artifact has them.
 * @param record as the repodata has it; `undefined` where it is not listed
 * @throws FerryError `ARCHIVE_ABSENT`, `NAME_UNREPRESENTABLE`, `MANIFEST_INVALID`; whatever the store throws
 */
export async function locateArchive(
  channel: GatewayChannel,
  subdir: string,
  filename: string,
  record: RepodataRecord | undefined,
  signal: AbortSignal,
): Promise<LocatedArchive | UnknownArchive> {
  const { source, store } = channel;
  const name = parseArchiveFilename(filename);
  const location = { subdir, filename, sha256: record?.sha256, size: record?.size, url: record?.url };
  const openArchive: OpenBytes = (options) => source.openArchive(location, options);
  if (store === undefined) {
    if (record?.sha256 === undefined) return { digest: undefined, open: openArchive };
    return { digest: sha256Digest(record.sha256), size: record.size, open: openArchive };
  }
  const place = store.schema.placeOf(name);
  const repository = store.packageRepository(subdir, place);
  const descriptor =
    record?.sha256 === undefined
      ? await readLayer(store, repository, name, signal)
      : await describeBlob(repository, name, sha256Digest(record.sha256), record.size, signal);
  // Without a size it can be had through its artifact only.
  if (descriptor === undefined)
    return { digest: sha256Digest(record?.sha256 ?? ''), size: undefined, open: openArchive };
  const { digest, size } = descriptor;
  return {
    digest,
    size,
    open: (options) => blobOrArtifact(repository, descriptor, openArchive, options),
    ...(repository.openBlob && {
      openFile: (options) => repository.openBlob?.(digest, options) ?? nothing(),
    }),
    ...(repository.locateBlob && {
      locate: (ends) => repository.locateBlob?.(descriptor, { signal: ends }) ?? nothing(),
    }),
  };
}

async function nothing(): Promise<undefined> {
  return Promise.resolve(undefined);
}

/** One request by digest; a pull-through cache has the blob only after it was asked for the manifest. */
async function* blobOrArtifact(
  repository: Repository,
  descriptor: Descriptor,
  openArchive: OpenBytes,
  options: Parameters<OpenBytes>[0],
): ReturnType<OpenBytes> {
  let hasBegun = false;
  try {
    for await (const chunk of repository.fetch(descriptor, options)) {
      hasBegun = true;
      yield chunk;
    }
  } catch (error) {
    if (hasBegun || !isFerryError(error, 'NOT_FOUND')) throw error;
    yield* openArchive(options);
  }
}

async function describeBlob(
  repository: Repository,
  { extension }: ArchiveName,
  digest: Digest,
  size: number | undefined,
  signal: AbortSignal,
): Promise<Descriptor | undefined> {
  const known = size ?? (await repository.statBlob?.(digest, { signal }))?.size;
  return known === undefined ? undefined : { mediaType: packageMediaType(extension), digest, size: known };
}

/** The archive's layer as its artifact has it. @throws FerryError `ARCHIVE_ABSENT` */
async function readLayer(
  store: ChannelStore,
  repository: Repository,
  name: ArchiveName,
  signal: AbortSignal,
): Promise<Descriptor> {
  const { tag } = store.schema.placeOf(name);
  const stored = await repository.fetchManifest(tag, { signal });
  const layers = stored === undefined ? [] : layersOf(parseImageManifest(stored.bytes)).packages;
  const layer = layers.find(({ extension }) => extension === name.extension);
  if (layer === undefined)
    throw new FerryError('ARCHIVE_ABSENT', `\`${repository.name}:${tag}\` does not hold it`);
  return layer.descriptor;
}
