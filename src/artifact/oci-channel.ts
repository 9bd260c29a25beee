import { isAbsolute } from 'node:path';
import type {
  ArchiveLocation,
  ChannelSource,
  MetadataAnswer,
  OpenMetadataOptions,
} from '../conda/channel-source.js';
import { isSubdir, KNOWN_SUBDIRS, parseArchiveFilename, type ArchiveExtension } from '../conda/names.js';
import { FerryError, isFerryError } from '../errors.js';
import type { Bytes } from '../io/bytes.js';
import { sha256Digest } from '../io/digest.js';
import type { Descriptor } from '../oci/descriptor.js';
import { parseImageManifest } from '../oci/manifest.js';
import type { CallOptions } from '../oci/storage.js';
import type { ChannelStore } from './channel-store.js';
import { metadataMediaType, packageMediaType, ZSTD_SUFFIX } from './media-types.js';
import { findMetadata, LATEST } from './metadata-artifact.js';
import { layersOf } from './package-artifact.js';
import { isChannelFile, METADATA_FILES, type MetadataFile } from './schema.js';

/** A channel in an OCI store, read as any other channel. */
export class OciChannel implements ChannelSource {
  readonly url: string;
  readonly store: ChannelStore;

  constructor(store: ChannelStore) {
    this.store = store;
    this.url = isAbsolute(store.location) ? `oci-layout:${store.location}` : `oci://${store.location}`;
  }

  /**
   * Asks the store for its repositories, or tries the platforms that conda knows. Strangers are told the same of what is
   * absent and of what is private, so a refusal counts as absence as long as anything can be read.
   * @throws FerryError `DENIED`, `UNAUTHORIZED` where nothing can
   * @see ghcr/G5
   */
  async subdirs(options: CallOptions = {}): Promise<readonly string[]> {
    const prefix = this.store.path === '' ? '' : `${this.store.path}/`;
    const ending = `/${this.store.schema.metadataRepository('repodata.json')}`;
    const names = await this.store.registry.repositories(options);
    if (names !== undefined) {
      return names
        .filter((name) => name.startsWith(prefix) && name.endsWith(ending))
        .map((name) => name.slice(prefix.length, -ending.length))
        .filter(isSubdir)
        .sort();
    }
    const found: string[] = [];
    let refusal: FerryError | undefined;
    for (const subdir of KNOWN_SUBDIRS) {
      const repository = this.store.metadataRepository(subdir, 'repodata.json');
      try {
        if ((await repository.resolve(LATEST, options)) !== undefined) found.push(subdir);
      } catch (error) {
        if (!isFerryError(error, 'DENIED') && !isFerryError(error, 'UNAUTHORIZED')) throw error;
        refusal ??= error;
      }
    }
    if (found.length === 0 && refusal !== undefined) throw refusal;
    return found.sort();
  }

  async openMetadata(path: string, options: OpenMetadataOptions = {}): Promise<MetadataAnswer> {
    const slash = path.lastIndexOf('/');
    const subdir = path.slice(0, Math.max(slash, 0));
    const metadata = metadataOf(path.slice(slash + 1));
    if (metadata === undefined) return { status: 'absent' };
    const { file, mediaType } = metadata;
    if (isChannelFile(file) ? subdir !== '' : !isSubdir(subdir)) return { status: 'absent' };
    const found = await findMetadata(this.store, subdir, file, options);
    const layer = found?.layers.find((candidate) => candidate.mediaType === mediaType);
    if (found === undefined || layer === undefined) return { status: 'absent' };
    const etag = `"${layer.digest}"`;
    if (options.unless?.etag === etag) return { status: 'unchanged' };
    return { status: 'found', body: found.repository.fetch(layer, options), validators: { etag } };
  }

  async *openArchive(archive: ArchiveLocation, options: CallOptions = {}): Bytes {
    const name = parseArchiveFilename(archive.filename);
    const place = this.store.schema.placeOf(name);
    const repository = this.store.packageRepository(archive.subdir, place);
    const stored = await repository.fetchManifest(place.tag, options);
    const layer = stored === undefined ? undefined : findLayer(stored.bytes, name.extension);
    const digest = archive.sha256 === undefined ? undefined : sha256Digest(archive.sha256);
    if (layer === undefined || (digest !== undefined && digest !== layer.digest)) {
      // The tag moved on, or is unreadable for a moment: the digest is what counts.
      const { size } = archive;
      const mediaType = packageMediaType(name.extension);
      const wanted = digest === undefined || size === undefined ? undefined : { mediaType, digest, size };
      if (wanted !== undefined && (await repository.exists(wanted, options))) {
        yield* repository.fetch(wanted, options);
        return;
      }
      throw new FerryError('ARCHIVE_ABSENT', `\`${repository.name}:${place.tag}\` does not hold it`);
    }
    yield* repository.fetch(layer, options);
  }
}

/** The metadata file that a file name stands for, and the layer that holds it. */
function metadataOf(
  filename: string,
): { readonly file: MetadataFile; readonly mediaType: string } | undefined {
  const isCompressed = filename.endsWith('.zst');
  const plain = isCompressed ? filename.slice(0, -'.zst'.length) : filename;
  const file = METADATA_FILES.find((candidate) => candidate === plain && candidate.endsWith('.json'));
  if (file === undefined) return undefined;
  return { file, mediaType: metadataMediaType(file) + (isCompressed ? ZSTD_SUFFIX : '') };
}

function findLayer(manifest: Uint8Array, extension: ArchiveExtension): Descriptor | undefined {
  try {
    const { packages } = layersOf(parseImageManifest(manifest));
    return packages.find((layer) => layer.extension === extension)?.descriptor;
  } catch (error) {
    // Something else stands under the tag.
    if (isFerryError(error, 'MANIFEST_INVALID')) return undefined;
    throw error;
  }
}
