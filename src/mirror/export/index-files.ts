/**
 * The index files of a subdir in a folder: repodata, its shards, and both compressed. Each appears whole, by rename, and only
 * after what it names; the plain repodata is the last.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { SHARD_INDEX, shardFilename, type ShardIndex } from '../../conda/shards/shard-files.js';
import { splitRepodata } from '../../conda/shards/split-repodata.js';
import { digestOf, type Digest } from '../../io/digest.js';
import { digestOfFile, putFile, ZSTD_LEVEL } from '../../publish/folder/put-file.js';
import { readIndexAt, ShardFolder, writeShards } from '../../publish/folder/shard-folder.js';

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
  const index = await writeShards(splitRepodata(repodata), shards, old, options);
  if (index === undefined) await rm(join(folder, SHARD_INDEX), { force: true });
  else files[SHARD_INDEX] = await putFile(join(folder, SHARD_INDEX), index);
  const compressed = zst ?? (await workers.run('compress', { bytes: repodata, level: ZSTD_LEVEL }, signal));
  files['repodata.json.zst'] = await putFile(join(folder, 'repodata.json.zst'), compressed);
  files['repodata.json'] = await putFile(join(folder, 'repodata.json'), repodata);
  await shards.removeOld(await readIndexAt(folder, options.subdir));
  return { files, isNew: true };
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
