import type { JsonObject } from '../conda/record-details.js';
import { SHARD_SECTIONS } from '../conda/shards/shard-files.js';
import { sortedJson, sortedMembers } from './sorted-json.js';

/** The records of a subdir, by file name. */
export interface SubdirRecords {
  /** Of `.tar.bz2` archives. */
  readonly packages: ReadonlyMap<string, JsonObject>;
  /** Of `.conda` archives. */
  readonly 'packages.conda': ReadonlyMap<string, JsonObject>;
  /** File names that are no longer listed, and can still be fetched. */
  readonly removed: readonly string[];
}

/** A section of {@link SubdirRecords} that holds records. */
export type RecordSection = (typeof SHARD_SECTIONS)[number];

/** The section that an archive belongs to, by its file name. */
export function sectionOf(filename: string): RecordSection {
  return filename.endsWith('.conda') ? 'packages.conda' : 'packages';
}

/** File name of the `.conda` that an archive in the old format may exist as, too: `a-1-0.conda` of `a-1-0.tar.bz2`. */
export function condaTwinOf(filename: string): string {
  return filename.replace(/\.tar\.bz2$/, '.conda');
}

/** All records of a subdir with their file names, those of `.tar.bz2` archives first. */
export function* eachRecord(records: SubdirRecords): Generator<readonly [string, JsonObject]> {
  for (const section of SHARD_SECTIONS) yield* records[section];
}

/**
 * All records of a subdir but those of `.tar.bz2` archives that are there as `.conda`, too: of these clients take the
 * `.conda`.
 */
export function* eachPreferred(records: SubdirRecords): Generator<readonly [string, JsonObject]> {
  for (const [filename, record] of records.packages)
    if (!records['packages.conda'].has(condaTwinOf(filename))) yield [filename, record];
  yield* records['packages.conda'];
}

/** What a repodata file says beside records. */
export interface RepodataHead {
  readonly subdir: string;
  /** Other channels that this one builds on, as it was published. @see CEP 42 */
  readonly relations?: JsonObject | undefined;
}

/** `info` of a repodata file: `{ subdir: 'noarch' }`. @see CEP 36, CEP 42 */
export function repodataInfo({ subdir, relations }: RepodataHead): JsonObject {
  return relations === undefined ? { subdir } : { channel_relations: relations, subdir };
}

/** Writes repodata, byte for byte the same for the same records. @see CEP 36 */
export function writeRepodata(head: RepodataHead, records: SubdirRecords): Uint8Array {
  const sections = SHARD_SECTIONS.map(
    (section) => `"${section}":${sortedMembers(records[section], sortedJson)}`,
  );
  const removed = sortedJson([...new Set(records.removed)].sort());
  const info = sortedJson(repodataInfo(head));
  // In pieces: one string of a large channel would be longer than strings can be.
  const pieces = [`{"info":${info},`, ...sections.map((text) => `${text},`)];
  pieces.push(`"removed":${removed},"repodata_version":1}`);
  return Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
}
