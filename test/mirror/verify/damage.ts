import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { describe as describeContent, type Descriptor } from '#ferry/oci/descriptor.js';
import { encodeJson, parseImageManifest, type ImageManifest } from '#ferry/oci/manifest.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import type { Repository } from '#ferry/oci/storage.js';
import { openerOf } from '#ferry/io/bytes.js';
import type { Schema } from '#ferry/artifact/schema.js';
import { startDiskRegistry, type DiskRegistry } from '../../support/registries/docker.js';
import { layoutStore, registryStore, type StoreUnderTest } from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';

/** A store whose files can be damaged behind its back. */
export interface FragileStore {
  /** A fresh view of the channel; nothing is remembered from earlier ones. */
  view(schema?: Schema): StoreUnderTest;
  /** Takes a tag away. */
  untag(repository: string, tag: string): Promise<void>;
  /** Takes a blob away, as bit rot and careless clean-ups do. */
  removeBlob(repository: string, digest: string): Promise<void>;
  /** Changes a byte of a blob, or of a manifest. */
  corrupt(repository: string, digest: string): Promise<void>;
  /** The same channel once more, at another path. */
  copy(name: string): Promise<FragileStore>;
  /** Whether damaged content can be written anew. */
  readonly takesAgain: boolean;
}

/** Docker-registry on disk, without a cache that would hide the damage. */
export async function startFragileRegistry(): Promise<DiskRegistry> {
  return startDiskRegistry({ blobCache: false });
}

/** A channel in such a registry. */
export function fragileRegistry(registry: DiskRegistry, channel: string): FragileStore {
  const root = join(registry.rootFolder, 'docker', 'registry', 'v2');
  const pathOf = (repository: string): string =>
    join(root, 'repositories', registry.prefix, channel, repository);
  return {
    takesAgain: false,
    copy: async (name) => {
      await cp(pathOf(''), join(root, 'repositories', registry.prefix, name), { recursive: true });
      return fragileRegistry(registry, name);
    },
    view: (schema) => registryStore(registry, channel, schema === undefined ? {} : { schema }),
    untag: (repository, tag) => remove(join(pathOf(repository), '_manifests', 'tags', tag)),
    removeBlob: (repository, digest) => remove(join(pathOf(repository), '_layers', 'sha256', hexOf(digest))),
    corrupt: async (_repository, digest) => {
      const hex = hexOf(digest);
      const path = join(root, 'blobs', 'sha256', hex.slice(0, 2), hex, 'data');
      await flip(path);
      // All repositories share it.
      onTestFinished(async () => flip(path));
    },
  };
}

/** A channel in image layouts. */
export function fragileLayouts(folder: string): FragileStore {
  const blob = (repository: string, digest: string): string =>
    join(folder, repository, 'blobs', 'sha256', hexOf(digest));
  const view = (schema?: Schema): StoreUnderTest =>
    layoutStore(folder, schema === undefined ? {} : { schema });
  return {
    takesAgain: true,
    copy: async () => {
      const copied = await tempFolder();
      await cp(folder, copied, { recursive: true });
      return fragileLayouts(copied);
    },
    view,
    untag: async (repository, tag) => view().store.registry.repository(repository).untag?.(tag),
    removeBlob: (repository, digest) => remove(blob(repository, digest)),
    corrupt: (repository, digest) => flip(blob(repository, digest)),
  };
}

/** The manifest behind a tag. */
export async function manifestOf(
  repository: Repository,
  tag: string,
): Promise<ImageManifest & Pick<Descriptor, 'digest'>> {
  const stored = await repository.fetchManifest(tag);
  if (stored === undefined) throw new Error(`${repository.name}:${tag} is not there`);
  return { ...parseImageManifest(stored.bytes), digest: stored.descriptor.digest };
}

/** Puts another document under a tag. */
export async function putManifest(
  repository: Repository,
  tag: string,
  document: object,
  mediaType = IMAGE_MANIFEST,
): Promise<void> {
  const bytes = encodeJson(document);
  await repository.push(describeContent(mediaType, bytes), openerOf(bytes), { tags: [tag] });
}

async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true });
}

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.byteLength >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await rm(path);
  await writeFile(path, bytes);
}

function hexOf(digest: string): string {
  return digest.slice('sha256:'.length);
}
