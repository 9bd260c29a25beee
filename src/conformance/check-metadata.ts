/** The metadata artifacts of a channel in a store: their manifests, their tags, and the documents in them. */
import { ZSTD_SUFFIX } from '../artifact/media-types.js';
import type { ChannelStore } from '../artifact/channel-store.js';
import { readMergeMark } from '../artifact/merge-mark.js';
import { LATEST } from '../artifact/metadata-artifact.js';
import { isChannelFile, type MetadataFile, type Schema } from '../artifact/schema.js';
import { collect } from '../io/bytes.js';
import type { Descriptor } from '../oci/descriptor.js';
import { tryParseImageManifest } from '../oci/manifest.js';
import type { CallOptions, Repository, StoredManifest } from '../oci/storage.js';
import type { CheckContext } from './check-context.js';
import { MAX_DOCUMENT_BYTES, type DocumentSource, type FoundDocument } from './check-documents.js';
import type { ClauseId } from './clauses.js';
import { isContentFault } from './content-fault.js';
import { readManifest } from './read-manifest.js';
import {
  checkMetadataManifest,
  checkMetadataTags,
  plainLayer,
  zstdLayer,
} from './rules/metadata-artifact.js';

/** Reads the documents of a channel in a store, and checks the artifacts that hold them on the way. */
export class StoredDocuments implements DocumentSource {
  readonly channelUrl: string;
  readonly #store: ChannelStore;
  readonly #context: CheckContext;

  constructor(store: ChannelStore, context: CheckContext) {
    this.channelUrl = `oci://${store.location}`;
    this.#store = store;
    this.#context = context;
  }

  async read(subdir: string, file: MetadataFile): Promise<FoundDocument | undefined> {
    return checkMetadata(this.#store, subdir, file, this.#context);
  }
}

/**
 * Checks a metadata artifact: its manifest and its tags.
 * @param reference tag or digest; its tags are looked at for `latest` only
 * @returns the document in it, without bytes where they cannot be read; `undefined` where there is no artifact
 */
export async function checkMetadata(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  context: CheckContext,
  reference: string = LATEST,
): Promise<FoundDocument | undefined> {
  const { log, options } = context;
  const { signal } = options;
  const { schema } = store;
  const repository = store.metadataRepository(subdir, file);
  const leaf = schema.metadataRepository(file);
  const place = subdir === '' ? leaf : `${subdir}/${leaf}`;
  const stored = await repository.fetchManifest(reference, { signal });
  if (reference === LATEST) {
    const { newest, tags } = await readTags(repository, store, { signal });
    if (stored !== undefined || tags.length > 0) {
      const latest = stored?.descriptor.digest;
      const isContinued = newest !== undefined && generationOf(stored) === newest.tag;
      const found = { latest, newest: newest?.descriptor?.digest, isContinued };
      checkMetadataTags({ schema, file, where: place, tags, ...found }, log);
    }
  }
  if (stored === undefined) return undefined;
  const where = `${place}:${reference}`;
  context.counts.artifacts += 1;
  const manifest = readManifest(stored, where, schema.id, context.log);
  const document = { where: isChannelFile(file) ? file : `${subdir}/${file}` };
  if (manifest === undefined) return { ...document, plain: undefined, zst: undefined };
  checkMetadataManifest({ schema, file, where, manifest }, log);
  const plain = await readLayer(plainLayer(file, manifest));
  const zst = await readLayer(zstdLayer(file, manifest));
  return { ...document, plain, zst };

  async function readLayer(layer: Descriptor | undefined): Promise<Uint8Array | undefined> {
    if (layer === undefined) return undefined;
    try {
      return await collect(repository.fetch(layer, { signal }), MAX_DOCUMENT_BYTES, `\`${where}\``);
    } catch (error) {
      if (!isContentFault(error)) throw error;
      const found = `a layer that cannot be read: ${error.message}`;
      if (layer.mediaType.endsWith(ZSTD_SUFFIX)) {
        const breach = { where: `${document.where}.zst`, found, expected: `\`${file}\`, compressed by zstd` };
        log.report('cep36/zst-same-bytes', breach);
      } else {
        log.report(clauseOfPlain(schema, file), { where, found, expected: 'the file as plain JSON' });
      }
      return undefined;
    }
  }
}

function clauseOfPlain({ id }: Schema, file: MetadataFile): ClauseId {
  if (id === 'v0') return 'v0/D9';
  return isChannelFile(file) ? 'v1/C4' : 'v1/R5';
}

/** The history tag that a published state goes on from, where its mark says so. */
function generationOf(stored: StoredManifest | undefined): string | undefined {
  const manifest = stored && tryParseImageManifest(stored.bytes);
  return manifest === undefined ? undefined : readMergeMark(manifest.annotations ?? {}).generation;
}

/** All tags, and what the newest history tag names. */
async function readTags(
  repository: Repository,
  { schema }: ChannelStore,
  options: CallOptions,
): Promise<{
  readonly tags: readonly string[];
  readonly newest: { readonly tag: string; readonly descriptor: Descriptor | undefined } | undefined;
}> {
  const tags: string[] = [];
  let newest: { readonly tag: string; readonly time: number } | undefined;
  for await (const tag of repository.tags(options)) {
    tags.push(tag);
    const time = schema.parseHistoryTag(tag)?.getTime();
    if (time !== undefined && (newest === undefined || time > newest.time)) newest = { tag, time };
  }
  return {
    tags,
    newest:
      newest === undefined
        ? undefined
        : { tag: newest.tag, descriptor: await repository.resolve(newest.tag, options) },
  };
}
