import type { ArchiveExtension, ArchiveName } from '../conda/names.js';
import type { Annotations, Descriptor } from '../oci/descriptor.js';
import type { ImageManifest } from '../oci/manifest.js';

/** How a channel is laid out in a registry. */
export type SchemaId = 'v0';

/** The metadata files that have a repository of their own. */
export type MetadataFile = 'repodata.json' | 'ledger';

/** Where a package lives: below the subdir, in `repository` under `tag`. */
export interface PackagePlace {
  /** One path component, such as `zlib` or `zzz_libgcc_mutex`. */
  readonly repository: string;
  readonly tag: string;
}

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
  /** Finds a package's place. @throws FerryError `NAME_UNREPRESENTABLE` for a name that the schema cannot hold */
  placeOf(archive: Pick<ArchiveName, 'name' | 'version' | 'build'>): PackagePlace;
  /** Reads a place back. @throws FerryError `NAME_UNREPRESENTABLE` for what no package has */
  packageAt(place: PackagePlace): Pick<ArchiveName, 'name' | 'version' | 'build'>;
  /** The manifest of a package artifact: the same document for the same content, always. */
  packageManifest(content: PackageContent): ImageManifest;
  /** The manifest of a metadata artifact. */
  metadataManifest(layers: readonly Descriptor[]): ImageManifest;
  /** Repository of a metadata file, below the subdir. */
  metadataRepository(file: MetadataFile): string;
  /** Tag under which an old state of a metadata file is kept. */
  historyTag(time: Date): string;
}
