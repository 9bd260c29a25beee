/** One artifact seen in another schema: which of its parts can stay, and the manifest that names them there. */
import { IntegrityError, FerryError } from '../errors.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { sha256Digest } from '../io/digest.js';
import { describe, type Annotations, type Descriptor } from '../oci/descriptor.js';
import { encodeJson, type ImageManifest } from '../oci/manifest.js';
import { IMAGE_MANIFEST } from '../oci/media-types.js';
import { layersOf } from './package-artifact.js';
import type { PackageContent, Schema } from './schema.js';

/** Name space that belongs to the schemas; what else stands on a manifest is the user's. @see v1/A5 */
const SCHEMA_NAME_SPACE = 'org.conda.';
const MD5_PATTERN = /^[0-9a-f]{32}$/;

/** An archive that an artifact holds. */
export interface HeldArchive {
  readonly record: RepodataRecord;
  readonly layer: Descriptor;
  /** Lower-case hex; `undefined` where nobody says it for certain, so that the archive has to be read. */
  readonly md5: string | undefined;
}

/** What of an artifact can go into another one of the same archives. */
export interface ArtifactParts {
  /** `.conda` first. */
  readonly archives: readonly HeldArchive[];
  /** Info and index of the first archive; `undefined` where the artifact lacks one, or has those of another archive. */
  readonly info: PartialInfo | undefined;
  /** The user's. */
  readonly annotations: Annotations | undefined;
  /** Records that the artifact does not hold as they are listed. */
  readonly faults: readonly { readonly record: RepodataRecord; readonly error: FerryError }[];
}

/** Info and index of an artifact. */
export interface PartialInfo {
  readonly info: Descriptor;
  readonly index: Descriptor;
}

/** Takes an artifact apart, as far as records of its archives say what should be in it. */
export function readParts(
  schema: Schema,
  manifest: ImageManifest,
  records: readonly RepodataRecord[],
): ArtifactParts {
  const { packages, info, index } = layersOf(manifest);
  const archives: HeldArchive[] = [];
  const faults: { readonly record: RepodataRecord; readonly error: FerryError }[] = [];
  for (const record of records) {
    const layer = packages.find(({ extension }) => extension === record.extension)?.descriptor;
    const error = faultOf(layer, record, schema);
    if (layer === undefined || error !== undefined) {
      faults.push({ record, error: error ?? absent(record) });
    } else {
      archives.push({ record, layer, md5: md5Of(layer, record, schema) });
    }
  }
  archives.sort((a, b) => rank(a.record) - rank(b.record));
  // Info and index are those of the `.conda` where the artifact has one, listed or not.
  const leader = packages.find(({ extension }) => extension === 'conda') ?? packages[0];
  const isOwn = archives[0]?.record.extension === leader?.extension;
  return {
    archives,
    info: isOwn && info !== undefined && index !== undefined ? { info, index } : undefined,
    annotations: userAnnotations(manifest),
    faults,
  };
}

/** Makes the manifest of an artifact, with its bytes' descriptor. */
export function describePackage(
  schema: Schema,
  content: PackageContent,
): { readonly descriptor: Descriptor; readonly manifest: ImageManifest; readonly bytes: Uint8Array } {
  const manifest = schema.packageManifest(content);
  const bytes = encodeJson(manifest);
  return { descriptor: describe(IMAGE_MANIFEST, bytes), manifest, bytes };
}

/** Why a layer is not the archive that is listed. */
function faultOf(
  layer: Descriptor | undefined,
  record: RepodataRecord,
  schema: Schema,
): FerryError | undefined {
  if (layer === undefined) return absent(record);
  const what = `\`${record.filename}\``;
  if (record.sha256 !== undefined && layer.digest !== sha256Digest(record.sha256)) {
    return new IntegrityError('DIGEST_MISMATCH', what, sha256Digest(record.sha256), layer.digest);
  }
  const md5 = layer.annotations?.[schema.md5Annotation]?.toLowerCase();
  // Old records have no sha256; then the md5 that the layer carries has to do.
  if (record.sha256 === undefined && record.md5 !== undefined && md5 !== undefined && md5 !== record.md5) {
    return new IntegrityError('DIGEST_MISMATCH', what, `md5:${record.md5}`, `md5:${md5}`);
  }
  if (record.size !== undefined && layer.size !== record.size) {
    return new IntegrityError('SIZE_MISMATCH', what, record.size, layer.size);
  }
  return undefined;
}

function absent({ filename }: RepodataRecord): FerryError {
  return new FerryError('ARCHIVE_ABSENT', `the artifact does not hold \`${filename}\``);
}

/** The layer's own annotation, or else the record's; where the two differ only the bytes know. */
function md5Of(layer: Descriptor, record: RepodataRecord, schema: Schema): string | undefined {
  const md5 = layer.annotations?.[schema.md5Annotation]?.toLowerCase();
  const noted = md5 !== undefined && MD5_PATTERN.test(md5) ? md5 : undefined;
  // Without a sha256, an md5 that nobody noted with the layer says nothing of these bytes.
  if (noted === undefined) return record.sha256 === undefined ? undefined : record.md5;
  return record.md5 === undefined || record.md5 === noted ? noted : undefined;
}

function userAnnotations({ annotations = {} }: ImageManifest): Annotations | undefined {
  const own = Object.entries(annotations).filter(([key]) => !key.startsWith(SCHEMA_NAME_SPACE));
  return own.length === 0 ? undefined : Object.fromEntries(own);
}

function rank({ extension }: RepodataRecord): number {
  return extension === 'conda' ? 0 : 1;
}
