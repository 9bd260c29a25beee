/**
 * Schema v0: what conda-oci-mirror wrote and what today's clients read. Repository `<subdir>/<name>`, tag
 * `<version>-<build>`, with the few replacements that OCI's grammar makes necessary.
 */
import { UnrepresentableError } from '../errors.js';
import { describe, type Descriptor } from '../oci/descriptor.js';
import { encodeJson, type ImageManifest } from '../oci/manifest.js';
import { IMAGE_MANIFEST } from '../oci/media-types.js';
import { isRepositoryName, isTag } from '../oci/reference.js';
import { historyTagReader } from './history-tag.js';
import { packageLayers } from './manifest-parts.js';
import { V0_CONFIG } from './media-types.js';
import {
  METADATA_FILES,
  type Leaf,
  type MetadataFile,
  type PackageContent,
  type PackageIdentity,
  type PackagePlace,
  type Schema,
} from './schema.js';

/** Repositories that are no packages. @see v0/D7; attestations and the ledger are ours */
const METADATA_REPOSITORIES: Readonly<Record<MetadataFile, string>> = {
  'repodata.json': 'repodata.json',
  'current_repodata.json': 'current_repodata.json',
  'repodata_from_packages.json': 'repodata_from_packages.json',
  'run_exports.json': 'run_exports.json',
  'patch_instructions.json': 'patch_instructions.json',
  'channeldata.json': 'channeldata.json',
  'notices.json': 'notices.json',
  attestations: 'attestations.sigs',
  ledger: 'repodata_ledger.json',
};

/** A package with one of these names would share its repository with metadata, now or later. */
const RESERVED_NAMES: ReadonlySet<string> = new Set([
  ...Object.values(METADATA_REPOSITORIES),
  'repodata_shards.msgpack.zst',
]);

/** Repository components may not start with `_`. @see v0/D2 */
const UNDERSCORE_PREFIX = 'zzz';

/** @see v0/D3 */
const TAG_ESCAPES: readonly (readonly [string, string])[] = [
  ['+', '__p__'],
  ['!', '__e__'],
  ['=', '__eq__'],
];
const ESCAPED_IN_TAG = /__p__|__e__|__eq__/g;

const MD5 = 'org.conda.md5';

const configBytes = encodeJson({});
const config = describe(V0_CONFIG, configBytes);

/** Schema v0. */
export const schemaV0: Schema = {
  id: 'v0',
  config,
  configBytes,
  md5Annotation: MD5,
  holdsTwins: true,
  placeOf,
  packageAt,
  readLeaf,
  packageManifest,
  packageAnnotations: () => ({}),
  metadataManifest,
  metadataRepository: (file) => METADATA_REPOSITORIES[file],
  historyTag,
  parseHistoryTag: historyTagReader(/^(\d{4})\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)\.(\d\d)$/),
};

function placeOf(archive: PackageIdentity): PackagePlace {
  const place = { repository: encodeName(archive.name), tag: encodeTag(archive.version, archive.build) };
  // What does not read back the same would share its place with another package: `_foo` and `zzz_foo`,
  // builds `a+b` and `a__p__b`.
  const back = decodePlace(place);
  if (back.name !== archive.name || back.version !== archive.version || back.build !== archive.build) {
    const said = `${archive.name}-${archive.version}-${archive.build}`;
    throw new UnrepresentableError(
      'NAME_UNREPRESENTABLE',
      back.name === archive.name ? 'v0/D3' : 'v0/D2',
      `\`${said}\` would stand at \`${place.repository}:${place.tag}\` in schema v0, the place of another package`,
    );
  }
  return place;
}

function packageAt(place: PackagePlace): PackageIdentity {
  const found = decodePlace(place);
  // Nothing is taken for a package that has no place, or another one.
  const back = placeOf(found);
  if (back.repository !== place.repository || back.tag !== place.tag) {
    const said = `${place.repository}:${place.tag}`;
    throw unrepresentable('v0/D3', said, `\`${back.repository}:${back.tag}\` is what it should be`);
  }
  return found;
}

function decodePlace({ repository, tag }: PackagePlace): PackageIdentity {
  const dash = tag.indexOf('-');
  if (dash === -1) throw unrepresentable('v0/D1', tag, 'it has no dash between version and build string');
  return {
    name: decodeName(repository),
    version: decodeTagPart(tag.slice(0, dash)),
    build: decodeTagPart(tag.slice(dash + 1)),
  };
}

function decodeName(repository: string): string {
  return repository.startsWith(`${UNDERSCORE_PREFIX}_`)
    ? repository.slice(UNDERSCORE_PREFIX.length)
    : repository;
}

function encodeName(name: string): string {
  const repository = name.startsWith('_') ? `${UNDERSCORE_PREFIX}${name}` : name;
  if (RESERVED_NAMES.has(repository))
    throw unrepresentable('v0/D7', name, 'schema v0 keeps metadata under this name');
  if (!isRepositoryName(repository) || repository.includes('/')) {
    throw unrepresentable('v0/D1', name, 'OCI does not allow it as a repository name');
  }
  return repository;
}

function encodeTag(version: string, build: string): string {
  if ([version, build].some((part) => part === '' || part.includes('-'))) {
    throw unrepresentable(
      'v0/D1',
      `${version}-${build}`,
      'neither version nor build string may be empty or have a dash',
    );
  }
  const tag = `${encodeTagPart(version)}-${encodeTagPart(build)}`;
  if (!isTag(tag)) {
    throw unrepresentable(
      'v0/D3',
      `${version}-${build}`,
      tag.length > 128 ? 'a tag has at most 128 characters' : 'OCI does not allow it as a tag',
    );
  }
  return tag;
}

function encodeTagPart(part: string): string {
  return TAG_ESCAPES.reduce((text, [character, escape]) => text.replaceAll(character, escape), part);
}

/** Reads from left to right, so that what one escape ends is not taken for the start of the next. */
function decodeTagPart(part: string): string {
  return part.replace(
    ESCAPED_IN_TAG,
    (escape) => TAG_ESCAPES.find(([, text]) => text === escape)?.[0] ?? escape,
  );
}

function packageManifest(content: PackageContent): ImageManifest {
  return {
    schemaVersion: 2,
    mediaType: IMAGE_MANIFEST,
    config,
    layers: packageLayers(content, MD5),
    ...(Object.keys(content.annotations ?? {}).length === 0 ? {} : { annotations: content.annotations }),
  };
}

function metadataManifest(layers: readonly Descriptor[]): ImageManifest {
  return { schemaVersion: 2, mediaType: IMAGE_MANIFEST, config, layers };
}

function readLeaf(repository: string): Leaf {
  const file = METADATA_FILES.find((candidate) => METADATA_REPOSITORIES[candidate] === repository);
  if (file !== undefined) return { kind: 'metadata', file };
  if (RESERVED_NAMES.has(repository)) return { kind: 'metadata', file: undefined };
  const isLeaf = isRepositoryName(repository) && !repository.includes('/');
  return isLeaf ? { kind: 'package', name: decodeName(repository) } : { kind: 'other' };
}

/** `2026.11.21.07.35.00`, in UTC. @see v0/D7 */
function historyTag(time: Date): string {
  return time.toISOString().slice(0, 19).replace(/[-T:]/g, '.');
}

function unrepresentable(clause: string, name: string, why: string): UnrepresentableError {
  return new UnrepresentableError(
    'NAME_UNREPRESENTABLE',
    clause,
    `\`${name}\` has no place in schema v0: ${why}`,
  );
}
