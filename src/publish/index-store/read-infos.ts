import type { ChannelStore } from '../../artifact/channel-store.js';
import { layersOf } from '../../artifact/package-artifact.js';
import { isArchiveFilename, parseArchiveFilename } from '../../conda/names.js';
import { isFerryError } from '../../errors.js';
import { forEachConcurrently } from '../../io/pool.js';
import { tryParseImageManifest } from '../../oci/manifest.js';
import { readIndexedLayer, type IndexedInfo } from '../indexed-info.js';
import type { Listing } from '../listing.js';
import { readInfoCache, writeInfoCache, type InfoCacheOptions } from './info-cache.js';

/**
 * Reads what the listed archives of a subdir say beside their records, out of the info layers of their artifacts, where the cache
 * does not have it. Of an archive whose info layer cannot be read nothing is known.
 * @returns by file name
 */
export async function readInfos(
  subdir: string,
  listings: readonly Listing[],
  options: InfoCacheOptions & {
    readonly concurrency: number;
    readonly warn: (message: string) => void;
  },
): Promise<ReadonlyMap<string, IndexedInfo>> {
  const { store, concurrency, signal, warn } = options;
  const known = await readInfoCache(subdir, options);
  const digests = new Map<string, string>();
  for (const listing of listings) {
    for (const filename of listing.filenames()) {
      const sha256 = listing.get(filename)?.['sha256'];
      if (typeof sha256 === 'string' && isArchiveFilename(filename)) digests.set(filename, sha256);
    }
  }
  const used = new Map<string, IndexedInfo>();
  const open: (readonly [string, string])[] = [];
  for (const [filename, sha256] of digests) {
    const info = known.get(sha256);
    if (info === undefined) open.push([filename, sha256]);
    else used.set(sha256, info);
  }
  await forEachConcurrently(open, { concurrency, signal }, async ([filename, sha256]) => {
    try {
      const info = await readInfo(store, subdir, filename, signal);
      if (info !== undefined) used.set(sha256, info);
    } catch (error) {
      if (!isFerryError(error) || !error.code.startsWith('ARCHIVE_')) throw error;
      warn(`${subdir}: the info of ${filename} cannot be read: ${error.message}`);
    }
  });
  const isSame = open.length === 0 && used.size === known.size;
  if (!isSame) await writeInfoCache(subdir, used, options);
  const infos = new Map<string, IndexedInfo>();
  for (const [filename, sha256] of digests) {
    const info = used.get(sha256);
    if (info !== undefined) infos.set(filename, info);
  }
  return infos;
}

async function readInfo(
  store: ChannelStore,
  subdir: string,
  filename: string,
  signal: AbortSignal | undefined,
): Promise<IndexedInfo | undefined> {
  const place = store.schema.placeOf(parseArchiveFilename(filename));
  const repository = store.packageRepository(subdir, place);
  const stored = await repository.fetchManifest(place.tag, { signal });
  const manifest = stored && tryParseImageManifest(stored.bytes);
  const info = manifest && layersOf(manifest).info;
  return info === undefined ? undefined : readIndexedLayer(repository.fetch(info, { signal }), info.size);
}
