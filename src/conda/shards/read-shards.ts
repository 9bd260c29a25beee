/** Reads sharded repodata that a stranger wrote. Nothing is skipped: what cannot be read would be packages that vanish. */
import { FerryError } from '../../errors.js';
import { digestHex, sha256Digest, type Digest } from '../../io/digest.js';
import { checkBytes } from '../../io/verify.js';
import { decompressZstd } from '../../io/zstd.js';
import { shorten } from '../archive/member-path.js';
import { isArchiveFilename, parseArchiveFilename } from '../names.js';
import { parseBoundedMsgpack } from './parse-msgpack.js';
import {
  SHARD_INDEX_LIMITS,
  SHARD_LIMITS,
  SHARD_SECTIONS,
  type JsonObject,
  type ShardContent,
  type ShardFileLimits,
  type ShardIndex,
} from './shard-files.js';

/** Of a SHA-256. */
const DIGEST_BYTES = 32;

/**
 * Reads an index.
 * @param bytes as they lie there, compressed
 * @param what names the file in errors, such as `` `noarch/repodata_shards.msgpack.zst` ``
 * @throws FerryError `REPODATA_INVALID`; IntegrityError `SIZE_EXCEEDED` above 128 MiB decompressed
 * @see CEP 16
 */
export async function readShardIndex(bytes: Uint8Array, subdir: string, what: string): Promise<ShardIndex> {
  const { info = {}, shards } = await readMap(bytes, SHARD_INDEX_LIMITS, what);
  if (!isMap(info) || !isMap(shards)) throw invalid(what, '`info` or `shards` is no map');
  const named = info['subdir'];
  if (typeof named === 'string' && named !== subdir)
    throw invalid(what, `it says it is of \`${shorten(named)}\``);
  const digests = new Map<string, Digest>();
  for (const [name, digest] of Object.entries(shards)) {
    if (!(digest instanceof Uint8Array) || digest.byteLength !== DIGEST_BYTES)
      throw invalid(what, `the digest of \`${shorten(name)}\` is no SHA-256`);
    digests.set(name, sha256Digest(Buffer.from(digest).toString('hex')));
  }
  return { info: asJson(info, what) as JsonObject, shards: digests };
}

/** What {@link readShard} compares a shard with. */
export interface ExpectedShard {
  /** The package that the index has it for. */
  readonly name: string;
  /** What the index says of it. */
  readonly digest: Digest;
}

/**
 * Reads a shard; digests that are bytes in it come as hex, as repodata has them.
 * @param bytes as they lie there, compressed
 * @throws IntegrityError `DIGEST_MISMATCH`, `SIZE_EXCEEDED` above 16 MiB decompressed; FerryError `REPODATA_INVALID`, also for
 * records of another package
 * @see CEP 16
 */
export async function readShard(bytes: Uint8Array, { name, digest }: ExpectedShard): Promise<ShardContent> {
  const what = `shard \`${digestHex(digest)}\` of \`${shorten(name)}\``;
  checkBytes(bytes, { digest, size: bytes.byteLength }, what);
  const shard = await readMap(bytes, SHARD_LIMITS, what);
  const [packages, conda] = SHARD_SECTIONS.map((section) => recordsIn(shard[section], name, what));
  const { removed = [], v3 } = shard;
  if (!Array.isArray(removed) || !removed.every((item) => typeof item === 'string'))
    throw invalid(what, '`removed` is no list of file names');
  if (v3 !== undefined && !isMap(v3)) throw invalid(what, '`v3` is no map');
  return {
    packages: packages ?? new Map(),
    'packages.conda': conda ?? new Map(),
    removed: removed,
    ...(v3 === undefined
      ? {}
      : {
          v3: new Map(
            Object.entries(v3).map(([extension, records]) => [
              extension,
              recordsIn(records, name, what, extension),
            ]),
          ),
        }),
  };
}

/** Records by their keys. Where the whole section is missing there are none. */
function recordsIn(
  section: unknown,
  name: string,
  what: string,
  extension?: string,
): ReadonlyMap<string, JsonObject> {
  if (section === undefined) return new Map();
  if (!isMap(section)) throw invalid(what, 'a section is no map');
  return new Map(
    Object.entries(section).map(([key, value]) => {
      if (!isMap(value)) throw invalid(what, `record \`${shorten(key)}\` is no map`);
      const filename = extension === undefined ? key : `${key}.${extension}`;
      // Two shards could list one archive in two ways; a name that cannot be read is the reader's of records to refuse.
      if (isArchiveFilename(filename) && parseArchiveFilename(filename).name !== name)
        throw invalid(what, `it lists \`${shorten(filename)}\`, of another package`);
      return [key, asRecord(value, what)] as const;
    }),
  );
}

/** A record as JSON has it. Of binaries only digests are known: `sha256`, `md5`, and what rattler makes of other ones. */
function asRecord(record: JsonObject, what: string): JsonObject {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [
      key,
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : asJson(value, what),
    ]),
  );
}

/** Refuses what JSON does not have. */
function asJson(value: unknown, what: string): unknown {
  const isPlain = value === null || typeof value === 'string' || typeof value === 'boolean';
  if (isPlain || (typeof value === 'number' && Number.isFinite(value))) return value;
  if (Array.isArray(value)) return value.map((item) => asJson(item, what));
  if (!isMap(value)) throw invalid(what, 'it has a value that repodata cannot have');
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asJson(item, what)]));
}

async function readMap(bytes: Uint8Array, limits: ShardFileLimits, what: string): Promise<JsonObject> {
  const parsed = parseBoundedMsgpack(await decompressZstd(bytes, limits.maxBytes, what), limits.maxValues);
  if ('fault' in parsed) throw invalid(what, parsed.message);
  if (parsed.hasOddKeys || !isMap(parsed.value)) throw invalid(what, 'it is no map with texts as keys');
  return parsed.value;
}

/** Whether a decoded value is a map: no list, binary or extension. */
function isMap(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function invalid(what: string, why: string): FerryError {
  return new FerryError('REPODATA_INVALID', `${what} cannot be read: ${why}`);
}
