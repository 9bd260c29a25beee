import { FerryError, isFerryError } from '../errors.js';
import { collect, openerOf, type Bytes } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import { copyGraph, type CopyOptions } from '../oci/copy-graph.js';
import { describe, type Annotations, type Descriptor } from '../oci/descriptor.js';
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

/** Options of {@link pushMetadata}. */
export interface PushMetadataOptions extends CallOptions {
  readonly tags: readonly string[];
  /** Of the manifest, besides those that the schema has. */
  readonly annotations?: Annotations | undefined;
  /**
   * Look at `latest` once more when all blobs are there, right before it moves: the shorter that moment, the fewer changes
   * of others are overwritten. @defaultValue false
   */
  readonly looksBeforeMove?: boolean | undefined;
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
  options: PushMetadataOptions,
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
export interface CopyMetadataOptions extends PushMetadataOptions, Pick<CopyOptions, 'mountFrom'> {}

/**
 * As {@link pushMetadata}, with layers that are had from `content.source`, or mounted.
 * @throws FerryError `TAG_MOVED`
 */
export async function copyMetadata(
  store: ChannelStore,
  subdir: string,
  file: MetadataFile,
  content: { readonly layers: readonly Descriptor[]; readonly source: ContentSource },
  { signal, tags, mountFrom, annotations, looksBeforeMove = false }: CopyMetadataOptions,
): Promise<Descriptor> {
  const { schema } = store;
  const repository = store.metadataRepository(subdir, file);
  const manifest = encodeJson(annotated(schema.metadataManifest(content.layers), annotations));
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
  if (isLatestAlone && looksBeforeMove) {
    for (const layer of content.layers)
      await repository.push(layer, (open) => source.fetch(layer, open), { signal, mountFrom });
    await checkLatest(store, repository, root.digest, { signal });
  }
  await copyGraph(source, repository, root, {
    signal,
    tags: isLatestAlone ? tags : others,
    replaces: isLatestAlone ? store.latestOf(repository) : undefined,
    // New content: asking for it first would cost a request each.
    destinationHas: ({ digest }) => digest === schema.config.digest || (isLatestAlone && looksBeforeMove),
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
  await checkLatest(store, repository, descriptor.digest, { signal });
  await repository.tag(descriptor, LATEST, { signal, replaces: store.latestOf(repository) });
  store.rememberLatest(repository, descriptor.digest);
}

/** Makes sure that `latest` names what it named when it was read, or `next` already. @throws FerryError `TAG_MOVED` */
async function checkLatest(
  store: ChannelStore,
  repository: Repository,
  next: Digest,
  { signal }: CallOptions,
): Promise<void> {
  const replaces = store.latestOf(repository);
  const isKnown = (digest: ReplacedManifest = 'nothing'): boolean => digest === replaces || digest === next;
  if (replaces === undefined || isKnown((await repository.resolve(LATEST, { signal }))?.digest)) return;
  // Some registries tell another digest than that of the bytes.
  const found = await repository.fetchManifest(LATEST, { signal });
  if (!isKnown(found?.descriptor.digest)) throw tagMoved(repository.name, LATEST);
}

function annotated(manifest: ImageManifest, annotations: Annotations | undefined): ImageManifest {
  if (annotations === undefined) return manifest;
  return { ...manifest, annotations: { ...manifest.annotations, ...annotations } };
}

/** A metadata artifact as found. */
export interface FoundMetadata {
  /** Of its manifest. */
  readonly descriptor: Descriptor;
  readonly layers: readonly Descriptor[];
  /** Of its manifest. */
  readonly annotations: Annotations;
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
  const { layers, annotations = {} } = manifest;
  return { descriptor: stored.descriptor, layers, annotations, repository };
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
