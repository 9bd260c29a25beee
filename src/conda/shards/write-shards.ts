/** Writes sharded repodata, byte for byte the same for the same content: what shards are named by is their digest. */
import { Encoder } from '@msgpack/msgpack';
import { FerryError, IntegrityError } from '../../errors.js';
import { digestHex } from '../../io/digest.js';
import { compressZstd } from '../../io/zstd.js';
import { shorten } from '../archive/member-path.js';
import {
  SHARD_INDEX_LIMITS,
  SHARD_LIMITS,
  SHARD_SECTIONS,
  type JsonObject,
  type ShardContent,
  type ShardFileLimits,
  type ShardIndex,
} from './shard-files.js';

/** Measured on a shard: 15 saves 1 % more and takes eight times as long. Its window, 4 MiB, is one that all clients allow. */
const ZSTD_LEVEL = 9;
/** As deep as JSON may be nested in a shard that is read. */
const MAX_DEPTH = 100;

/** Digests that are bytes in a shard, by their lengths in bytes; every other digest stays text. */
const BINARY_DIGESTS: ReadonlyMap<string, number> = new Map([
  ['sha256', 32],
  ['md5', 16],
]);

/**
 * Writes a shard: a msgpack map with sorted keys, in one zstd frame that tells its size. `packages` and `packages.conda`
 * are always there, `removed` and `v3` where they are not empty.
 * @returns the compressed bytes, whose SHA-256 names the shard
 * @throws IntegrityError `SIZE_EXCEEDED` above the 16 MiB that conda reads
 * @see CEP 16, CEP 48
 */
export async function writeShard(content: ShardContent): Promise<Uint8Array> {
  const shard: Record<string, unknown> = {};
  for (const section of SHARD_SECTIONS) shard[section] = recordsOf(content[section]);
  if (content.removed.length > 0) shard['removed'] = content.removed.toSorted();
  if (content.v3 !== undefined && content.v3.size > 0) {
    shard['v3'] = fromEntries([...content.v3].map(([extension, records]) => [extension, recordsOf(records)]));
  }
  return seal(shard, SHARD_LIMITS, 'the shard');
}

/**
 * Writes an index: `version`, `info` and the digests by package name, keys sorted.
 * @param index `info` says when it was made (`created_at`), which has to be the caller's: two indexes of the same shards
 * are the same bytes
 * @throws IntegrityError `SIZE_EXCEEDED` above the 128 MiB that conda reads
 * @see CEP 16
 */
export async function writeShardIndex(index: ShardIndex): Promise<Uint8Array> {
  const digests = [...index.shards].map(
    ([name, digest]) => [name, Buffer.from(digestHex(digest), 'hex')] as const,
  );
  const document = { version: 1, info: index.info, shards: fromEntries(digests) };
  return seal(document, SHARD_INDEX_LIMITS, 'the index of the shards');
}

async function seal(document: object, { maxBytes }: ShardFileLimits, what: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = new Encoder({ sortKeys: true, maxDepth: MAX_DEPTH }).encode(document);
  } catch (cause) {
    throw new FerryError('REPODATA_INVALID', `${what} cannot be written as msgpack`, { cause });
  }
  if (bytes.byteLength > maxBytes)
    throw new IntegrityError('SIZE_EXCEEDED', what, maxBytes, bytes.byteLength);
  return compressZstd(bytes, ZSTD_LEVEL);
}

function recordsOf(records: ReadonlyMap<string, JsonObject>): object {
  return fromEntries([...records].map(([filename, record]) => [filename, withBytes(record)]));
}

/** The record with its digests as bytes; what is no such digest (`null`, rubbish) stays as it stands. */
function withBytes(record: JsonObject): object {
  return fromEntries(
    Object.entries(record).map(([key, value]) => [key, bytesOfDigest(key, value) ?? value] as const),
  );
}

function bytesOfDigest(key: string, value: unknown): Uint8Array | undefined {
  const length = BINARY_DIGESTS.get(key);
  if (length === undefined || typeof value !== 'string') return undefined;
  const isHex = value.length === 2 * length && /^[0-9a-fA-F]+$/.test(value);
  return isHex ? Buffer.from(value, 'hex') : undefined;
}

/** As `Object.fromEntries`, refusing the one key that readers of msgpack refuse. */
function fromEntries(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  const odd = entries.find(([key]) => key === '__proto__');
  if (odd === undefined) return Object.fromEntries(entries);
  throw new FerryError('REPODATA_INVALID', `a shard cannot have the key \`${shorten(odd[0])}\``);
}
