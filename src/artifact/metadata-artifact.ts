import { FerryError, isFerryError } from '../errors.js';
import { collect, openerOf, type Bytes } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import { copyGraph, type CopyOptions } from '../oci/copy-graph.js';
import { describe, type Descriptor } from '../oci/descriptor.js';
import { encodeJson, parseImageManifest, type ImageManifest } from '../oci/manifest.js';
import { IMAGE_MANIFEST } from '../oci/media-types.js';
import type { CallOptions, ContentSource, ReplacedManifest, Repository } from '../oci/storage.js';
import { tagMoved } from '../oci/tag-moved.js';
import type { ChannelStore } from './channel-store.js';
import { TITLE } from './manifest-parts.js';
import type { MetadataFile } from './schema.js';

/** The tag that names the current state of a metadata file. */
export const LATEST = 'latest';

/** One form of a metadata file. */
export interface MetadataLayer {
  readonly mediaType: string;
  /** File name, such as `repodata.json.zst`. */
  readonly title: string;
  readonly bytes: Uint8Array;
}

/**
 * Pushes a metadata file as an artifact, under the tags given, `latest` not among them unless it is asked for.
 * @returns the manifest's descriptor
 * @throws FerryError `TAG_MOVED` where `latest` is found to be somebody else's by now
 */
export async function pushMetadata(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  layers: readonly MetadataLayer[],
  options: CallOptions & { readonly tags: readonly string[] },
): Promise<Descriptor> {
  const described = describeLayers(layers);
  const content = new Map(described.map(({ descriptor, bytes }) => [descriptor.digest, bytes] as const));
  const source: ContentSource = {
    fetch: (wanted, open) => openerOf(content.get(wanted.digest) ?? new Uint8Array(0))(open),
  };
  const descriptors = described.map(({ descriptor }) => descriptor);
  return copyMetadata(store, subdir, file, { layers: descriptors, source }, options);
}

/** What {@link pushMetadata} would push, so that it can be compared with what is there. */
export function describeMetadata({ schema }: ChannelStore, layers: readonly MetadataLayer[]): Descriptor {
  const descriptors = describeLayers(layers).map(({ descriptor }) => descriptor);
  return describe(IMAGE_MANIFEST, encodeJson(schema.metadataManifest(descriptors)));
}

function describeLayers(
  layers: readonly MetadataLayer[],
): { readonly descriptor: Descriptor; readonly bytes: Uint8Array }[] {
  return layers.map(({ mediaType, title, bytes }) => ({
    descriptor: describe(mediaType, bytes, { [TITLE]: title }),
    bytes,
  }));
}

/** Options of {@link copyMetadata}. */
export interface CopyMetadataOptions extends CallOptions, Pick<CopyOptions, 'mountFrom'> {
  readonly tags: readonly string[];
}

/**
 * As {@link pushMetadata}, with layers that are had from `content.source`, or mounted.
 * @throws FerryError `TAG_MOVED`
 */
export async function copyMetadata(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  content: { readonly layers: readonly Descriptor[]; readonly source: ContentSource },
  { signal, tags, mountFrom }: CopyMetadataOptions,
): Promise<Descriptor> {
  const { schema } = store;
  const repository = store.metadataRepository(subdir, file);
  const manifest = encodeJson(schema.metadataManifest(content.layers));
  const root = describe(IMAGE_MANIFEST, manifest);
  const own = new Map<Digest, Uint8Array>([
    [schema.config.digest, schema.configBytes],
    [root.digest, manifest],
  ]);
  const source: ContentSource = {
    fetch: (wanted, open) => {
      const bytes = own.get(wanted.digest);
      return bytes === undefined ? content.source.fetch(wanted, open) : openerOf(bytes)(open);
    },
  };
  await store.ensureConfig(repository, { signal, mountFrom });
  // What `latest` named is nothing that other tags named.
  const others = tags.filter((tag) => tag !== LATEST);
  const isLatestAlone = tags.includes(LATEST) && others.length === 0;
  await copyGraph(source, repository, root, {
    signal,
    tags: isLatestAlone ? tags : others,
    replaces: isLatestAlone ? store.latestOf(repository) : undefined,
    // New content: asking for it first would cost a request each.
    destinationHas: ({ digest }) => digest === schema.config.digest,
    mountFrom,
  });
  if (isLatestAlone) store.rememberLatest(repository, root.digest);
  else if (tags.includes(LATEST)) await moveLatest(store, subdir, file, root, { signal });
  return root;
}

