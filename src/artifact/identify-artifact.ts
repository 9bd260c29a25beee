import { parseArchiveFilename } from '../conda/names.js';
import { FerryError } from '../errors.js';
import type { Annotations } from '../oci/descriptor.js';
import type { ImageManifest } from '../oci/manifest.js';
import { TITLE } from './manifest-parts.js';
import { layersOf } from './package-artifact.js';
import type { MetadataFile, PackageIdentity, Schema, SchemaId } from './schema.js';
import { schemaV0 } from './schema-v0.js';
import {
  BUILD_ANNOTATION,
  NAME_ANNOTATION,
  schemaV1,
  SCHEMA_ANNOTATION,
  VERSION_ANNOTATION,
} from './schema-v1.js';

const CONDA_MEDIA_TYPE = /^application\/vnd\.conda(?:-ferry)?\./;

/** What an artifact turned out to be. */
export interface ArtifactIdentity {
  /** `undefined` where nothing of conda is in it. */
  readonly schema: SchemaId | undefined;
  /** The package, where the artifact holds archives of one. */
  readonly package: PackageIdentity | undefined;
  /** The metadata file, where it is one's repository. */
  readonly file: MetadataFile | undefined;
}

/**
 * Tells what an artifact is: its schema from the mark that v1 has, or from layers of conda without it; its package from
 * where it stands, read by that schema, else from what it says of itself.
 * @param leaf last component of its repository, such as `zlib` or `czlib`
 * @param tag `undefined` where it is known by digest alone
 * @see v1/A1, v1/R7, v1/N4
 */
export function identifyArtifact(
  manifest: ImageManifest,
  leaf: string,
  tag: string | undefined,
): ArtifactIdentity {
  const { annotations = {}, layers } = manifest;
  const isV1 = annotations[SCHEMA_ANNOTATION] === '1';
  if (!isV1 && !layers.some(({ mediaType }) => CONDA_MEDIA_TYPE.test(mediaType))) {
    return { schema: undefined, package: undefined, file: undefined };
  }
  const schema = isV1 ? schemaV1 : schemaV0;
  const { packages } = layersOf(manifest);
  if (packages.length === 0) {
    const read = schema.readLeaf(leaf);
    return { schema: schema.id, package: undefined, file: read.kind === 'metadata' ? read.file : undefined };
  }
  const title = packages[0]?.descriptor.annotations?.[TITLE];
  const found =
    packageAt(schema, leaf, tag, annotations) ?? annotatedPackage(annotations) ?? titledPackage(title);
  return { schema: schema.id, package: found, file: undefined };
}

function packageAt(
  schema: Schema,
  repository: string,
  tag: string | undefined,
  annotations: Annotations,
): PackageIdentity | undefined {
  if (tag === undefined) return undefined;
  return unlessRefused(() => schema.packageAt({ repository, tag }, annotations));
}

function annotatedPackage(annotations: Annotations): PackageIdentity | undefined {
  const name = annotations[NAME_ANNOTATION];
  const version = annotations[VERSION_ANNOTATION];
  const build = annotations[BUILD_ANNOTATION];
  if (name === undefined || version === undefined || build === undefined) return undefined;
  return { name, version, build };
}

function titledPackage(title: string | undefined): PackageIdentity | undefined {
  if (title === undefined) return undefined;
  return unlessRefused(() => {
    const { name, version, build } = parseArchiveFilename(title);
    return { name, version, build };
  });
}

/** What others wrote may stand anywhere and be called anything. */
function unlessRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof FerryError) return undefined;
    throw error;
  }
}
