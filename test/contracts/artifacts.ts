import { collect, openerOf, type Bytes, type OpenBytes } from '#ferry/io/bytes.js';
import { describe as describeBytes, type Descriptor } from '#ferry/oci/descriptor.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import type { Repository } from '#ferry/oci/storage.js';

const LAYER = 'application/vnd.example.layer.v1';
export const CONFIG = 'application/vnd.example.config.v1+json';

/** Bytes with their descriptor. */
export interface Content {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** An artifact: blobs first, manifest last. */
export interface Artifact {
  readonly blobs: readonly Content[];
  readonly manifest: Content;
}

export function contentOf(bytes: Uint8Array | string, mediaType = LAYER): Content {
  const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  return { descriptor: describeBytes(mediaType, buffer), bytes: buffer };
}

/** The artifact with one layer for each text; the same texts make the same artifact. */
export function artifactOf(...layerTexts: readonly string[]): Artifact {
  const config = contentOf('{}', CONFIG);
  const layers = layerTexts.map((text) => contentOf(text));
  const manifest = contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_MANIFEST,
      config: config.descriptor,
      layers: layers.map((layer) => layer.descriptor),
    }),
    IMAGE_MANIFEST,
  );
  return { blobs: [config, ...layers], manifest };
}

export function indexOf(...manifests: readonly Content[]): Content {
  return contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: IMAGE_INDEX,
      manifests: manifests.map((manifest) => manifest.descriptor),
    }),
    IMAGE_INDEX,
  );
}

export async function pushContent(
  repository: Repository,
  content: Content,
  tags: string[] = [],
): Promise<void> {
  await repository.push(content.descriptor, openerOf(content.bytes), { tags });
}

export async function pushArtifact(
  repository: Repository,
  artifact: Artifact,
  tags: string[] = [],
): Promise<void> {
  for (const blob of artifact.blobs) await pushContent(repository, blob);
  await pushContent(repository, artifact.manifest, tags);
}

export async function readAll(bytes: Bytes): Promise<Buffer> {
  return Buffer.from(await collect(bytes, 64 * 1024 * 1024, 'test content'));
}

export async function tagsOf(repository: Repository): Promise<string[]> {
  const tags: string[] = [];
  for await (const tag of repository.tags()) tags.push(tag);
  return tags.sort();
}

/** What a descriptor says of content wherever it stands. */
export function essence(descriptor: Descriptor | undefined): Descriptor | undefined {
  if (descriptor === undefined) return undefined;
  const { mediaType, digest, size } = descriptor;
  return { mediaType, digest, size };
}

/** Pushes the artifact of one layer with that text. */
export async function pushNew(repository: Repository, text: string, tags: string[]): Promise<Artifact> {
  const artifact = artifactOf(text);
  await pushArtifact(repository, artifact, tags);
  return artifact;
}

/** Opens bytes in chunks whose sizes share no factor with any buffer's. */
export function inChunks(bytes: Uint8Array): OpenBytes {
  return async function* open({ offset = 0 } = {}) {
    for (let at = offset, size = 1; at < bytes.byteLength; at += size, size = ((size * 7) % 65_537) + 1) {
      yield await Promise.resolve(bytes.subarray(at, at + size));
    }
  };
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it should have failed');
}

/** An error and its causes. */
export function chainOf(error: unknown): unknown[] {
  return error instanceof Error ? [error, ...chainOf(error.cause)] : [error];
}
