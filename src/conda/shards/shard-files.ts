/**
 * Sharded repodata (CEP 16): an index that names one shard for each package name of a subdir. What both files may be,
 * where they lie, and the values that a shard holds.
 */
import { FerryError } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import { digestHex } from '../../io/digest.js';

const MIB = 1024 * 1024;

/** What one of the two kinds of files may be; some clients stop there. @see cep16/limits */
export interface ShardFileLimits {
  /** Decompressed. */
  readonly maxBytes: number;
  /** Values of msgpack in it, keys and containers included. */
  readonly maxValues: number;
}

/** Limits of an index. */
export const SHARD_INDEX_LIMITS: ShardFileLimits = { maxBytes: 128 * MIB, maxValues: 10_000_000 };
/** Limits of a shard. */
export const SHARD_LIMITS: ShardFileLimits = { maxBytes: 16 * MIB, maxValues: 4_000_000 };

/** File name of the index. @see cep16/index-path */
export const SHARD_INDEX = 'repodata_shards.msgpack.zst';

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Sections of a shard that hold records by file name. Both are always written, since clients index both. */
export const SHARD_SECTIONS = ['packages', 'packages.conda'] as const;

/** What repodata says of one package, as JSON has it: digests are hex. */
export interface ShardContent {
  /** Records of `.tar.bz2` archives by file name. */
  readonly packages: ReadonlyMap<string, JsonObject>;
  /** Records of `.conda` archives by file name. */
  readonly 'packages.conda': ReadonlyMap<string, JsonObject>;
  /** File names that are gone from the index on purpose. */
  readonly removed: readonly string[];
  /** Records by extension and file name without it. @see CEP 48 */
  readonly v3?: ReadonlyMap<string, ReadonlyMap<string, JsonObject>> | undefined;
}

/** What an index says. */
export interface ShardIndex {
  /** `info` as it stands, such as `{ subdir: 'noarch', base_url: '', shards_base_url: './shards/' }`. */
  readonly info: JsonObject;
  /** Digest of each shard's compressed bytes, by package name. */
  readonly shards: ReadonlyMap<string, Digest>;
}

/** File name of a shard: `<sha256>.msgpack.zst`. */
export function shardFilename(digest: Digest): string {
  return `${digestHex(digest)}.msgpack.zst`;
}

/** Where the shards of an index lie: a folder of the same channel, or a URL that only the source can resolve. */
export type ShardsPlace =
  /** Path in the channel, such as `noarch/shards/`; ends with a slash. */
  | { readonly kind: 'inside'; readonly folder: string }
  /** As the index says it, with a slash at its end. */
  | { readonly kind: 'outside'; readonly base: string };

/**
 * Finds the shards of an index: `./shards/` of `noarch` is `noarch/shards/`.
 * @param channelUrl the channel's durable name
 * @param base `shards_base_url` of the index: absolute, relative to the index, or empty for beside it
 * @throws FerryError `UNSUPPORTED` where it is no place in a folder; `REPODATA_INVALID` where it is no URL
 * @see cep16/shards-base-url
 */
export function placeOfShards(channelUrl: string, subdir: string, base: string): ShardsPlace {
  // Clients add the slash where it is missing.
  const folder = base === '' || base.endsWith('/') ? base : `${base}/`;
  // A redacted name or one of a registry is no base for absolute URLs, but good enough for relative ones.
  const root = `${channelUrl.replace(/\/+$/, '')}/`;
  if (!URL.canParse(folder, `${root}${subdir}/`)) {
    throw new FerryError('REPODATA_INVALID', '`shards_base_url` of the index is no URL');
  }
  const { href } = new URL(folder, `${root}${subdir}/`);
  const channel = new URL(root).href;
  if (!href.startsWith(channel)) return { kind: 'outside', base: folder };
  const path = href.slice(channel.length);
  if (!channel.startsWith('file:')) return { kind: 'inside', folder: path };
  try {
    return { kind: 'inside', folder: decodeURIComponent(path) };
  } catch (cause) {
    throw new FerryError('UNSUPPORTED', 'the place of its shards is no path in a folder', { cause });
  }
}
