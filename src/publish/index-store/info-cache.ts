/**
 * What archives say beside their records, by sha256: kept in the ledger's repository, so that an index reads the info layer of
 * each archive once and not each time.
 */
import { z } from 'zod';
import type { ChannelStore } from '../../artifact/channel-store.js';
import { INDEX_CACHE_TAG, INFO_CACHE } from '../../artifact/media-types.js';
import { findMetadata, pushMetadata, readMetadataLayer } from '../../artifact/metadata-artifact.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { IntegrityError, isFerryError } from '../../errors.js';
import type { CallOptions } from '../../oci/storage.js';
import type { IndexedInfo } from '../indexed-info.js';
import { PACKAGE_FLAGS, type PackageFlags } from '../package-flags.js';
import { sortedJson } from '../sorted-json.js';

/** Some million archives. */
const MAX_CACHE_BYTES = 2 * 1024 * 1024 * 1024;
const ZSTD_LEVEL = 9;

const object = z.record(z.string(), z.unknown());
const flags = z.object(Object.fromEntries(PACKAGE_FLAGS.map((flag) => [flag, z.boolean()])));
const cacheSchema = z.looseObject({
  cache_version: z.literal(1),
  archives: z.record(z.string(), z.object({ about: object, runExports: object, flags, source: object })),
});

/** What a cache is read and written with. */
export interface InfoCacheOptions extends CallOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
}

/** Reads the cache of a subdir; one that is absent, of another version or damaged is as good as an empty one. */
export async function readInfoCache(
  subdir: string,
  { store, workers, signal }: InfoCacheOptions,
): Promise<Map<string, IndexedInfo>> {
  try {
    const found = await findMetadata(store, subdir, 'ledger', { signal, reference: INDEX_CACHE_TAG });
    if (found === undefined) return new Map();
    const packed = await readMetadataLayer(found, INFO_CACHE, MAX_CACHE_BYTES, { signal });
    const input = { bytes: packed, maxBytes: MAX_CACHE_BYTES, what: 'the cache of the index' };
    const bytes = await workers.run('decompress', input, signal);
    const { archives } = cacheSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
    return new Map(
      Object.entries(archives).map(([sha256, info]) => [
        sha256,
        { ...info, flags: info.flags as unknown as PackageFlags },
      ]),
    );
  } catch (error) {
    const isContent =
      error instanceof z.ZodError || error instanceof SyntaxError || error instanceof IntegrityError;
    if (isContent || isFerryError(error, 'MANIFEST_INVALID') || isFerryError(error, 'REPODATA_INVALID'))
      return new Map();
    throw error;
  }
}

/** Writes the cache of a subdir. */
export async function writeInfoCache(
  subdir: string,
  infos: ReadonlyMap<string, IndexedInfo>,
  { store, workers, signal }: InfoCacheOptions,
): Promise<void> {
  const document = { cache_version: 1, archives: Object.fromEntries(infos) };
  const bytes = Buffer.from(sortedJson(document));
  const packed = await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal);
  const layer = { mediaType: INFO_CACHE, title: 'index-cache.json.zst', bytes: packed };
  await pushMetadata(store, subdir, 'ledger', [layer], { tags: [INDEX_CACHE_TAG], signal });
}
