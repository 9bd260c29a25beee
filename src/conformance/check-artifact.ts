import type { ChannelStore } from '../artifact/channel-store.js';
import { METADATA_FILES, type MetadataFile, type Schema } from '../artifact/schema.js';
import { FerryError } from '../errors.js';
import type { CheckContext } from './check-context.js';
import { checkChannelDocuments, checkSubdirDocuments, type DocumentSource } from './check-documents.js';
import { checkMetadata } from './check-metadata.js';
import { checkPackage } from './check-package.js';
import { PackageSummaries } from './rules/channeldata.js';
import { checkLeaf } from './rules/leaf.js';

/** One artifact in a store. */
export interface ArtifactTarget {
  readonly store: ChannelStore;
  /** Empty for the channel's own metadata. */
  readonly subdir: string;
  /** Last component of the repository's name. */
  readonly leaf: string;
  /** Tag or digest. */
  readonly reference: string;
}

/**
 * Checks one artifact, a package's or one of metadata, as far as it can be judged alone.
 * @throws FerryError `NOT_FOUND`
 */
export async function checkArtifact(target: ArtifactTarget, context: CheckContext): Promise<void> {
  const { store, subdir, leaf, reference } = target;
  const reading =
    subdir === ''
      ? { kind: 'metadata', file: fileNamed(store.schema, leaf) }
      : checkLeaf(store.schema, subdir, leaf, context.log);
  if (reading.kind === 'metadata' && 'file' in reading && reading.file !== undefined) {
    await checkMetadataArtifact(target, reading.file, context);
  } else if (reading.kind === 'package') {
    await checkPackage({ store, subdir, leaf, reference, listed: undefined }, context);
  } else {
    throw new FerryError('UNSUPPORTED', `\`${leaf}\` holds nothing that schema ${store.schema.id} knows`);
  }
}

async function checkMetadataArtifact(
  { store, subdir, leaf, reference }: ArtifactTarget,
  file: MetadataFile,
  context: CheckContext,
): Promise<void> {
  const found = await checkMetadata(store, subdir, file, context, reference);
  if (context.counts.artifacts === 0) {
    const name = subdir === '' ? leaf : `${subdir}/${leaf}`;
    throw new FerryError('NOT_FOUND', `there is no artifact \`${name}:${reference}\``);
  }
  const source: DocumentSource = {
    channelUrl: `oci://${store.location}`,
    read: async (_subdir, wanted) => Promise.resolve(wanted === file ? found : undefined),
  };
  const summaries = new PackageSummaries();
  if (subdir === '') await checkChannelDocuments(source, [], summaries, context);
  else await checkSubdirDocuments(source, subdir, summaries, context);
}

function fileNamed(schema: Schema, leaf: string): MetadataFile | undefined {
  return METADATA_FILES.find((file) => schema.metadataRepository(file) === leaf);
}
