/** The sharded repodata of a subdir in an ordinary channel: the index, and all shards or a part of them. */
import type { ChannelSource } from '../conda/channel-source.js';
import { parseBoundedMsgpack } from '../conda/shards/parse-msgpack.js';
import {
  placeOfShards,
  SHARD_INDEX,
  SHARD_INDEX_LIMITS,
  SHARD_LIMITS,
  type ShardFileLimits,
} from '../conda/shards/shard-files.js';
import { FerryError, isFerryError } from '../errors.js';
import { collect } from '../io/bytes.js';
import { digestHex, digestOf } from '../io/digest.js';
import { forEachConcurrently } from '../io/pool.js';
import type { CheckContext } from './check-context.js';
import type { ClauseId } from './clauses.js';
import type { RepodataText } from './rules/repodata-text.js';
import { checkShardIndex, namesListed, type ShardIndex } from './rules/shard-index.js';
import { checkShard } from './rules/shards.js';
import { chooseSample } from './sample.js';

/** What one of the two kinds of files may be, and the clause for one that cannot be read. */
interface ShardFile extends ShardFileLimits {
  readonly format: ClauseId;
}

const INDEX: ShardFile = { format: 'cep16/index-format', ...SHARD_INDEX_LIMITS };
const SHARD: ShardFile = { format: 'cep16/shard-format', ...SHARD_LIMITS };

/** What {@link checkShards} looks at. */
export interface ShardsTarget {
  readonly source: ChannelSource;
  readonly subdir: string;
  /** The repodata of the subdir, where it was read. */
  readonly repodata: RepodataText | undefined;
}

/**
 * Checks the shards of a subdir, if it has any: the index always, all shards with `deep`, those of a sample of the package
 * names where one is asked for, else none: a large channel has tens of thousands.
 */
export async function checkShards(target: ShardsTarget, context: CheckContext): Promise<void> {
  const { source, subdir, repodata } = target;
  const { options, log } = context;
  const { deep, sample, concurrency, signal } = options;
  const where = `${subdir}/${SHARD_INDEX}`;
  const bytes = await read(source, where, INDEX, where, context);
  if (bytes === 'absent') return;
  const content = bytes === undefined ? undefined : await parse(bytes, INDEX, where, context);
  if (content === undefined) return;
  const index = checkShardIndex({ value: content.value, subdir, where, repodata }, log);
  if (index === undefined || (!deep && sample === undefined)) return;
  const names = [...index.digests.keys()];
  const chosen = sample === undefined ? names : chooseSample(names, sample.size, sample.seed);
  if (chosen.length === 0) return;
  await context.look(where, async () => {
    const folder = folderOf(source, subdir, index);
    if (folder === undefined) return;
    const listed = repodata === undefined ? undefined : namesListed(repodata);
    await forEachConcurrently(chosen, { concurrency, signal }, async (name) => {
      const hex = index.digests.get(name) ?? '';
      const shard = {
        ...target,
        name,
        hex,
        path: `${folder}${hex}.msgpack.zst`,
        listed: listed?.get(name) ?? [],
      };
      await context.look(`${subdir}/${hex}.msgpack.zst`, async () => readShard(shard, context));
    });
  });
}

interface Shard extends ShardsTarget {
  readonly name: string;
  /** Lower-case hex of its SHA-256. */
  readonly hex: string;
  /** Its path in the channel. */
  readonly path: string;
  readonly listed: readonly string[];
}

async function readShard(shard: Shard, context: CheckContext): Promise<void> {
  const { source, subdir, name, hex, path, listed, repodata } = shard;
  const { log, options } = context;
  const where = `${subdir}/${hex}.msgpack.zst`;
  const bytes = await read(source, path, SHARD, where, context);
  if (bytes === undefined) return;
  const isThere = log.expect('cep16/shard-url', bytes !== 'absent', () => ({
    where,
    found: `no such file, where the index names it for \`${name}\``,
    expected: 'the shard',
  }));
  if (!isThere || bytes === 'absent') return;
  const actual = digestHex(digestOf(bytes));
  const isRight = log.expect('cep16/shard-digest', actual === hex, () => ({
    where,
    found: `sha256:${actual}`,
    expected: `sha256:${hex}, as the index says of the compressed bytes`,
  }));
  if (!isRight) return;
  const parsed = await parse(bytes, SHARD, where, context);
  if (parsed === undefined) return;
  const nowMs = options.now().getTime();
  checkShard({ ...parsed, name, subdir, where, repodata, listed, nowMs }, log);
}

/** The folder that the shards lie in, as a path in the channel with a slash at its end, or empty. */
function folderOf(source: ChannelSource, subdir: string, { shardsBaseUrl }: ShardIndex): string | undefined {
  if (shardsBaseUrl === undefined) return undefined;
  let place;
  try {
    place = placeOfShards(source.url, subdir, shardsBaseUrl);
  } catch (error) {
    // A rule has said so already.
    if (isFerryError(error, 'REPODATA_INVALID')) return undefined;
    throw error;
  }
  if (place.kind === 'inside') return place.folder;
  throw new FerryError('UNSUPPORTED', 'its shards lie outside of the channel, where this check does not go');
}

/** Reads a file as it lies there; `undefined` where it is too large, which is said. */
async function read(
  source: ChannelSource,
  path: string,
  { maxBytes }: ShardFile,
  where: string,
  context: CheckContext,
): Promise<Uint8Array | 'absent' | undefined> {
  const answer = await source.openMetadata(path, { signal: context.options.signal });
  if (answer.status !== 'found') return 'absent';
  try {
    return await collect(answer.body, maxBytes, `\`${where}\``);
  } catch (error) {
    reportTooLarge(error, maxBytes, where, context);
    return undefined;
  }
}

/** Expands and decodes a file; `undefined` where that cannot be done, which is said. */
async function parse(
  bytes: Uint8Array,
  { format, maxBytes, maxValues }: ShardFile,
  where: string,
  context: CheckContext,
): Promise<{ readonly value: unknown; readonly hasOddKeys: boolean } | undefined> {
  const { expander, signal } = context.options;
  let expanded: Uint8Array;
  try {
    expanded = await expander.expand({ bytes, maxBytes, what: `\`${where}\`` }, signal);
  } catch (error) {
    if (isFerryError(error, 'REPODATA_INVALID'))
      context.log.report(format, { where, found: error.message, expected: 'msgpack, compressed with zstd' });
    else reportTooLarge(error, maxBytes, where, context);
    return undefined;
  }
  const parsed = parseBoundedMsgpack(expanded, maxValues);
  if (!('fault' in parsed)) {
    context.log.expect('cep16/limits', true, () => ({ where, found: '', expected: '' }));
    return parsed;
  }
  context.log.report(parsed.fault === 'limit' ? 'cep16/limits' : format, {
    where,
    found: parsed.message,
    expected: 'one msgpack map of a usual size',
  });
  return undefined;
}

function reportTooLarge(error: unknown, maxBytes: number, where: string, { log }: CheckContext): void {
  if (!isFerryError(error, 'SIZE_EXCEEDED')) throw error;
  log.report('cep16/limits', {
    where,
    found: `more than ${String(maxBytes)} bytes`,
    expected: 'no more, or some clients do not read it',
  });
}
