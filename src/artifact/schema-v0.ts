/**
 * Schema v0: what conda-oci-mirror wrote and what today's clients read. Repository `<subdir>/<name>`, tag
 * `<version>-<build>`, with the few replacements that OCI's grammar makes necessary.
 */
import { FerryError } from '../errors.js';
import { describe, type Descriptor } from '../oci/descriptor.js';
import { encodeJson, type ImageManifest } from '../oci/manifest.js';
import { IMAGE_MANIFEST } from '../oci/media-types.js';
import { isRepositoryName, isTag } from '../oci/reference.js';
import { INFO_INDEX, INFO_TAR_GZIP, packageMediaType, V0_CONFIG } from './media-types.js';
import type { MetadataFile, PackageContent, PackageLayer, PackagePlace, Schema } from './schema.js';

/** Repositories below a subdir that are no packages. @see v0/D7; the ledger is ours */
const METADATA_REPOSITORIES: Readonly<Record<MetadataFile, string>> = {
  'repodata.json': 'repodata.json',
  ledger: 'repodata_ledger.json',
};

/** A package with one of these names would share its repository with metadata, now or later. */
const RESERVED_NAMES: ReadonlySet<string> = new Set([
  'repodata.json',
  'current_repodata.json',
  'repodata_from_packages.json',
  'repodata_ledger.json',
  'repodata_shards.msgpack.zst',
  'run_exports.json',
  'patch_instructions.json',
  'channeldata.json',
  'notices.json',
  'attestations.sigs',
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

const TITLE = 'org.opencontainers.image.title';
const MD5 = 'org.conda.md5';

const configBytes = encodeJson({});
const config = describe(V0_CONFIG, configBytes);

/** Schema v0. */
export const schemaV0: Schema = {
  id: 'v0',
  config,
  configBytes,
  md5Annotation: MD5,
  placeOf,
  packageAt,
  packageManifest,
  metadataManifest,
  metadataRepository: (file) => METADATA_REPOSITORIES[file],
  historyTag,
};

function placeOf(archive: {
  readonly name: string;
  readonly version: string;
  readonly build: string;
}): PackagePlace {
  const place = { repository: encodeName(archive.name), tag: encodeTag(archive.version, archive.build) };
  // What does not read back the same would share its place with another package: `_foo` and `zzz_foo`,
  // builds `a+b` and `a__p__b`.
  const back = packageAt(place);
  if (back.name !== archive.name || back.version !== archive.version || back.build !== archive.build) {
    const said = `${archive.name}-${archive.version}-${archive.build}`;
    throw new FerryError(
      'NAME_UNREPRESENTABLE',
      `\`${said}\` would stand at \`${place.repository}:${place.tag}\` in schema v0, the place of another package`,
    );
  }
  return place;
}

function packageAt(place: PackagePlace): { name: string; version: string; build: string } {
  const name = place.repository.startsWith(`${UNDERSCORE_PREFIX}_`)
    ? place.repository.slice(UNDERSCORE_PREFIX.length)
    : place.repository;
  const dash = place.tag.indexOf('-');
  if (dash === -1) throw unrepresentable(place.tag, 'it has no dash between version and build string');
  const [version, build] = [place.tag.slice(0, dash), place.tag.slice(dash + 1)].map(decodeTagPart);
  return { name, version: version ?? '', build: build ?? '' };
}

function encodeName(name: string): string {
  const repository = name.startsWith('_') ? `${UNDERSCORE_PREFIX}${name}` : name;
  if (RESERVED_NAMES.has(repository)) throw unrepresentable(name, 'schema v0 keeps metadata under this name');
  if (!isRepositoryName(repository) || repository.includes('/')) {
    throw unrepresentable(name, 'OCI does not allow it as a repository name');
  }
  return repository;
}

function encodeTag(version: string, build: string): string {
  if ([version, build].some((part) => part === '' || part.includes('-'))) {
    throw unrepresentable(
      `${version}-${build}`,
      'neither version nor build string may be empty or have a dash',
    );
  }
  const tag = `${encodeTagPart(version)}-${encodeTagPart(build)}`;
  if (!isTag(tag)) {
    throw unrepresentable(
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
  const packages = [...content.packages].sort((a, b) => layerRank(a) - layerRank(b));
  const first = packages[0];
  if (first === undefined) throw new FerryError('INTERNAL', 'an artifact needs an archive');
  const stem = first.filename.slice(0, -first.extension.length - 1);
  return {
    schemaVersion: 2,
    mediaType: IMAGE_MANIFEST,
    config,
    layers: [
      ...packages.map(packageLayer),
      layer(INFO_TAR_GZIP, content.info, { [TITLE]: `${stem}/info.tar.gz` }),
      layer(INFO_INDEX, content.index, { [TITLE]: `${stem}/info/index.json` }),
    ],
    ...(Object.keys(content.annotations ?? {}).length === 0 ? {} : { annotations: content.annotations }),
  };
}

function metadataManifest(layers: readonly Descriptor[]): ImageManifest {
  return { schemaVersion: 2, mediaType: IMAGE_MANIFEST, config, layers };
}

/** `.conda` first. */
function layerRank(layer: PackageLayer): number {
  return layer.extension === 'conda' ? 0 : 1;
}

function packageLayer(archive: PackageLayer): Descriptor {
  return layer(packageMediaType(archive.extension), archive, {
    [TITLE]: archive.filename,
    [MD5]: archive.md5,
  });
}

/** One key order for every layer: digests depend on it. */
function layer(
  mediaType: string,
  content: Pick<Descriptor, 'digest' | 'size'>,
  annotations: Readonly<Record<string, string>>,
): Descriptor {
  return { mediaType, digest: content.digest, size: content.size, annotations };
}

/** `2026.11.21.07.35.00`, in UTC. @see v0/D7 */
function historyTag(time: Date): string {
  return time.toISOString().slice(0, 19).replace(/[-T:]/g, '.');
}

function unrepresentable(name: string, why: string): FerryError {
  return new FerryError('NAME_UNREPRESENTABLE', `\`${name}\` has no place in schema v0: ${why}`);
}
