import { parseIndexJson } from '../conda/archive/index-json.js';
import { compareText } from '../io/compare-text.js';
import type { JsonObject } from '../conda/record-details.js';

/** What a record says of an archive's bytes. */
export interface ArchiveSums {
  /** Lower-case hex. */
  readonly sha256: string;
  /** Lower-case hex. */
  readonly md5: string;
  /** In bytes. */
  readonly size: number;
}

/**
 * Makes the repodata record of an archive: its `info/index.json`, and what its bytes are; keys sorted.
 * @param indexJson as it stands in the archive
 * @param indexedTimestamp when the archive was first indexed, in milliseconds since 1970. @defaultValue not said
 * @throws FerryError `ARCHIVE_INDEX_INVALID`
 * @see CEP 34, CEP 36, CEP 47
 */
export function makeRecord(indexJson: Uint8Array, sums: ArchiveSums, indexedTimestamp?: number): JsonObject {
  const { sha256, md5, size } = sums;
  const stamp = indexedTimestamp === undefined ? {} : { indexed_timestamp: indexedTimestamp };
  const record = { ...parseIndexJson(indexJson), sha256, md5, size, ...stamp };
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => compareText(a, b)));
}
