import type { ArchiveExtension, ArchiveName } from '../conda/names.js';
import type { Annotations, Descriptor } from '../oci/descriptor.js';
import type { ImageManifest } from '../oci/manifest.js';

/** How a channel is laid out in a registry. */
export type SchemaId = 'v0' | 'v1';

/** The metadata files that have a repository of their own. */
export const METADATA_FILES = [
  'repodata.json',
  'current_repodata.json',
  'repodata_from_packages.json',
  'run_exports.json',
  'patch_instructions.json',
  'channeldata.json',
  'notices.json',
  'attestations',
  'ledger',
] as const;

/** One of {@link METADATA_FILES}: a file's name, or what our own artifacts are for. */
export type MetadataFile = (typeof METADATA_FILES)[number];

/** Metadata files that lie beside the subdirs, not below one. */
const CHANNEL_FILES: ReadonlySet<MetadataFile> = new Set(['channeldata.json', 'notices.json']);

/** Tells whether a metadata file is the whole channel's rather than a subdir's. @see CEP 6, CEP 38 */
export function isChannelFile(file: MetadataFile): boolean {
  return CHANNEL_FILES.has(file);
}

/** Name, version and build string: what tells packages of one subdir apart. */
export type PackageIdentity = Pick<ArchiveName, 'name' | 'version' | 'build'>;

/** Where a package lives: below the subdir, in `repository` under `tag`. */
export interface PackagePlace {
  /** One path component, such as `zlib` (v0) or `czlib` (v1). */
  readonly repository: string;
  readonly tag: string;
}

/** What a repository below a subdir is for, by its last path component. */
export type Leaf =
  /** `name` is `undefined` where it is hashed, and only the artifacts know. */
  | { readonly kind: 'package'; readonly name: string | undefined }
  /** `file` is `undefined` where the name is kept for metadata that this version does not know. */
  | { readonly kind: 'metadata'; readonly file: MetadataFile | undefined }
  | { readonly kind: 'other' };

/** One archive as a package layer. */
export interface PackageLayer {
  readonly filename: string;
  readonly extension: ArchiveExtension;
  readonly digest: Descriptor['digest'];
  /** In bytes. */
  readonly size: number;
  /** Lower-case hex. */
  readonly md5: string;
}

/** What a package artifact is made of. Info and index come from the `.conda` where there is one. */
export interface PackageContent {
  readonly packages: readonly PackageLayer[];
  readonly info: Pick<Descriptor, 'digest' | 'size'>;
  readonly index: Pick<Descriptor, 'digest' | 'size'>;
  /** Annotations the user adds to the manifest. */
  readonly annotations?: Annotations | undefined;
}

/** The mapping between conda and OCI of one schema: pure functions. */
export interface Schema {
  readonly id: SchemaId;
  /** The bytes of every artifact's config, with its media type. */
  readonly config: Descriptor;
  readonly configBytes: Uint8Array;
  /** Annotation of a package layer that holds the archive's md5. */
  readonly md5Annotation: string;
  /** Whether one artifact holds both archives of a name, version and build string. */
  readonly holdsTwins: boolean;
  /**
   * Finds a package's place.
   * @throws UnrepresentableError `NAME_UNREPRESENTABLE` for a name that the schema cannot hold
   */
  placeOf(archive: PackageIdentity): PackagePlace;
  /**
   * Reads a place back.
   * @param annotations of the artifact that stands there: where names are hashed, only they know
   * @throws UnrepresentableError `NAME_UNREPRESENTABLE` for what no package has
   */
  packageAt(place: PackagePlace, annotations?: Annotations): PackageIdentity;
  /** Tells what a repository below a subdir is for. */
  readLeaf(repository: string): Leaf;
  /** The manifest of a package artifact: the same document for the same content, always. */
  packageManifest(content: PackageContent): ImageManifest;
  /** Annotations that the schema itself puts on a package's manifest, before the user's. */
  packageAnnotations(archive: PackageIdentity): Annotations;
  /** The manifest of a metadata artifact. */
  metadataManifest(layers: readonly Descriptor[]): ImageManifest;
  /** Repository of a metadata file, below the subdir or, for {@link isChannelFile}, below the channel. */
  metadataRepository(file: MetadataFile): string;
  /** Tag under which an old state of a metadata file is kept. */
  historyTag(time: Date): string;
  /** Reads a history tag; `undefined` for any other tag, and for what is no moment. */
  parseHistoryTag(tag: string): Date | undefined;
}
