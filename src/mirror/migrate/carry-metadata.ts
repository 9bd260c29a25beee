/** Metadata besides the repodata: the same layers under a new manifest. */
import { TITLE } from '../../artifact/manifest-parts.js';
import { metadataMediaType, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import {
  copyMetadata,
  findMetadata,
  LATEST,
  readMetadataLayer,
  resolveLatest,
  type FoundMetadata,
} from '../../artifact/metadata-artifact.js';
import { isChannelFile, METADATA_FILES, type MetadataFile } from '../../artifact/schema.js';
import { isFerryError } from '../../errors.js';
import { openerOf } from '../../io/bytes.js';
import { digestOf, type Digest } from '../../io/digest.js';
import { describe, type Descriptor } from '../../oci/descriptor.js';
import { encodeJson } from '../../oci/manifest.js';
import type { ContentSource } from '../../oci/storage.js';
import { fitCompanion, SUBDIR_COMPANIONS, type SubdirContents } from '../companions/fit-companion.js';
import type { MigrationContext } from './migration-context.js';

/** These have ways of their own. */
const NOT_CARRIED: ReadonlySet<MetadataFile> = new Set(['repodata.json', 'attestations', 'ledger']);
const MAX_LISTING_BYTES = 1024 * 1024 * 1024;
const ZSTD_LEVEL = 15;

/** The layers of a metadata artifact, with where their bytes are had. */
interface MetadataContent {
  readonly layers: readonly Descriptor[];
  readonly source: ContentSource;
  readonly isMountable: boolean;
}

/**
 * Carries the metadata files of a subdir, or with an empty subdir those of the channel, as far as the source has them.
 * @param contents what the destination holds of the subdir, which the files are made to fit; those of the channel stay as they are
 * @returns the files that the destination has now
 */
export async function carryMetadata(
  subdir: string,
  contents: SubdirContents | undefined,
  context: MigrationContext,
): Promise<readonly MetadataFile[]> {
  const { destination, signal, now } = context;
  const carried: MetadataFile[] = [];
  for (const file of METADATA_FILES) {
    if (NOT_CARRIED.has(file) || isChannelFile(file) !== (subdir === '')) continue;
    const found = await findOptional(subdir, file, context);
    const content = found === undefined ? undefined : await contentOf(found, file, contents, context);
    if (found === undefined || content === undefined) continue;
    carried.push(file);
    const manifest = encodeJson(destination.schema.metadataManifest(content.layers));
    const latest = await resolveLatest(destination, subdir, file, { signal });
    if (latest?.digest === digestOf(manifest)) continue;
    await copyMetadata(destination, subdir, file, content, {
      tags: [destination.schema.historyTag(now()), LATEST],
      mountFrom: context.mounts && content.isMountable ? found.repository.name : undefined,
      signal,
    });
  }
  return carried;
}

/** Strangers are told the same of what is absent and of what is private. @see ghcr/G5 */
async function findOptional(
  subdir: string,
  file: MetadataFile,
  { source, signal }: MigrationContext,
): Promise<FoundMetadata | undefined> {
  try {
    return await findMetadata(source, subdir, file, { signal });
  } catch (error) {
    if (isFerryError(error, 'DENIED') || isFerryError(error, 'UNAUTHORIZED')) return undefined;
    throw error;
  }
}

/** `undefined` for what has no layer of plain JSON, which the schemas ask for. @see v1/R5 */
async function contentOf(
  found: FoundMetadata,
  file: MetadataFile,
  contents: SubdirContents | undefined,
  context: MigrationContext,
): Promise<MetadataContent | undefined> {
  const mediaType = metadataMediaType(file);
  const layers = found.layers.filter((layer) => layer.mediaType.startsWith(mediaType));
  const plain = layers.find((layer) => layer.mediaType === mediaType);
  if (plain === undefined) return undefined;
  const companion = SUBDIR_COMPANIONS.find((name) => name === file);
  if (companion !== undefined && contents !== undefined) {
    const bytes = await readMetadataLayer(found, mediaType, MAX_LISTING_BYTES, context);
    const fitted = await fitCompanion(companion, bytes, contents);
    if (fitted !== undefined) return splicedContent(fitted, plain, context);
  }
  return { layers, source: found.repository, isMountable: true };
}

async function splicedContent(
  bytes: Uint8Array,
  { mediaType, annotations }: Descriptor,
  { workers, signal }: MigrationContext,
): Promise<MetadataContent> {
  const zst = await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal);
  const name = annotations?.[TITLE];
  const blobs = new Map<Digest, Uint8Array>();
  const layer = (type: string, content: Uint8Array, ending: string): Descriptor => {
    const described = describe(type, content, name === undefined ? undefined : { [TITLE]: name + ending });
    blobs.set(described.digest, content);
    return described;
  };
  const layers = [layer(mediaType, bytes, ''), layer(mediaType + ZSTD_SUFFIX, zst, '.zst')];
  const source: ContentSource = {
    fetch: (wanted, open) => openerOf(blobs.get(wanted.digest) ?? new Uint8Array(0))(open),
  };
  return { layers, source, isMountable: false };
}
