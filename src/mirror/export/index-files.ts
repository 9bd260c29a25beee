/**
 * The index files of a subdir in a folder: repodata, its shards, and both compressed. Each appears whole, by rename, and only
 * after what it names; the plain repodata is the last.
 */
import { mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { readShardIndex } from '../../conda/shards/read-shards.js';
import { SHARD_INDEX, shardFilename, type ShardIndex } from '../../conda/shards/shard-files.js';
import { splitRepodata } from '../../conda/shards/split-repodata.js';
import { writeShard, writeShardIndex } from '../../conda/shards/write-shards.js';
import { isFerryError, isSystemError } from '../../errors.js';
import { writeFileAtomic } from '../../io/atomic-file.js';
import { digestOf, type Digest } from '../../io/digest.js';

/** The folder of the shards, beside the index: what is removed by age stands apart from archives. */
const SHARDS_BASE = './shards/';
const SHARDS_FOLDER = 'shards';
/** For so long a client may still hold an index that names a shard. @see cep16/old-shards */
const KEEP_SHARDS_MS = 7 * 24 * 60 * 60 * 1000;
/** What conda-oci-mirror uses; repodata is compressed once and read very often. */
const ZSTD_LEVEL = 15;

/** The files that belong together. */
const INDEX_FILES = ['repodata.json', 'repodata.json.zst', SHARD_INDEX] as const;

/** What {@link writeIndexFiles} works with. */
export interface IndexOptions {
  /** The subdir's folder. */
  readonly folder: string;
  readonly subdir: string;
  readonly workers: WorkerPool;
  /** When the repodata was made, as far as is known. */
  readonly createdAt: Date;
  /** Digests of the files that were written last time, and that belong together. */
  readonly before: Readonly<Record<string, Digest>>;
  /** Called before the first of them is written: from then on they do not belong together. */
  readonly mark: () => Promise<void>;
  readonly now: () => Date;
  readonly warn: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** What {@link writeIndexFiles} did. */
export interface WrittenIndex {
  /** Digests by file name, such as `repodata.json`. */
  readonly files: Readonly<Record<string, Digest>>;
  readonly isNew: boolean;
}

/**
 * Brings a subdir's index files in line with `repodata`; nothing is written where they are so already.
 * @param zst the repodata compressed, where the source has it
 * @throws FerryError `DISK_FULL`
 */
export async function writeIndexFiles(
  repodata: Uint8Array,
  zst: Uint8Array | undefined,
  options: IndexOptions,
): Promise<WrittenIndex> {
  const { folder, before, workers, signal } = options;
  const digest = digestOf(repodata);
  const shards = new ShardFolder(folder, options.now);
  const old = await readIndexAt(folder, options.subdir);
  if (before['repodata.json'] === digest && (await isIntact(folder, before, old, shards))) {
    await shards.removeOld(old);
    return { files: Object.fromEntries(INDEX_FILES.flatMap((name) => entryOf(before, name))), isNew: false };
  }
  await options.mark();
  const files: Record<string, Digest> = {};
  const index = await writeShards(repodata, shards, old, options);
  if (index === undefined) await rm(join(folder, SHARD_INDEX), { force: true });
  else files[SHARD_INDEX] = await putFile(join(folder, SHARD_INDEX), index);
  const compressed = zst ?? (await workers.run('compress', { bytes: repodata, level: ZSTD_LEVEL }, signal));
  files['repodata.json.zst'] = await putFile(join(folder, 'repodata.json.zst'), compressed);
  files['repodata.json'] = await putFile(join(folder, 'repodata.json'), repodata);
  await shards.removeOld(await readIndexAt(folder, options.subdir));
  return { files, isNew: true };
}

/** Writes a file unless it has these bytes already, so that its time tells when it changed. @returns its digest */
export async function putFile(path: string, bytes: Uint8Array): Promise<Digest> {
  const digest = digestOf(bytes);
  if ((await digestOfFile(path)) !== digest) await writeFileAtomic(path, bytes);
  return digest;
}

/** Digest of a file of metadata; `undefined` where there is none. */
export async function digestOfFile(path: string): Promise<Digest | undefined> {
  const bytes = await readOrUndefined(path);
  return bytes === undefined ? undefined : digestOf(bytes);
}

/** Reads a file whole; `undefined` where there is none. */
export async function readOrUndefined(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

function entryOf(files: Readonly<Record<string, Digest>>, name: string): [string, Digest][] {
  const digest = files[name];
  return digest === undefined ? [] : [[name, digest]];
}

async function isIntact(
  folder: string,
  files: Readonly<Record<string, Digest>>,
  index: ShardIndex | undefined,
  shards: ShardFolder,
): Promise<boolean> {
  for (const name of INDEX_FILES) {
    // Without an index there were shards too large for clients.
    if (files[name] !== (await digestOfFile(join(folder, name)))) return false;
  }
  const there = await shards.list();
  return [...(index?.shards.values() ?? [])].every((digest) => there.has(shardFilename(digest)));
}

/** @returns the index; `undefined` where a shard is larger than clients read, and they have to take the repodata */
async function writeShards(
  repodata: Uint8Array,
  shards: ShardFolder,
  old: ShardIndex | undefined,
  options: IndexOptions,
): Promise<Uint8Array | undefined> {
  const { subdir, signal } = options;
  const digests = new Map<string, Digest>();
  try {
    for (const { name, content } of splitRepodata(repodata)) {
      signal?.throwIfAborted();
      const bytes = await writeShard(content);
      const digest = digestOf(bytes);
      digests.set(name, digest);
      await shards.put(digest, bytes);
    }
    await shards.release(old, new Set(digests.values()));
    const created = isSame(old, digests) ? old?.info['created_at'] : undefined;
    const info = {
      subdir,
      base_url: '',
      shards_base_url: SHARDS_BASE,
      created_at: typeof created === 'string' ? created : options.createdAt.toISOString(),
    };
    return await writeShardIndex({ info, shards: digests });
  } catch (error) {
    if (!isFerryError(error, 'SIZE_EXCEEDED')) throw error;
    options.warn(`${subdir}: no sharded repodata: ${error.message}`);
    return undefined;
  }
}

function isSame(old: ShardIndex | undefined, digests: ReadonlyMap<string, Digest>): boolean {
  return (
    old?.shards.size === digests.size &&
    [...digests].every(([name, digest]) => old.shards.get(name) === digest)
  );
}

/** The index that lies in a folder; one that cannot be read is as good as none, since it is written anew. */
async function readIndexAt(folder: string, subdir: string): Promise<ShardIndex | undefined> {
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
class ShardFolder {
  readonly #path: string;
  readonly #now: () => Date;
  #known: Set<string> | undefined;

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
