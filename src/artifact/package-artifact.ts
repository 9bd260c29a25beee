import { isDeepStrictEqual } from 'node:util';
import { checkIndexJson, parseIndexJson } from '../conda/archive/index-json.js';
import {
  formatArchiveFilename,
  parseArchiveFilename,
  type ArchiveExtension,
  type ArchiveName,
} from '../conda/names.js';
import { FerryError } from '../errors.js';
import { openerOf, type Bytes, type OpenBytes, type OpenOptions } from '../io/bytes.js';
import { digestOf, type Digest } from '../io/digest.js';
import { describe, type Annotations, type Descriptor } from '../oci/descriptor.js';
import { encodeImageManifest, encodeJson, parseImageManifest, type ImageManifest } from '../oci/manifest.js';
import { IMAGE_MANIFEST } from '../oci/media-types.js';
import type { ContentSource } from '../oci/storage.js';
import { TITLE } from './manifest-parts.js';
import { INFO_INDEX, INFO_TAR_GZIP, packageExtension } from './media-types.js';
import type { PackedInfo } from './worker.js';
import type { PackageContent, PackageLayer, Schema } from './schema.js';

/** An archive that was read and checked, ready to go into an artifact. */
export interface PackedArchive {
  readonly name: ArchiveName;
  readonly layer: PackageLayer;
  readonly info: PackedInfo;
  /** Opens the archive's bytes. */
  readonly open: OpenBytes;
}

/** An archive that an artifact elsewhere holds, so that nobody has to read it. */
export interface StoredArchive extends Omit<PackedArchive, 'info'> {
  /** `undefined` where the artifact has those of the archive's twin: then only the twin can lead. */
  readonly info: StoredInfo | undefined;
}

/** Info and index of a stored archive, and where to have them. */
export interface StoredInfo extends ContentSource {
  readonly info: Descriptor;
  readonly index: Descriptor;
  /** The user's. */
  readonly annotations: Annotations | undefined;
}

/** An artifact that can be copied: its manifest, and everything the manifest names that is at hand. */
export interface PackageArtifact extends ContentSource {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
}

/** What an artifact's layers turned out to be. */
export interface PackageArtifactLayers {
  readonly packages: readonly { readonly extension: ArchiveExtension; readonly descriptor: Descriptor }[];
  readonly info: Descriptor | undefined;
  readonly index: Descriptor | undefined;
}

/**
 * Checks that what an archive says of itself is what it is listed as.
 * @param subdir where it is listed; `undefined` where nothing but the archive says so
 * @throws FerryError `ARCHIVE_INDEX_INVALID`, `ARCHIVE_INDEX_MISMATCH`, `ARCHIVE_SUBDIR_MISMATCH`,
 * `ARCHIVE_ENTRY_UNEXPECTED`
 */
export function checkPackedInfo(
  info: Pick<PackedInfo, 'indexJson' | 'innerStem'>,
  filename: string,
  subdir: string | undefined,
): ArchiveName {
  const name = parseArchiveFilename(filename);
  const index = parseIndexJson(info.indexJson);
  const { version, build } = name;
  checkIndexJson(index, { filename, name: name.name, version, build, subdir: subdir ?? index.subdir ?? '' });
  const stem = `${name.name}-${version}-${build}`;
  if (info.innerStem !== undefined && info.innerStem !== stem) {
    throw new FerryError(
      'ARCHIVE_ENTRY_UNEXPECTED',
      `\`${filename}\` holds the tarballs of \`${info.innerStem}\``,
    );
  }
  return name;
}

/**
 * Makes the artifact of the archives of one name-version-build. What it becomes depends on nothing else but the
 * schema, and the twin that is there already, if there is one.
 * @param archives one, or a `.conda` and its `.tar.bz2` twin
 * @param existing the artifact under the same tag, whose other archive is kept; user's annotations too, if it is ours
 * @throws FerryError `MANIFEST_INVALID` where the existing artifact lacks something of the archive that is kept; `INTERNAL`
 * where the archive that leads is a stored one without info
 */
export function makePackageArtifact(
  schema: Schema,
  archives: readonly (PackedArchive | StoredArchive)[],
  options: {
    readonly existing?: ImageManifest | undefined;
    readonly annotations?: Annotations | undefined;
  } = {},
): PackageArtifact {
  // Info and index are those of the `.conda` where there is one, whoever brought it.
  const leader = archives.find(({ layer }) => layer.extension === 'conda') ?? archives[0];
  if (leader === undefined) throw new FerryError('INTERNAL', 'an artifact needs an archive');
  const packages = new Map(archives.map(({ layer }) => [layer.extension, layer]));
  const { existing } = options;
  if (existing !== undefined) {
    for (const layer of keptPackages(schema, existing, leader.name, packages))
      packages.set(layer.extension, layer);
  }
  const keepsLeader =
    existing !== undefined && packages.get('conda') !== undefined && leader.layer.extension !== 'conda';
  const kept = keepsLeader ? infoLayersOf(existing) : undefined;
  const blobs = new Map<Digest, OpenBytes>([[schema.config.digest, openerOf(schema.configBytes)]]);
  for (const { layer, open } of archives) blobs.set(layer.digest, open);
  const addBlob = (bytes: Uint8Array): Pick<Descriptor, 'digest' | 'size'> => {
    const digest = digestOf(bytes);
    blobs.set(digest, openerOf(bytes));
    return { digest, size: bytes.byteLength };
  };
  const addInfo = (): Pick<PackageContent, 'info' | 'index'> => {
    const own = leader.info;
    if (own === undefined) throw new FerryError('INTERNAL', `nobody read the info of ${leader.layer.digest}`);
    if ('infoLayer' in own) return { info: addBlob(own.infoLayer), index: addBlob(own.indexJson) };
    for (const layer of [own.info, own.index]) blobs.set(layer.digest, (open) => own.fetch(layer, open));
    return own;
  };
  const { info, index } = kept ?? addInfo();
  const ofStored = leader.info !== undefined && 'fetch' in leader.info ? leader.info.annotations : undefined;
  const manifest = schema.packageManifest({
    packages: [...packages.values()],
    info,
    index,
    annotations:
      options.annotations ??
      (existing !== undefined && isOurs(schema, existing) ? existing.annotations : ofStored),
  });
  const bytes = encodeImageManifest(manifest);
  const descriptor = describe(IMAGE_MANIFEST, bytes);
  blobs.set(descriptor.digest, openerOf(bytes));
  return { descriptor, manifest, fetch: (wanted, open) => fetchFrom(blobs, wanted, open) };
}

