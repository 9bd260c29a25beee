import type { ArchiveExtension } from '../conda/names.js';
import type { MetadataFile } from './schema.js';

/** Media types of conda content in OCI. @see v0/D4, v0/D5, v1/M1; "ours" where no draft has one */

export const PACKAGE_CONDA = 'application/vnd.conda.package.v2';
export const PACKAGE_TAR_BZ2 = 'application/vnd.conda.package.v1';
export const INFO_TAR_GZIP = 'application/vnd.conda.info.v1.tar+gzip';
export const INFO_INDEX = 'application/vnd.conda.info.index.v1+json';
export const REPODATA = 'application/vnd.conda.repodata.v1+json';
/** Ours. */
export const LEDGER = 'application/vnd.conda-ferry.ledger.v1+json';
/** Ours: what a writer of a published channel wants changed. */
export const OPERATION = 'application/vnd.conda-ferry.operation.v1+json';
/** Ours: what archives say beside their records, as `index` remembers it. */
export const INFO_CACHE = 'application/vnd.conda-ferry.index-cache.v1+json+zst';
/** Its tag in the ledger's repository. */
export const INDEX_CACHE_TAG = 'index-cache';
/** Media types of metadata files as plain JSON. @see v1/R9, v1/C4; those of notices, attestations and the ledger are ours */
const METADATA_MEDIA_TYPES: Readonly<Record<MetadataFile, string>> = {
  'repodata.json': REPODATA,
  'current_repodata.json': REPODATA,
  'repodata_from_packages.json': REPODATA,
  'run_exports.json': 'application/vnd.conda.run_exports.v1+json',
  'patch_instructions.json': 'application/vnd.conda.patch_instructions.v1+json',
  'channeldata.json': 'application/vnd.conda.channeldata.v1+json',
  'notices.json': 'application/vnd.conda.notices.v1+json',
  attestations: 'application/vnd.conda.attestations.v1+json',
  ledger: LEDGER,
};

/** Media type of the layer that holds a metadata file as plain JSON. */
export function metadataMediaType(file: MetadataFile): string {
  return METADATA_MEDIA_TYPES[file];
}

/** Added to the media type of JSON that is compressed. */
export const ZSTD_SUFFIX = '+zst';
/** What v0 artifacts have as config. @see v0/X4 */
export const V0_CONFIG = 'application/vnd.unknown.config.v1+json';

const PACKAGE_MEDIA_TYPES: Readonly<Record<ArchiveExtension, string>> = {
  conda: PACKAGE_CONDA,
  'tar.bz2': PACKAGE_TAR_BZ2,
};

/** Media type of a package layer. */
export function packageMediaType(extension: ArchiveExtension): string {
  return PACKAGE_MEDIA_TYPES[extension];
}

/** The format that a package layer's media type stands for, or `undefined` for any other layer. */
export function packageExtension(mediaType: string): ArchiveExtension | undefined {
  if (mediaType === PACKAGE_CONDA) return 'conda';
  return mediaType === PACKAGE_TAR_BZ2 ? 'tar.bz2' : undefined;
}
