import { isAbsolute } from 'node:path';
import type {
  ArchiveLocation,
  ChannelSource,
  MetadataAnswer,
  OpenMetadataOptions,
} from '../conda/channel-source.js';
import { isSubdir, KNOWN_SUBDIRS, parseArchiveFilename, type ArchiveExtension } from '../conda/names.js';
import { parseSidecarFilename } from '../conda/sidecar.js';
import { FerryError, isFerryError } from '../errors.js';
import type { Bytes, OpenOptions } from '../io/bytes.js';
import { sha256Digest } from '../io/digest.js';
import type { Descriptor } from '../oci/descriptor.js';
import { tryParseImageManifest } from '../oci/manifest.js';
import type { CallOptions } from '../oci/storage.js';
import type { ChannelStore } from './channel-store.js';
import { metadataMediaType, packageMediaType, ZSTD_SUFFIX } from './media-types.js';
import { findMetadata, LATEST } from './metadata-artifact.js';
import { layersOf } from './package-artifact.js';
import { isChannelFile, METADATA_FILES, type MetadataFile } from './schema.js';

/** Files that a channel may do without. @see CEP 6, CEP 12, CEP 36, CEP 38 */
const OPTIONAL_FILES: ReadonlySet<MetadataFile> = new Set(
  METADATA_FILES.filter((file) => file !== 'repodata.json' && file !== 'attestations'),
);

/** A channel in an OCI store, read as any other channel. */
export class OciChannel implements ChannelSource {
  readonly url: string;
  readonly store: ChannelStore;

  constructor(store: ChannelStore) {
    this.store = store;
    this.url = isAbsolute(store.location) ? `oci-layout:${store.location}` : `oci://${store.location}`;
  }

  get origin(): string | undefined {
    return this.store.registry.origin;
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
        if (!isRefusal(error)) throw error;
        refusal ??= error;
      }
    }
    if (found.length === 0 && refusal !== undefined) throw refusal;
    return found.sort();
  }

  /**
   * Opens a metadata file, plain or compressed, or an attestation sidecar by its name with the digest. Of a file that a
   * channel may do without, strangers are told the same of what is absent and of what is private: both count as absent.
   * @throws FerryError `DENIED`, `UNAUTHORIZED` for what every subdir has, and for sidecars, which a record names
   * @see ghcr/G5, cep142/immutable-url
   */
  async openMetadata(path: string, options: OpenMetadataOptions = {}): Promise<MetadataAnswer> {
    const slash = path.lastIndexOf('/');
    const subdir = path.slice(0, Math.max(slash, 0));
    const metadata = metadataOf(path.slice(slash + 1));
    if (metadata === undefined) return { status: 'absent' };
    const { file, reference, isLayer } = metadata;
    if (isChannelFile(file) ? subdir !== '' : !isSubdir(subdir)) return { status: 'absent' };
    const found = await findMetadata(this.store, subdir, file, { signal: options.signal, reference }).catch(
      (error: unknown) => {
        if (!OPTIONAL_FILES.has(file) || !isRefusal(error)) throw error;
        return undefined;
      },
    );
    const layer = found?.layers.find(isLayer);
    if (found === undefined || layer === undefined) return { status: 'absent' };
    const etag = `"${layer.digest}"`;
    if (options.unless?.etag === etag) return { status: 'unchanged' };
    return { status: 'found', body: found.repository.fetch(layer, options), validators: { etag } };
  }

  async *openArchive(archive: ArchiveLocation, options: OpenOptions = {}): Bytes {
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

/** What a file name stands for. */
interface NamedMetadata {
  readonly file: MetadataFile;
  /** @defaultValue `latest` */
  readonly reference?: string;
  readonly isLayer: (layer: Descriptor) => boolean;
}

function metadataOf(filename: string): NamedMetadata | undefined {
  const sidecar = parseSidecarFilename(filename);
  if (sidecar !== undefined) {
    // Identical sidecars of several archives are one artifact, and it is titled by one of them.
    const digest = sha256Digest(sidecar.sha256);
    return {
      file: 'attestations',
      reference: sidecar.sha256,
      isLayer: (layer) => layer.digest === digest,
    };
  }
  const isCompressed = filename.endsWith('.zst');
  const plain = isCompressed ? filename.slice(0, -'.zst'.length) : filename;
  const file = METADATA_FILES.find((candidate) => candidate === plain && candidate.endsWith('.json'));
  if (file === undefined) return undefined;
  const mediaType = metadataMediaType(file) + (isCompressed ? ZSTD_SUFFIX : '');
  return { file, isLayer: (layer) => layer.mediaType === mediaType };
}

function isRefusal(error: unknown): error is FerryError {
  return isFerryError(error, 'DENIED') || isFerryError(error, 'UNAUTHORIZED');
}

function findLayer(manifest: Uint8Array, extension: ArchiveExtension): Descriptor | undefined {
  const parsed = tryParseImageManifest(manifest);
  if (parsed === undefined) return undefined;
  return layersOf(parsed).packages.find((layer) => layer.extension === extension)?.descriptor;
}
