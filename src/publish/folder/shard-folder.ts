/** The shards of a subdir in a folder, and the index that names them. */
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { readShardIndex } from '../../conda/shards/read-shards.js';
import {
  SHARD_INDEX,
  shardFilename,
  type JsonObject,
  type ShardContent,
  type ShardIndex,
} from '../../conda/shards/shard-files.js';
import { writeShard, writeShardIndex } from '../../conda/shards/write-shards.js';
import { isFerryError, isSystemError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { digestOf, type Digest } from '../../io/digest.js';
import { readOrUndefined } from './put-file.js';

/** The folder of the shards, beside the index: what is removed by age stands apart from archives. */
const SHARDS_BASE = './shards/';
/** Its name. */
export const SHARDS_FOLDER = 'shards';
/** For so long a client may still hold an index that names a shard. @see cep16/old-shards */
const KEEP_SHARDS_MS = 7 * 24 * 60 * 60 * 1000;

/** Options of {@link writeShards}. */
export interface WriteShardsOptions {
  readonly subdir: string;
  /** What else `info` of the index says, such as `channel_relations`. @see CEP 42 */
  readonly info?: JsonObject | undefined;
  /** When the repodata was made, as far as is known; what an index of the same shards says stays. */
  readonly createdAt: Date;
  readonly warn: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes the shards that a folder lacks, and makes the index that names all of them.
 * @param old the index that is there, whose shards that are no longer named get their last week
 * @returns the index; `undefined` where a shard is larger than clients read, and they have to take the repodata
 */
export async function writeShards(
  contents: Iterable<{ readonly name: string; readonly content: ShardContent }>,
  shards: ShardFolder,
  old: ShardIndex | undefined,
  { subdir, info: more, createdAt, warn, signal }: WriteShardsOptions,
): Promise<Uint8Array | undefined> {
  const digests = new Map<string, Digest>();
  try {
    for (const { name, content } of contents) {
      signal?.throwIfAborted();
      const bytes = await writeShard(content);
      const digest = digestOf(bytes);
      digests.set(name, digest);
      await shards.put(digest, bytes);
    }
    await shards.release(old, new Set(digests.values()));
    const created = isSame(old, digests) ? old?.info['created_at'] : undefined;
    const info = {
      ...more,
      subdir,
      base_url: '',
      shards_base_url: SHARDS_BASE,
      created_at: typeof created === 'string' ? created : createdAt.toISOString(),
    };
    return await writeShardIndex({ info, shards: digests });
  } catch (error) {
    if (!isFerryError(error, 'SIZE_EXCEEDED')) throw error;
    warn(`${subdir}: no sharded repodata: ${error.message}`);
    return undefined;
  }
}

function isSame(old: ShardIndex | undefined, digests: ReadonlyMap<string, Digest>): boolean {
  return (
    old?.shards.size === digests.size &&
    [...digests].every(([name, digest]) => old.shards.get(name) === digest)
  );
}

/** Reads the index that lies in a folder; one that cannot be read is as good as none, since it is written anew. */
export async function readIndexAt(folder: string, subdir: string): Promise<ShardIndex | undefined> {
  const bytes = await readOrUndefined(join(folder, SHARD_INDEX));
  if (bytes === undefined) return undefined;
  try {
    return await readShardIndex(bytes, subdir, 'the index');
  } catch (error) {
    if (!isFerryError(error)) throw error;
    return undefined;
  }
}

/** The folder that shards lie in, by the names that their digests give them. */
export class ShardFolder {
  readonly #path: string;
  readonly #now: () => Date;
  #known: Set<string> | undefined;

  /** @param folder the subdir's */
  constructor(folder: string, now: () => Date) {
    this.#path = join(folder, SHARDS_FOLDER);
    this.#now = now;
  }

  /** File names of the shards that are there. */
  async list(): Promise<Set<string>> {
    if (this.#known !== undefined) return this.#known;
    const names = await readdir(this.#path).catch((error: unknown): string[] => {
      if (isSystemError(error, 'ENOENT')) return [];
      throw error;
    });
    this.#known = new Set(names.filter((name) => /^[0-9a-f]{64}\.msgpack\.zst$/.test(name)));
    return this.#known;
  }

  async put(digest: Digest, bytes: Uint8Array): Promise<void> {
    const name = shardFilename(digest);
    const known = await this.list();
    if (known.has(name)) return;
    await mkdir(this.#path, { recursive: true });
    await writeFileAtomic(join(this.#path, name), bytes);
    known.add(name);
  }

  /** Marks the time at which shards of the index before are no longer named: their week begins now. */
  async release(old: ShardIndex | undefined, named: ReadonlySet<Digest>): Promise<void> {
    const [known, now] = [await this.list(), this.#now()];
    for (const digest of old?.shards.values() ?? []) {
      const name = shardFilename(digest);
      if (!named.has(digest) && known.has(name)) await utimes(join(this.#path, name), now, now);
    }
  }

  /** Removes what no index has named for a week. */
  async removeOld(index: ShardIndex | undefined): Promise<void> {
    const named = new Set([...(index?.shards.values() ?? [])].map(shardFilename));
    const before = this.#now().getTime() - KEEP_SHARDS_MS;
    for (const name of await this.list()) {
      if (named.has(name)) continue;
      const path = join(this.#path, name);
      if ((await stat(path)).mtimeMs < before) await rm(path, { force: true });
    }
  }
}
