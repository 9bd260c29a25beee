import { parseIndexJson } from '../conda/archive/index-json.js';
import { FerryError } from '../errors.js';
import { compareText } from '../io/compare-text.js';
import type { JsonObject } from '../conda/record-details.js';
import { isPortableJson } from './portable-json.js';

/** What a record says of an archive's bytes. */
export interface ArchiveSums {
  /** Lower-case hex. */
  readonly sha256: string;
  /** Lower-case hex. */
  readonly md5: string;
  /** In bytes. */
  readonly size: number;
}

/** Keys of `info/index.json` that conda-index leaves out of records: those of the first years, which say nothing to clients. */
const DROPPED_KEYS: ReadonlySet<string> = new Set([
  'arch',
  'binstar',
  'has_prefix',
  'machine',
  'mtime',
  'operatingsystem',
  'platform',
  'requires_features',
  'target-triplet',
  'ucs',
]);

/**
 * Keys that only a server may say: an archive that had them could tell when it was published, or where clients fetch it
 * from. conda-index would let them through.
 */
const SERVER_KEYS: ReadonlySet<string> = new Set(['attestations_sha256', 'indexed_timestamp', 'url']);

/**
 * Makes the repodata record of an archive: its `info/index.json` without what clients have no use for, and what its bytes
 * are; keys sorted. `timestamp` stays in the unit it was written in.
 * @param indexJson as it stands in the archive
 * @param indexedTimestamp when the archive was first indexed, in milliseconds since 1970. @defaultValue not said
 * @throws FerryError `ARCHIVE_INDEX_INVALID`, also for JSON that would make all repodata unreadable
 * @see CEP 34, CEP 36, CEP 47
 */
export function makeRecord(indexJson: Uint8Array, sums: ArchiveSums, indexedTimestamp?: number): JsonObject {
  const { sha256, md5, size } = sums;
  const index = parseIndexJson(indexJson);
  // A package's name is a key, too: of the shards.
  if (!isPortableJson(index) || index.name === '__proto__') {
    const message = '`info/index.json` is nested too deeply, or has half characters or the key `__proto__`';
    throw new FerryError('ARCHIVE_INDEX_INVALID', message);
  }
  const told = Object.entries(index).filter(([key]) => !DROPPED_KEYS.has(key) && !SERVER_KEYS.has(key));
  const stamp = indexedTimestamp === undefined ? {} : { indexed_timestamp: indexedTimestamp };
  const record = { ...Object.fromEntries(told), sha256, md5, size, ...stamp };
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => compareText(a, b)));
}
