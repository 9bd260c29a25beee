import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { JsonObject } from '../../conda/record-details.js';
import { SHARD_INDEX, SHARD_SECTIONS, type ShardContent } from '../../conda/shards/shard-files.js';
import { splitRepodata } from '../../conda/shards/split-repodata.js';
import { selectCurrent } from '../current-repodata.js';
import { applyPatches, patchRunExports, type PatchInstructions } from '../patch-instructions.js';
import { makeRunExports, type RunExports } from '../run-exports.js';
import { sortedJson } from '../sorted-json.js';
import {
  eachRecord,
  repodataInfo,
  writeRepodata,
  type RepodataHead,
  type SubdirRecords,
} from '../subdir-records.js';
import { putBoth, putFile } from './put-file.js';
import { readIndexAt, ShardFolder, writeShards } from './shard-folder.js';

/** What the files of a subdir are made of. */
export interface SubdirContent {
  readonly head: RepodataHead;
  /** What the archives say, with what the server says of them. */
  readonly unpatched: SubdirRecords;
  readonly patches: PatchInstructions;
  /** Names of files that are out of the repodata whatever the patches say. */
  readonly withdrawn: ReadonlySet<string>;
  /** What an archive says in its `info/run_exports.json`. */
  readonly runExportsOf: (filename: string) => RunExports;
}

/** Options of {@link writeSubdir}. */
export interface WriteSubdirOptions {
  readonly folder: string;
  readonly workers: WorkerPool;
  readonly now: () => Date;
  readonly warn: (message: string) => void;
  /** Called before the files that clients read are written; throwing leaves them as they are. */
  readonly assertHeld: () => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes all files of a subdir that clients read: first what the index of the shards names, the plain repodata last. Each
 * appears whole, and one that has its bytes already is not touched. Their bytes depend on the content alone.
 * @returns the records as they are published, and whether anything changed
 * @see CEP 12, CEP 16, CEP 21, CEP 36
 */
export async function writeSubdir(
  content: SubdirContent,
  options: WriteSubdirOptions,
): Promise<{ readonly records: SubdirRecords; readonly changed: boolean }> {
  const { head, unpatched, patches } = content;
  const { folder, assertHeld } = options;
  const records = withdraw(applyPatches(unpatched, patches), content.withdrawn);
  const runExports = new Map<string, RunExports>();
  for (const [filename] of eachRecord(unpatched))
    runExports.set(filename, patchRunExports(filename, content.runExportsOf(filename), patches));
  const repodata = writeRepodata(head, records);
  await assertHeld();
  let changed = await putShards(repodata, runExports, content, options);
  const files: readonly (readonly [string, Uint8Array])[] = [
    ['repodata_from_packages.json', writeRepodata(head, unpatched)],
    ['run_exports.json', Buffer.from(sortedJson(makeRunExports(head.subdir, runExports)))],
    ['current_repodata.json', writeRepodata(head, selectCurrent(records, head.subdir))],
    ['repodata.json', repodata],
  ];
  await putPatches(folder, patches);
  for (const [name, bytes] of files) {
    await assertHeld();
    if (await putBoth(join(folder, name), bytes, options)) changed = true;
  }
  return { records, changed };
}

/** Takes records out; a record that comes back by being indexed again would not have been withdrawn at all. */
function withdraw(records: SubdirRecords, withdrawn: ReadonlySet<string>): SubdirRecords {
  if (withdrawn.size === 0) return records;
  const kept = (section: ReadonlyMap<string, JsonObject>): ReadonlyMap<string, JsonObject> =>
    new Map([...section].filter(([filename]) => !withdrawn.has(filename)));
  return {
    packages: kept(records.packages),
    'packages.conda': kept(records['packages.conda']),
    removed: [...new Set([...records.removed, ...withdrawn])].sort(),
  };
}

async function putPatches(folder: string, patches: PatchInstructions): Promise<void> {
  // Of a channel without patches nobody expects the file.
  if (Object.keys(patches).length === 0) return;
  await putFile(join(folder, 'patch_instructions.json'), Buffer.from(sortedJson(patches)));
}

async function putShards(
  repodata: Uint8Array,
  runExports: ReadonlyMap<string, RunExports>,
  { head, unpatched }: SubdirContent,
  options: WriteSubdirOptions,
): Promise<boolean> {
  const { folder, now, warn, signal } = options;
  const { subdir } = head;
  const shards = new ShardFolder(folder, now);
  const old = await readIndexAt(folder, subdir);
  const path = join(folder, SHARD_INDEX);
  const index = await writeShards(withRunExports(repodata, runExports), shards, old, {
    subdir,
    info: repodataInfo(head),
    createdAt: newestIn(unpatched),
    warn,
    signal,
  });
  if (index === undefined) await rm(path, { force: true });
  else await putFile(path, index);
  const current = await readIndexAt(folder, subdir);
  await shards.removeOld(current);
  return !isSameIndex(old?.shards, current?.shards);
}

function isSameIndex(
  a: ReadonlyMap<string, string> | undefined,
  b: ReadonlyMap<string, string> | undefined,
): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.size === b.size && [...a].every(([name, digest]) => b.get(name) === digest);
}

/** In shards, and in them alone, records say their run exports. @see CEP 21 */
function* withRunExports(
  repodata: Uint8Array,
  runExports: ReadonlyMap<string, RunExports>,
): Generator<{ readonly name: string; readonly content: ShardContent }> {
  for (const { name, content } of splitRepodata(repodata)) {
    const [packages, conda] = SHARD_SECTIONS.map(
      (section) =>
        new Map(
          [...content[section]].map(([filename, record]) => {
            const said = runExports.get(filename);
            return [filename, said === undefined ? record : { ...record, run_exports: said }] as const;
          }),
        ),
    );
    yield {
      name,
      content: { ...content, packages: packages ?? new Map(), 'packages.conda': conda ?? new Map() },
    };
  }
}

/** When the newest archive came: the clock would make other bytes of each run. */
function newestIn(records: SubdirRecords): Date {
  let newest = 0;
  for (const [, { indexed_timestamp, timestamp }] of eachRecord(records)) {
    const said = indexed_timestamp ?? timestamp;
    if (typeof said === 'number' && said > newest) newest = said;
  }
  const date = new Date(newest);
  return Number.isNaN(date.getTime()) || date.getUTCFullYear() > 9999 ? new Date(0) : date;
}