/** Asks what `latest` of a metadata file names. */
export async function resolveLatest(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  options: CallOptions = {},
): Promise<Descriptor | undefined> {
  const repository = store.metadataRepository(subdir, file);
  const found = await repository.resolve(LATEST, options);
  store.rememberLatest(repository, found?.digest ?? 'nothing');
  return found;
}

/**
 * Moves `latest` of a metadata file to a manifest that is there. Hours may have passed since it was read, so it is looked
 * at once more: what others have listed since then would be lost.
 * @throws FerryError `TAG_MOVED` where it is found to be somebody else's by now
 */
export async function moveLatest(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  descriptor: Descriptor,
  { signal }: CallOptions,
): Promise<void> {
  const repository = store.metadataRepository(subdir, file);
  const replaces = store.latestOf(repository);
  const isKnown = (digest: ReplacedManifest = 'nothing'): boolean =>
    digest === replaces || digest === descriptor.digest;
  if (replaces !== undefined && !isKnown((await repository.resolve(LATEST, { signal }))?.digest)) {
    // Some registries tell another digest than that of the bytes.
    const found = await repository.fetchManifest(LATEST, { signal });
    if (!isKnown(found?.descriptor.digest)) throw tagMoved(repository.name, LATEST);
  }
  await repository.tag(descriptor, LATEST, { signal, replaces });
  store.rememberLatest(repository, descriptor.digest);
}

/** A metadata artifact as found. */
export interface FoundMetadata {
  /** Of its manifest. */
  readonly descriptor: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly repository: Repository;
}

/** Finds a metadata artifact by tag or digest; `undefined` where there is none. */
export async function findMetadata(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  options: CallOptions & { readonly reference?: string | undefined } = {},
): Promise<FoundMetadata | undefined> {
  const repository = store.metadataRepository(subdir, file);
  const stored = await repository.fetchManifest(options.reference ?? LATEST, options);
  if (options.reference === undefined) {
    store.rememberLatest(repository, stored?.descriptor.digest ?? 'nothing');
  }
  if (stored === undefined) return undefined;
  const manifest = parseNamed(stored.bytes, `${repository.name}:${options.reference ?? LATEST}`);
  store.rememberConfig(repository, manifest);
  return { descriptor: stored.descriptor, layers: manifest.layers, repository };
}

function parseNamed(bytes: Uint8Array, name: string): ImageManifest {
  try {
    return parseImageManifest(bytes);
  } catch (error) {
    if (!isFerryError(error)) throw error;
    throw new FerryError(error.code, `\`${name}\` is no metadata artifact`, { cause: error });
  }
}

/**
 * Reads the layer of one media type whole. @throws FerryError `MANIFEST_INVALID` where there is no such layer
 */
export async function readMetadataLayer(
  found: FoundMetadata,
  mediaType: string,
  maxBytes: number,
  options: CallOptions = {},
): Promise<Uint8Array> {
  return collect(openMetadataLayer(found, mediaType, options), maxBytes, `\`${found.repository.name}\``);
}

/** Opens the layer of one media type. @throws FerryError `MANIFEST_INVALID` where there is no such layer */
export function openMetadataLayer(found: FoundMetadata, mediaType: string, options: CallOptions = {}): Bytes {
  const layer = found.layers.find((candidate) => candidate.mediaType === mediaType);
  if (layer === undefined) {
    throw new FerryError(
      'MANIFEST_INVALID',
      `\`${found.repository.name}\` has no layer of type \`${mediaType}\``,
    );
  }
  return found.repository.fetch(layer, options);
}
