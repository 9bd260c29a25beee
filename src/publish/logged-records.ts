import type { ChannelStore } from '../artifact/channel-store.js';
import { listOperations, readOperation, type PublishedRecord } from '../artifact/operation-log.js';
import type { JsonObject } from '../conda/record-details.js';
import { compareText } from '../io/compare-text.js';
import { forEachConcurrently } from '../io/pool.js';
import type { CallOptions } from '../oci/storage.js';

/** Operations read at once. */
const READ_CONCURRENCY = 8;

/** Finds what an archive was listed as before, by its file name and its sha256 in lower-case hex. */
export type FindLogged = (filename: string, sha256: unknown) => PublishedRecord | undefined;

/**
 * Reads what archives were listed as before they were taken off the list, as far as the log still tells. One request for each
 * operation of the log, so this is for the few cases in which something was taken off.
 * @throws FerryError `OPERATION_INVALID`
 * @see CEP 47: the time of the first indexing stays
 */
export async function readLoggedRecords(
  store: ChannelStore,
  subdir: string,
  filenames: ReadonlySet<string>,
  { signal }: CallOptions,
): Promise<FindLogged> {
  const tags = await listOperations(store, subdir, { signal });
  const byTag = new Map<string, readonly (readonly [string, PublishedRecord])[]>();
  await forEachConcurrently(tags, { concurrency: READ_CONCURRENCY, signal }, async (tag) => {
    const operation = await readOperation(store, subdir, tag, { signal });
    const told = (operation?.entries ?? []).flatMap(({ filename, record }) =>
      record !== undefined && filenames.has(filename) ? [[filename, record] as const] : [],
    );
    byTag.set(tag, told);
  });
  const records = new Map<string, PublishedRecord>();
  // As it was listed last: the tags go by time.
  for (const tag of tags)
    for (const [filename, record] of byTag.get(tag) ?? [])
      records.set(`${filename} ${record.sha256}`, inOrder(record));
  return (filename, sha256) =>
    typeof sha256 === 'string' ? records.get(`${filename} ${sha256.toLowerCase()}`) : undefined;
}

/** As records are written: what the parser knows by name comes first from it. */
function inOrder(record: PublishedRecord): PublishedRecord {
  const sorted = Object.entries(record).sort(([a], [b]) => compareText(a, b));
  return Object.fromEntries(sorted) as PublishedRecord;
}

/**
 * The record of an archive that is taken off the list, as its operation may hold it: `{ record }`, or nothing where the record
 * lacks digest or time, so that it has to be made anew anyway.
 */
export function rememberable(record: JsonObject | undefined): { readonly record?: PublishedRecord } {
  const isWhole =
    typeof record?.['sha256'] === 'string' &&
    /^[0-9a-f]{64}$/.test(record['sha256']) &&
    Number.isSafeInteger(record['indexed_timestamp']) &&
    ['name', 'version', 'build'].every((key) => typeof record[key] === 'string');
  return isWhole ? { record: record as PublishedRecord } : {};
}
