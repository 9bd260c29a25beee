/**
 * Schema v1: the open draft of conda on OCI (conda/ceps pull 115). Repository `<subdir>/c<name>`, tag
 * `<version>-<build>` with `_`, `+` and `!` escaped; both hashed where either is too long.
 */
import { createHash } from 'node:crypto';
import { parseArchiveFilename } from '../conda/names.js';
import { FerryError, UnrepresentableError } from '../errors.js';
import { describe, type Annotations, type Descriptor } from '../oci/descriptor.js';
import { encodeJson, type ImageManifest } from '../oci/manifest.js';
import { EMPTY_JSON, IMAGE_MANIFEST } from '../oci/media-types.js';
import { isRepositoryName } from '../oci/reference.js';
import { historyTagReader } from './history-tag.js';
import { packageLayers } from './manifest-parts.js';
import {
  METADATA_FILES,
  type Leaf,
  type MetadataFile,
  type PackageContent,
  type PackageIdentity,
  type PackagePlace,
  type Schema,
} from './schema.js';
import { decodeTagPart, encodeTagPart, isTagText } from './tag-escapes.js';

/** Repositories of metadata: below a subdir with an `m`. @see v1/S1, v1/R1, v1/R2, v1/C1; attestations, ledger, notices are ours */
const METADATA_REPOSITORIES: Readonly<Record<MetadataFile, string>> = {
  'repodata.json': 'mrepodata.json',
  'current_repodata.json': 'mcurrent_repodata.json',
  'repodata_from_packages.json': 'mrepodata_from_packages.json',
  'run_exports.json': 'mrun_exports.json',
  'patch_instructions.json': 'mpatch_instructions.json',
  'channeldata.json': 'channeldata.json',
  'notices.json': 'notices.json',
  attestations: 'msigs',
  ledger: 'mledger',
};

/** Longest encoded name that is not hashed, in characters. @see v1/N3 */
const MAX_LEAF_LENGTH = 64;
/** Longest encoded tag that is not hashed, in characters. @see v1/T4 */
const MAX_TAG_LENGTH = 128;
/** A hash is told by its whole form: a version may well begin with `h`. @see v1/S3, v1/B6 */
const HASHED = /^h[0-9a-f]{64}$/;

/** Annotation that marks an artifact of this schema; its value is `1`. @see v1/A1, v1/R7 */
export const SCHEMA_ANNOTATION = 'org.conda.oci.schema';
/** Annotation with the package's name, as conda writes it. @see v1/A2 */
export const NAME_ANNOTATION = 'org.conda.package.name';
/** Annotation with the package's version. @see v1/A3 */
export const VERSION_ANNOTATION = 'org.conda.package.version';
/** Annotation with the package's build string. @see v1/A4 */
export const BUILD_ANNOTATION = 'org.conda.package.build';
/** The draft bans further `org.conda.*`, so the md5 is in a name space of ours. @see v1/A5, v1/B23 */
const MD5 = 'io.conda-ferry.md5';

const configBytes = encodeJson({});
const config = describe(EMPTY_JSON, configBytes);

/** Schema v1. */
export const schemaV1: Schema = {
  id: 'v1',
  config,
  configBytes,
  md5Annotation: MD5,
  holdsTwins: false,
  placeOf,
  packageAt,
  readLeaf,
  packageManifest,
  packageAnnotations,
  metadataManifest,
  metadataRepository: (file) => METADATA_REPOSITORIES[file],
  historyTag,
  parseHistoryTag: historyTagReader(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/),
};

/** Tells whether a repository's last component, or a tag, is the hash of one. @see v1/S3, v1/T5 */
export function isHashed(text: string): boolean {
  return HASHED.test(text);
}

function placeOf({ name, version, build }: PackageIdentity): PackagePlace {
  const leaf = encodeName(name);
  const tag = encodeTag(version, build);
  // Both or neither: one over-long half hashes the other too (v1/T5).
  if (leaf.length <= MAX_LEAF_LENGTH && tag.length <= MAX_TAG_LENGTH) return { repository: leaf, tag };
  return { repository: hash(leaf), tag: hash(tag) };
}

function encodeName(name: string): string {
  const leaf = `c${name}`;
  // Checked before it is hashed: a name does not become legal by being long.
  if (!isLeaf(leaf)) throw unrepresentable('v1/G2', name, 'OCI does not allow it as a repository name');
  return leaf;
}

