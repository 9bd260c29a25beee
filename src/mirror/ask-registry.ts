import type { ChannelStore } from '../artifact/channel-store.js';
import { layersOf } from '../artifact/package-artifact.js';
import type { PackagePlace } from '../artifact/schema.js';
import { formatArchiveFilename } from '../conda/names.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { digestHex } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import { tryParseImageManifest } from '../oci/manifest.js';
import type { Repository } from '../oci/storage.js';

/** What {@link askRegistry} is told. */
export interface AskOptions {
  readonly store: ChannelStore;
  readonly subdir: string;
  readonly concurrency: number;
  /** Also ask for the package blobs that the manifests name. */
  readonly blobs: boolean;
  /** Called for each request, a page of tags being one. */
  readonly onRequest?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the registry which of these archives it holds: the tags of each repository, then the manifest of each tag
 * that is there. One tag alone is asked for directly.
 * @returns file name to identity, of what is there, whether its bytes are those wanted or others
 */
export async function askRegistry(
  wanted: readonly (readonly [RepodataRecord, PackagePlace])[],
  options: AskOptions,
): Promise<Map<string, string>> {
  const { store, subdir, signal } = options;
  const byRepository = new Map<string, Map<string, RepodataRecord[]>>();
  for (const [record, place] of wanted) {
    const tags = byRepository.get(place.repository) ?? new Map<string, RepodataRecord[]>();
    byRepository.set(place.repository, tags);
    tags.set(place.tag, [...(tags.get(place.tag) ?? []), record]);
  }

  const there = new Map<string, string>();
  await forEachConcurrently(
    byRepository,
    { concurrency: options.concurrency, signal },
    async ([leaf, tags]) => {
      const repository = store.packageRepository(subdir, { repository: leaf });
      const present = tags.size === 1 ? undefined : await listTags(repository, options);
      for (const [tag, records] of tags) {
        if (present !== undefined && !present.has(tag)) continue;
        for (const [filename, identity] of await archivesAt(repository, tag, records, options)) {
          there.set(filename, identity);
        }
      }
    },
  );
  return there;
}

async function listTags(repository: Repository, options: AskOptions): Promise<ReadonlySet<string>> {
  const tags = new Set<string>();
  options.onRequest?.();
  for await (const tag of repository.tags(options)) tags.add(tag);
  return tags;
}

async function archivesAt(
  repository: Repository,
  tag: string,
  records: readonly RepodataRecord[],
  options: AskOptions,
): Promise<(readonly [string, string])[]> {
  options.onRequest?.();
  const stored = await repository.fetchManifest(tag, options);
  if (stored === undefined) return [];
  const manifest = tryParseImageManifest(stored.bytes);
  // Something else stands under the tag; it will be replaced by what belongs there.
  if (manifest === undefined) return [];
  options.store.rememberConfig(repository, manifest);
  const { packages } = layersOf(manifest);
  const found: (readonly [string, string])[] = [];
  const [first] = records;
  if (first === undefined) return [];
  // A twin that nobody asked for is there too, and must not be lost when another archive joins it.
  for (const { extension, descriptor: layer } of packages) {
    if (options.blobs) {
      options.onRequest?.();
      if (!(await repository.exists(layer, options))) continue;
    }
    const record = records.find((candidate) => candidate.extension === extension);
    const filename = formatArchiveFilename({ ...first, extension });
    const md5 = layer.annotations?.[options.store.schema.md5Annotation];
    // Old records have no sha256; then the md5 that the layer carries has to do.
    const identity =
      record !== undefined && record.sha256 === undefined && md5 !== undefined
        ? `md5:${md5}`
        : `sha256:${digestHex(layer.digest)}`;
    found.push([filename, identity]);
  }
  return found;
}
