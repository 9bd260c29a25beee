/** A snapshot of a few packages, taken from the shards of a subdir: a small part of what its repodata weighs. */
import type { ChannelSource, MetadataAnswer, Validators } from '../conda/channel-source.js';
import { readShard, readShardIndex } from '../conda/shards/read-shards.js';
import {
  placeOfShards,
  SHARD_INDEX,
  SHARD_INDEX_LIMITS,
  SHARD_LIMITS,
  SHARD_SECTIONS,
  shardFilename,
  type JsonObject,
  type ShardContent,
  type ShardIndex,
  type ShardsPlace,
} from '../conda/shards/shard-files.js';
import { FerryError, isFerryError } from '../errors.js';
import { collect } from '../io/bytes.js';
import { compareText } from '../io/compare-text.js';
import { digestOf, type Digest } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';

/** Shards are small and many. */
const DEFAULT_CONCURRENCY = 16;

/** What {@link takeShardSnapshot} works with. */
export interface ShardSnapshotOptions {
  /** Ask only whether the index still has these. */
  readonly unless?: Validators | undefined;
  /**
   * More names that are read, in lower case, and that the index has to have; `undefined` where shards will not do. Asked for
   * once the index was found to have changed. @defaultValue none
   */
  readonly required?: (() => Promise<ReadonlySet<string> | undefined>) | undefined;
  /** Where there are more names than these, shards will not do. @defaultValue no limit */
  readonly maxNames?: number | undefined;
  /** Shards fetched at once. @defaultValue 16 */
  readonly concurrency?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Answer to {@link takeShardSnapshot}. */
export type ShardSnapshotAnswer =
  /** There are no shards; repodata has to be read. */
  | { readonly status: 'absent' }
  | { readonly status: 'unchanged' }
  /** The names that are {@link ShardSnapshotOptions.required} are not all there, or too many. */
  | { readonly status: 'unfit' }
  | {
      readonly status: 'found';
      /** Repodata as JSON text, of these packages only; the same bytes for the same shards. */
      readonly bytes: Uint8Array;
      /** Of {@link bytes}. */
      readonly digest: Digest;
      /** Names that were asked for and that the subdir does not list. */
      readonly missing: ReadonlySet<string>;
      /** How many packages the subdir has. */
      readonly packages: number;
      /** Of the index, to ask next time whether anything changed. */
      readonly validators: Validators;
      /** Bytes read of index and shards, compressed. */
      readonly readBytes: number;
    };

/**
 * Reads what a subdir lists of some packages: the index, and one shard for each name, checked by its digest. The result
 * reads as the repodata does when all other names are filtered out of it; `info.base_url` is as the index has it. Names
 * are compared without regard to case.
 * @throws FerryError `REPODATA_INVALID` where index or shards cannot be read or a shard is missing: a package is never
 * left out for that; IntegrityError `DIGEST_MISMATCH`, `SIZE_EXCEEDED`; `UNSUPPORTED` where the source cannot go where the
 * shards lie
 * @see CEP 16
 */
export async function takeShardSnapshot(
  source: ChannelSource,
  subdir: string,
  names: ReadonlySet<string>,
  options: ShardSnapshotOptions = {},
): Promise<ShardSnapshotAnswer> {
  const { unless, concurrency = DEFAULT_CONCURRENCY, signal } = options;
  const path = `${subdir}/${SHARD_INDEX}`;
  const answer = await source.openMetadata(path, { unless, signal });
  if (answer.status !== 'found') return { status: answer.status };
  const indexBytes = await collect(answer.body, SHARD_INDEX_LIMITS.maxBytes, `\`${path}\``);
  const index = await readShardIndex(indexBytes, subdir, `\`${path}\``);
  const place = placeOfShards(source.url, subdir, textOf(index, 'shards_base_url') ?? '');
  const known = new Set([...index.shards.keys()].map((name) => name.toLowerCase()));
  const required = options.required === undefined ? new Set<string>() : await options.required();
  if (required === undefined || [...required].some((name) => !known.has(name))) return { status: 'unfit' };
  const asked = new Set([...[...names].map((name) => name.toLowerCase()), ...required]);
  if (options.maxNames !== undefined && asked.size > options.maxNames) return { status: 'unfit' };
  const wanted = [...index.shards].filter(([name]) => asked.has(name.toLowerCase()));
  const contents = new Map<string, ShardContent>();
  let readBytes = indexBytes.byteLength;
  await forEachConcurrently(wanted, { concurrency, signal }, async ([name, digest]) => {
    try {
      const shard = await open({ source, subdir, place, digest, signal });
      if (shard.status !== 'found') throw new FerryError('REPODATA_INVALID', 'the shard is not there');
      const bytes = await collect(shard.body, SHARD_LIMITS.maxBytes, 'the shard');
      readBytes += bytes.byteLength;
      contents.set(name, await readShard(bytes, { name, digest }));
    } catch (error) {
      if (!isFerryError(error)) throw error;
      throw new FerryError(
        error.code,
        `the shard of \`${name}\` in \`${source.url}/${subdir}\` is not to be had`,
        {
          cause: error,
          hint: error.hint,
        },
      );
    }
  });
  const bytes = joinShards(subdir, index, contents);
  const missing = new Set([...names].filter((name) => !known.has(name.toLowerCase())));
  const { validators } = answer;
  const packages = index.shards.size;
  return { status: 'found', bytes, digest: digestOf(bytes), missing, packages, validators, readBytes };
}

interface ShardRequest {
  readonly source: ChannelSource;
  readonly subdir: string;
  readonly place: ShardsPlace;
  readonly digest: Digest;
  readonly signal: AbortSignal | undefined;
}

async function open({ source, subdir, place, digest, signal }: ShardRequest): Promise<MetadataAnswer> {
  const filename = shardFilename(digest);
  if (place.kind === 'inside') return source.openMetadata(`${place.folder}${filename}`, { signal });
  if (source.openLinked !== undefined)
    return source.openLinked(`${place.base}${filename}`, { subdir, signal });
  throw new FerryError('UNSUPPORTED', 'its shards lie outside of the channel, where this source cannot go');
}

/** Puts shards together to repodata: keys sorted, one record a line. */
function joinShards(
  subdir: string,
  index: ShardIndex,
  contents: ReadonlyMap<string, ShardContent>,
): Uint8Array {
  const shards = [...contents.values()];
  const baseUrl = textOf(index, 'base_url');
  const hasBaseUrl = baseUrl !== undefined && baseUrl !== '' && baseUrl !== './' && baseUrl !== '.';
  const relations = index.info['channel_relations'];
  const info = {
    ...(hasBaseUrl ? { base_url: baseUrl } : {}),
    ...(relations === undefined ? {} : { channel_relations: relations }),
    subdir,
  };
  const members = [
    `"info":${JSON.stringify(info)}`,
    ...SHARD_SECTIONS.map((section) => {
      const records = shards.flatMap((shard) => [...shard[section]]);
      return `${JSON.stringify(section)}:${formatRecords(records)}`;
    }),
    `"removed":${JSON.stringify(shards.flatMap(({ removed }) => removed).sort(compareText))}`,
    // Without a base the version is 1. @see CEP 15
    `"repodata_version":${hasBaseUrl ? '2' : '1'}`,
  ];
  const extensions = new Set(shards.flatMap(({ v3 }) => [...(v3?.keys() ?? [])]));
  if (extensions.size > 0) {
    const revision = [...extensions].sort(compareText).map((extension) => {
      const records = shards.flatMap(({ v3 }) => [...(v3?.get(extension) ?? [])]);
      return `${JSON.stringify(extension)}:${formatRecords(records)}`;
    });
    members.push(`"v3":{${revision.join(',')}}`);
  }
  return Buffer.from(`{${members.join(',\n')}}\n`);
}

function formatRecords(records: readonly (readonly [string, JsonObject])[]): string {
  const lines = records
    .toSorted(([a], [b]) => compareText(a, b))
    .map(([filename, record]) => `${JSON.stringify(filename)}:${JSON.stringify(sortKeys(record))}`);
  return `{${lines.join(',\n')}}`;
}

function sortKeys(record: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => compareText(a, b)));
}

function textOf(index: ShardIndex, key: string): string | undefined {
  const value = index.info[key];
  return typeof value === 'string' ? value : undefined;
}
