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

/** Which clause keeps which first characters for something else than packages by their names. */
const CLAUSES_OF_PREFIXES: ReadonlyMap<string, string> = new Map([
  ['m', 'v1/S1'],
  ['h', 'v1/S3'],
]);

/** Longest encoded name that is not hashed, in characters. @see v1/N3 */
const MAX_LEAF_LENGTH = 64;
/** Longest encoded tag that is not hashed, in characters. @see v1/T4 */
const MAX_TAG_LENGTH = 128;
/** A hash is told by its whole form: a version may well begin with `h`. @see v1/S3, v1/B6 */
const HASHED = /^h[0-9a-f]{64}$/;
/** One component of a repository's name, of any length: what is too long is hashed. @see v1/G2 */
const LEAF = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/** Annotation that marks an artifact of this schema; its value is `1`. @see v1/A1, v1/R7 */
export const SCHEMA_ANNOTATION = 'org.conda.oci.schema';
/** Annotation with the package's name, as conda writes it. @see v1/A2 */
export const NAME_ANNOTATION = 'org.conda.package.name';
/** Annotation with the package's version. @see v1/A3 */
export const VERSION_ANNOTATION = 'org.conda.package.version';
/** Annotation with the package's build string. @see v1/A4 */
export const BUILD_ANNOTATION = 'org.conda.package.build';
/** Name space of the draft, in which it bans what it does not define itself. @see v1/A5 */
const RESERVED_ANNOTATIONS = 'org.conda.';
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
  return { repository: hashOf(leaf), tag: hashOf(tag) };
}

function encodeName(name: string): string {
  if (name === '') throw unrepresentable('v1/N2', name, 'a package has a name');
  const leaf = `c${name}`;
  // Checked before it is hashed: a name does not become legal by being long.
  if (!LEAF.test(leaf)) throw unrepresentable('v1/G2', name, 'OCI does not allow it as a repository name');
  // `hanneldata.json`: its repository could be a channel's metadata (v1/B12).
  if (leaf === METADATA_REPOSITORIES['channeldata.json']) {
    throw unrepresentable('v1/C1', name, 'its repository would be called like that of the channeldata');
  }
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
  const { repository, tag } = place;
  const hashed = [repository, tag].filter(isHashed).length;
  const said = `${repository}:${tag}`;
  if (hashed === 1) throw unrepresentable('v1/T5', said, 'either both or none of the two are hashed');
  const found = hashed === 2 ? annotatedPackage(said, annotations) : decodePlace(place);
  // Nothing is taken for a package that would stand elsewhere.
  const back = placeOf(found);
  if (back.repository !== repository || back.tag !== tag) {
    const { name, version, build } = found;
    const why = `it is not the place of \`${name}-${version}-${build}\``;
    throw unrepresentable(clauseOfMisplaced(place, back), said, why);
  }
  return found;
}

/** Of a place that no package has: a hash of something else or without need, a lack of it, or a bare `+`. */
function clauseOfMisplaced(place: PackagePlace, back: PackagePlace): string {
  if (isHashed(place.tag)) return back.repository === place.repository ? 'v1/T4' : 'v1/N3';
  if (place.repository.length > MAX_LEAF_LENGTH) return 'v1/N3';
  return place.tag.length > MAX_TAG_LENGTH ? 'v1/T4' : 'v1/T1';
}

function decodePlace({ repository, tag }: PackagePlace): PackageIdentity {
  const said = `${repository}:${tag}`;
  if (!repository.startsWith('c')) {
    const clause = CLAUSES_OF_PREFIXES.get(repository.charAt(0)) ?? 'v1/S4';
    throw unrepresentable(clause, said, 'repositories of packages begin with `c`, or are `h` and a hash');
  }
  const [version, build, ...more] = tag.split('-');
  if (version === undefined || build === undefined || more.length > 0) {
    throw unrepresentable('v1/T3', said, 'a tag has exactly one dash, between version and build string');
  }
  return { name: repository.slice(1), version: decodeTagPart(version), build: decodeTagPart(build) };
}

function annotatedPackage(said: string, annotations: Annotations = {}): PackageIdentity {
  const name = annotations[NAME_ANNOTATION];
  const version = annotations[VERSION_ANNOTATION];
  const build = annotations[BUILD_ANNOTATION];
  if (name === undefined || version === undefined || build === undefined) {
    throw unrepresentable('v1/N4', said, 'of a hash only the annotations know the package');
  }
  return { name, version, build };
}

function readLeaf(repository: string): Leaf {
  if (isHashed(repository)) return { kind: 'package', name: undefined };
  // Before `c` is taken for that of a package (v1/B12).
  if (repository === METADATA_REPOSITORIES['channeldata.json']) {
    return { kind: 'metadata', file: 'channeldata.json' };
  }
  if (!LEAF.test(repository)) return { kind: 'other' };
  if (repository.startsWith('c') && repository.length > 1) {
    return { kind: 'package', name: repository.slice(1) };
  }
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
  const banned = Object.keys(content.annotations ?? {}).find(
    (key) => key.startsWith(RESERVED_ANNOTATIONS) && !Object.hasOwn(own, key),
  );
  if (banned !== undefined) {
    throw new FerryError('MANIFEST_INVALID', `schema v1 allows no annotation \`${banned}\``);
  }
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

/** What stands for an encoded name or tag that is too long: `h`, and its sha256. @see v1/N3, v1/T4 */
export function hashOf(text: string): string {
  return `h${createHash('sha256').update(text).digest('hex')}`;
}

function unrepresentable(clause: string, name: string, why: string): UnrepresentableError {
  return new UnrepresentableError(
    'NAME_UNREPRESENTABLE',
    clause,
    `\`${name}\` has no place in schema v1: ${why}`,
  );
}