function encodeTag(version: string, build: string): string {
  const said = `${version}-${build}`;
  if ([version, build].some((part) => part === '' || part.includes('-'))) {
    throw unrepresentable('v1/T3', said, 'neither version nor build string may be empty or have a dash');
  }
  const tag = `${encodeTagPart(version)}-${encodeTagPart(build)}`;
  if (!isTagText(tag)) throw unrepresentable('v1/G3', said, 'OCI does not allow it as a tag');
  return tag;
}

function packageAt(place: PackagePlace, annotations?: Annotations): PackageIdentity {
  const hashed = [place.repository, place.tag].filter(isHashed).length;
  const said = `${place.repository}:${place.tag}`;
  if (hashed === 1) throw unrepresentable('v1/T5', said, 'either both or none of the two are hashed');
  if (hashed === 2) return hashedPackage(place, annotations);
  if (!place.repository.startsWith('c')) {
    throw unrepresentable('v1/S4', said, 'repositories of packages begin with `c`, or with `h` and a hash');
  }
  const [version, build, ...more] = place.tag.split('-');
  if (version === undefined || build === undefined || more.length > 0) {
    throw unrepresentable('v1/T3', said, 'a tag has exactly one dash, between version and build string');
  }
  return {
    name: place.repository.slice(1),
    version: decodeTagPart(version),
    build: decodeTagPart(build),
  };
}

function hashedPackage(place: PackagePlace, annotations: Annotations | undefined): PackageIdentity {
  const said = `${place.repository}:${place.tag}`;
  const name = annotations?.[NAME_ANNOTATION];
  const version = annotations?.[VERSION_ANNOTATION];
  const build = annotations?.[BUILD_ANNOTATION];
  if (name === undefined || version === undefined || build === undefined) {
    throw unrepresentable('v1/N4', said, 'of a hash only the annotations know the package');
  }
  const back = placeOf({ name, version, build });
  if (back.repository !== place.repository || back.tag !== place.tag) {
    throw unrepresentable('v1/N3', said, `it is not the hash of \`${name}-${version}-${build}\``);
  }
  return { name, version, build };
}

function readLeaf(repository: string): Leaf {
  if (isHashed(repository)) return { kind: 'package', name: undefined };
  if (repository.startsWith('c') && isLeaf(repository)) return { kind: 'package', name: repository.slice(1) };
  if (!repository.startsWith('m')) return { kind: 'other' };
  const file = METADATA_FILES.find((candidate) => METADATA_REPOSITORIES[candidate] === repository);
  return { kind: 'metadata', file };
}

function packageManifest(content: PackageContent): ImageManifest {
  const [archive, ...twins] = content.packages;
  if (archive === undefined || twins.length > 0) {
    throw new FerryError('INTERNAL', 'an artifact of schema v1 has exactly one archive');
  }
  const layers = packageLayers(content, MD5);
  const own = packageAnnotations(parseArchiveFilename(archive.filename));
  return {
    schemaVersion: 2,
    mediaType: IMAGE_MANIFEST,
    artifactType: layers[0]?.mediaType,
    config,
    layers,
    // First, and not to be changed by the user's: readers of hashed names know a package by nothing else.
    annotations: { ...own, ...content.annotations, ...own },
  };
}

function packageAnnotations({ name, version, build }: PackageIdentity): Annotations {
  return {
    [SCHEMA_ANNOTATION]: '1',
    [NAME_ANNOTATION]: name,
    [VERSION_ANNOTATION]: version,
    [BUILD_ANNOTATION]: build,
  };
}

function metadataManifest(layers: readonly Descriptor[]): ImageManifest {
  return {
    schemaVersion: 2,
    mediaType: IMAGE_MANIFEST,
    artifactType: layers[0]?.mediaType,
    config,
    layers,
    annotations: { [SCHEMA_ANNOTATION]: '1' },
  };
}

/** `20261121T073500Z`, in UTC. @see v1/R4 */
function historyTag(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
}

function hash(text: string): string {
  return `h${createHash('sha256').update(text).digest('hex')}`;
}

/** Whether it may be the last component of a repository's name, whatever its length. */
function isLeaf(leaf: string): boolean {
  return isRepositoryName(leaf) && !leaf.includes('/');
}

function unrepresentable(clause: string, name: string, why: string): UnrepresentableError {
  return new UnrepresentableError(
    'NAME_UNREPRESENTABLE',
    clause,
    `\`${name}\` has no place in schema v1: ${why}`,
  );
}
