/** One artifact of a channel that is only read, whose blobs may be mounted where both channels are in one registry. */
import { isCanonical } from '../artifact/package-artifact.js';
import type { ChannelStore } from '../artifact/channel-store.js';
import { readParts, type ArtifactParts } from '../artifact/relabel.js';
import type { PackagePlace } from '../artifact/schema.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { CopyError, FerryError, isFerryError } from '../errors.js';
import type { Bytes } from '../io/bytes.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseImageManifest } from '../oci/manifest.js';
import type { CallOptions, Repository } from '../oci/storage.js';
import { destinationError } from './receive.js';

/** An artifact taken apart. */
export interface StoredArtifact {
  readonly repository: Repository;
  readonly parts: ArtifactParts;
  /** Whether it is exactly what we would write, by its own schema. */
  readonly isCanonical: boolean;
}

/**
 * Tells whether blobs of the one channel may be mounted into the other. A mount that was tried in vain costs one
 * request; so it is enough that both registries have one name, such as `ghcr.io`.
 */
export function isSameRegistry(a: ChannelStore, b: ChannelStore): boolean {
  return a.registry === b.registry || a.registry.location === b.registry.location;
}

/**
 * Reads the artifact at a place, as far as records say what should be in it.
 * @throws CopyError (source) where it could not be read; FerryError `ARCHIVE_ABSENT` where there is none,
 * `MANIFEST_INVALID`
 */
export async function readStoredArtifact(
  source: ChannelStore,
  subdir: string,
  place: PackagePlace,
  records: readonly RepodataRecord[],
  { signal }: CallOptions,
): Promise<StoredArtifact> {
  const repository = source.packageRepository(subdir, place);
  const stored = await atSource(repository.fetchManifest(place.tag, { signal }), repository);
  if (stored === undefined) {
    const what = `\`${repository.name}:${place.tag}\``;
    throw new FerryError('ARCHIVE_ABSENT', `there is no artifact at ${what}`);
  }
  const parts = readParts(source.schema, parseImageManifest(stored.bytes), records);
  return { repository, parts, isCanonical: isCanonical(source.schema, stored.bytes) };
}

/** Passes the source's bytes on; what they fail with is then the source's fault, wherever they went. */
export async function* fromSource(bytes: Bytes, { digest }: Descriptor): Bytes {
  try {
    for await (const chunk of bytes) yield chunk;
  } catch (error) {
    if (!isFerryError(error)) throw error;
    throw new CopyError('source', `the source did not give ${digest}`, error);
  }
}

/** Whatever fails while content is copied is the destination's fault, unless {@link fromSource} says otherwise. */
export function asCopyError(record: Pick<RepodataRecord, 'filename'>, error: unknown): unknown {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof CopyError) return cause;
  }
  return destinationError(record, error);
}

async function atSource<T>(promise: Promise<T>, { name }: Repository): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (!isFerryError(error)) throw error;
    throw new CopyError('source', `\`${name}\` could not be read`, error);
  }
}