/** Sorts an artifact's layers by what they are; others are left out. @see v0/X11: readers must tolerate more layers */
export function layersOf(manifest: ImageManifest): PackageArtifactLayers {
  const find = (mediaType: string): Descriptor | undefined =>
    manifest.layers.find((layer) => layer.mediaType === mediaType);
  const packages = manifest.layers.flatMap((descriptor) => {
    const extension = packageExtension(descriptor.mediaType);
    return extension === undefined ? [] : [{ extension, descriptor }];
  });
  return { packages, info: find(INFO_TAR_GZIP), index: find(INFO_INDEX) };
}

/**
 * Tells whether an artifact is exactly what we would write for its archives, so that its parts may be kept when a
 * twin joins it.
 */
export function isCanonical(schema: Schema, bytes: Uint8Array): boolean {
  try {
    const content = canonicalContent(schema, parseImageManifest(bytes));
    return Buffer.from(encodeJson(schema.packageManifest(content))).equals(bytes);
  } catch {
    return false;
  }
}

/**
 * Takes an archive out of an artifact, so that it becomes what we would have written for the other alone.
 * @param bytes of the artifact's manifest
 * @returns the new artifact, of which only the manifest is at hand; `undefined` where that cannot be told without reading
 * the archive that stays: it is no `.conda`, whose info and index are there, or the artifact is none of ours
 */
export function withoutTwin(
  schema: Schema,
  bytes: Uint8Array,
  gone: ArchiveExtension,
): PackageArtifact | undefined {
  if (gone === 'conda' || !isCanonical(schema, bytes)) return undefined;
  const content = canonicalContent(schema, parseImageManifest(bytes));
  const packages = content.packages.filter(({ extension }) => extension !== gone);
  if (packages.length === 0) return undefined;
  const manifest = schema.packageManifest({ ...content, packages });
  const written = encodeJson(manifest);
  const descriptor = describe(IMAGE_MANIFEST, written);
  const blobs = new Map<Digest, OpenBytes>([
    [schema.config.digest, openerOf(schema.configBytes)],
    [descriptor.digest, openerOf(written)],
  ]);
  return { descriptor, manifest, fetch: (wanted, open) => fetchFrom(blobs, wanted, open) };
}

/** As {@link isCanonical}, for a manifest whose bytes are not at hand. */
function isOurs(schema: Schema, manifest: ImageManifest): boolean {
  try {
    return isDeepStrictEqual(schema.packageManifest(canonicalContent(schema, manifest)), manifest);
  } catch {
    return false;
  }
}

/** @throws FerryError `MANIFEST_INVALID` where the artifact lacks what ours have */
function canonicalContent(schema: Schema, manifest: ImageManifest): PackageContent {
  const packages = layersOf(manifest).packages.map(({ extension, descriptor }): PackageLayer => {
    const filename = descriptor.annotations?.[TITLE];
    if (filename === undefined)
      throw new FerryError('MANIFEST_INVALID', `layer ${descriptor.digest} lacks its title`);
    return packageLayer(schema, filename, extension, descriptor);
  });
  return { packages, ...infoLayersOf(manifest), annotations: manifest.annotations };
}

/** The archives of an existing artifact that others of the same name-version-build do not take the place of. */
function keptPackages(
  schema: Schema,
  existing: ImageManifest,
  { name, version, build }: ArchiveName,
  replaced: ReadonlyMap<ArchiveExtension, PackageLayer>,
): readonly PackageLayer[] {
  return layersOf(existing)
    .packages.filter(({ extension }) => !replaced.has(extension))
    .map(({ extension, descriptor }) => {
      const filename = formatArchiveFilename({ name, version, build, extension });
      return packageLayer(schema, filename, extension, descriptor);
    });
}

function packageLayer(
  schema: Schema,
  filename: string,
  extension: ArchiveExtension,
  { digest, size, annotations }: Descriptor,
): PackageLayer {
  const md5 = annotations?.[schema.md5Annotation];
  if (md5 === undefined) throw new FerryError('MANIFEST_INVALID', `layer ${digest} lacks its md5`);
  return { filename, extension, digest, size, md5 };
}

/** @see v0/D5: artifacts of others may have neither */
function infoLayersOf(manifest: ImageManifest): { readonly info: Descriptor; readonly index: Descriptor } {
  const { info, index } = layersOf(manifest);
  if (info !== undefined && index !== undefined) return { info, index };
  throw new FerryError('MANIFEST_INVALID', 'artifact lacks its info or index layer');
}

function fetchFrom(
  blobs: ReadonlyMap<Digest, OpenBytes>,
  wanted: Descriptor,
  options: OpenOptions | undefined,
): Bytes {
  const open = blobs.get(wanted.digest);
  if (open === undefined) {
    throw new FerryError('NOT_FOUND', `blob ${wanted.digest} was expected to be at the destination already`);
  }
  return open(options);
}
