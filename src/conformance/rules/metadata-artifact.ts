import { INDEX_CACHE_TAG, metadataMediaType, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import { isOperationTag } from '../../artifact/operation-log.js';
import { SCHEMA_ANNOTATION } from '../../artifact/schema-v1.js';
import { isChannelFile, type MetadataFile, type Schema } from '../../artifact/schema.js';
import { LATEST } from '../../artifact/metadata-artifact.js';
import { shorten } from '../../conda/archive/member-path.js';
import type { Digest } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import type { ImageManifest } from '../../oci/manifest.js';
import type { CheckLog } from '../check-log.js';
import type { ClauseId } from '../clauses.js';
import { namesOf } from './package-artifact.js';
import { checkSchemaMark } from './package-v1.js';

const CONDA_PREFIX = 'org.conda.';
/** Endings of media types of compressed siblings. @see v1/R6 */
const COMPRESSED = ['+gzip', '+bz2', ZSTD_SUFFIX];
/** Files that the draft knows; the others are ours, and only what holds for all of `m*` is asked of them. */
const FILES_OF_THE_DRAFT: ReadonlySet<MetadataFile> = new Set([
  'repodata.json',
  'current_repodata.json',
  'repodata_from_packages.json',
  'run_exports.json',
  'patch_instructions.json',
  'channeldata.json',
]);

/** A metadata artifact, read and ready to be judged. */
export interface MetadataSubject {
  readonly schema: Schema;
  readonly file: MetadataFile;
  /** Such as `noarch/mrepodata.json:latest`. */
  readonly where: string;
  readonly manifest: ImageManifest;
}

/** Judges the manifest of a metadata artifact. */
export function checkMetadataManifest(subject: MetadataSubject, log: CheckLog): void {
  if (subject.schema.id === 'v1') checkManifestV1(subject, log);
  else checkManifestV0(subject, log);
}

/** The layer that holds a metadata file as plain JSON, if there is one. */
export function plainLayer(file: MetadataFile, { layers }: ImageManifest): Descriptor | undefined {
  return layers.find(({ mediaType }) => mediaTypesOf(file).includes(mediaType));
}

/** The layer that holds it compressed by zstd, if there is one. */
export function zstdLayer(file: MetadataFile, { layers }: ImageManifest): Descriptor | undefined {
  return layers.find(({ mediaType }) =>
    mediaTypesOf(file).some((plain) => mediaType === plain + ZSTD_SUFFIX),
  );
}

function checkManifestV1({ file, where, manifest }: MetadataSubject, log: CheckLog): void {
  const plain = plainLayer(file, manifest);
  const isChannel = isChannelFile(file);
  const annotations = manifest.annotations ?? {};
  if (isChannel) {
    log.expect('v1/C5', annotations[SCHEMA_ANNOTATION] === '1', () => ({
      where,
      found: `no annotation \`${SCHEMA_ANNOTATION}\` with the value \`1\``,
      expected: 'the mark that subdir metadata has; the draft does not say',
    }));
  } else {
    checkSchemaMark(where, annotations, 'v1/R7', log);
  }
  const others = Object.keys(annotations).filter(
    (key) => key.startsWith(CONDA_PREFIX) && key !== SCHEMA_ANNOTATION,
  );
  log.expect('v1/R8', others.length === 0, () => ({
    where,
    found: others.map((key) => `\`${shorten(key)}\``).join(', '),
    expected: `no annotation below \`${CONDA_PREFIX}\` but \`${SCHEMA_ANNOTATION}\``,
  }));
  if (!FILES_OF_THE_DRAFT.has(file)) return;
  log.expect(isChannel ? 'v1/C4' : 'v1/R5', plain !== undefined, () => ({
    where,
    found: manifest.layers.length === 0 ? 'no layers' : `only ${namesOf(manifest.layers)}`,
    expected: `a layer of type \`${metadataMediaType(file)}\`, not compressed`,
  }));
  const known = new Set(mediaTypesOf(file).flatMap((type) => [type, ...COMPRESSED.map((end) => type + end)]));
  const foreign = manifest.layers.filter(({ mediaType }) => !known.has(mediaType));
  if (isChannel || plain === undefined) return;
  log.expect('v1/R9', foreign.length === 0, () => ({
    where,
    found: `a layer of type ${namesOf(foreign)}`,
    expected: `\`${metadataMediaType(file)}\`, plain or with \`+gzip\`, \`+bz2\`, \`+zst\``,
  }));
}

function checkManifestV0({ file, where, manifest }: MetadataSubject, log: CheckLog): void {
  if (file !== 'repodata.json') return;
  log.expect('v0/D7', plainLayer(file, manifest) !== undefined, () => ({
    where,
    found: manifest.layers.length === 0 ? 'no layers' : `only ${namesOf(manifest.layers)}`,
    expected: `a layer of type \`${metadataMediaType(file)}\``,
  }));
  const zstd = zstdLayer(file, manifest);
  log.expect('v0/D8', zstd !== undefined, () => ({
    where,
    found: 'no compressed sibling',
    expected: `a layer of type \`${metadataMediaType(file)}${ZSTD_SUFFIX}\`, which clients prefer`,
  }));
  const titles = manifest.layers.map(({ annotations }) => annotations?.['org.opencontainers.image.title']);
  const double = titles.find((title, i) => title !== undefined && titles.indexOf(title) !== i);
  log.expect('v0/X7', double === undefined, () => ({
    where,
    found: `two layers titled \`${shorten(double ?? '')}\``,
    expected: 'a title of its own for each: tools that pull by title write one over the other',
  }));
}

/** The tags of a metadata repository, with what the two that matter name. */
export interface MetadataTags {
  readonly schema: Schema;
  readonly file: MetadataFile;
  /** Such as `noarch/mrepodata.json`. */
  readonly where: string;
  readonly tags: readonly string[];
  /** What `latest` names. */
  readonly latest: Digest | undefined;
  /** What the newest history tag names; `undefined` where there is none. */
  readonly newest: Digest | undefined;
  /** Whether `latest` says of itself that it goes on from the newest history tag, as what was pushed since then does. */
  readonly isContinued?: boolean | undefined;
}

/** Judges the tags of a metadata repository: `latest` is the newest state, and all others are moments in UTC. */
export function checkMetadataTags(subject: MetadataTags, log: CheckLog): void {
  const { schema, file, where, tags } = subject;
  // The tags of sidecars are digests.
  if (file === 'attestations') return;
  const clause: ClauseId = schema.id === 'v0' ? 'v0/D7' : isChannelFile(file) ? 'v1/C3' : 'v1/R4';
  for (const tag of tags) {
    // What stands beside the ledger is ours, as the ledger is.
    const isOurs = file === 'ledger' && (isOperationTag(tag) || tag === INDEX_CACHE_TAG);
    if (tag === LATEST || isOurs) continue;
    // What conda-oci-mirror writes: without seconds, and in local time.
    const isDeployed = schema.id === 'v0' && /^\d{4}(?:\.\d\d){4}$/.test(tag);
    log.expect(isDeployed ? 'v0/X6' : clause, schema.parseHistoryTag(tag) !== undefined, () => ({
      where: `${where}:${tag}`,
      found: isDeployed ? 'a history tag without seconds' : 'a tag that is no moment in UTC',
      expected: `\`${LATEST}\`, or a tag such as \`${schema.historyTag(new Date(0))}\``,
    }));
  }
  if (subject.newest === undefined || subject.isContinued === true) return;
  log.expect(
    schema.id === 'v0' ? 'v0/D7' : isChannelFile(file) ? 'v1/C2' : 'v1/R3',
    subject.latest === subject.newest,
    () => ({
      where: `${where}:${LATEST}`,
      found: subject.latest === undefined ? `no \`${LATEST}\`` : 'an older state than the newest history tag',
      expected: String(subject.newest),
      hint: 'an upload may have stopped half way; publish again',
    }),
  );
}

/** Of repodata there are two: the second has `base_url`. @see v1/B24 */
function mediaTypesOf(file: MetadataFile): readonly string[] {
  const v1 = metadataMediaType(file);
  return file.includes('repodata') ? [v1, v1.replace('.v1+', '.v2+')] : [v1];
}
