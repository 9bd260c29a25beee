import { parseArchiveFilename } from '../../conda/names.js';
import type { JsonObject } from '../../conda/record-details.js';
import { FerryError, isFerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { forEachConcurrently } from '../../io/pool.js';
import type { CommitOptions } from '../commit.js';
import { mergeLog } from '../commit.js';
import { writeHead, type Head } from '../head.js';
import { readStoredRecord } from '../stored-record.js';
import type { IndexFailure } from './index-channel.js';

/** What {@link rebuildRecords} did. */
export interface Rebuilt {
  readonly head: Head;
  /** Records that say something else than before, in order. */
  readonly filenames: readonly string[];
  readonly failed: readonly IndexFailure[];
}

/**
 * Makes every listed record anew out of its artifact. What the record had from nobody but an indexer goes; the time at which the
 * archive was first indexed stays.
 * @throws FerryError `TAG_MOVED` where others keep publishing
 * @see CEP 47
 */
export async function rebuildRecords(
  subdir: string,
  head: Head,
  options: CommitOptions & { readonly concurrency: number },
): Promise<Rebuilt> {
  const { store, signal, concurrency } = options;
  const records = new Map<string, JsonObject>();
  const failed: IndexFailure[] = [];
  await forEachConcurrently([...head.listing.filenames()], { concurrency, signal }, async (filename) => {
    const before = head.listing.get(filename);
    const time = before?.['indexed_timestamp'];
    try {
      const name = parseArchiveFilename(filename);
      const stamp = typeof time === 'number' ? time : undefined;
      const found = await readStoredRecord(store, subdir, name, stamp, { signal });
      if (found === undefined)
        throw new FerryError('ARCHIVE_ABSENT', `\`${filename}\` is not stored any more`);
      if (JSON.stringify(found.record) !== JSON.stringify(before)) records.set(filename, found.record);
    } catch (error) {
      if (!isFerryError(error) || error.code === 'INTERNAL') throw error;
      failed.push({ filename, error });
    }
  });
  let found = head;
  while (records.size > 0) {
    const listing = found.listing.edit();
    for (const [filename, record] of records) {
      // Whoever has changed it meanwhile knows better.
      if (listing.get(filename)?.['sha256'] === head.listing.get(filename)?.['sha256'])
        listing.set(filename, record);
    }
    try {
      found = await writeHead(subdir, { listing, mark: found.mark }, { ...options, plain: found.hasPlain });
      break;
    } catch (error) {
      if (!isFerryError(error, 'TAG_MOVED')) throw error;
      found = (await mergeLog(subdir, found, options)).head;
    }
  }
  return { head: found, filenames: [...records.keys()].sort(compareText), failed };
}
