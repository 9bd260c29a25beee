import { isDeepStrictEqual } from 'node:util';
import { parseArchiveFilename } from '../../conda/names.js';
import type { JsonObject } from '../../conda/record-details.js';
import { FerryError, isFerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { forEachConcurrently } from '../../io/pool.js';

import { mergeLog, writeRevised, type CommitOptions } from '../commit.js';
import type { Head } from '../head.js';
import { readStoredRecord } from '../stored-record.js';
import type { IndexFailure } from './index-channel.js';

/**
 * Makes every listed record anew out of its artifact. What the record had from nobody but an indexer goes; the time at which the
 * archive was first indexed stays.
 * @returns records by file name; those whose artifacts cannot be read are left out
 * @see CEP 47
 */
export async function rebuildRecords(
  subdir: string,
  { listing }: Head,
  options: CommitOptions & { readonly concurrency: number },
): Promise<{ readonly records: ReadonlyMap<string, JsonObject>; readonly failed: readonly IndexFailure[] }> {
  const { store, signal, concurrency } = options;
  const records = new Map<string, JsonObject>();
  const failed: IndexFailure[] = [];
  await forEachConcurrently([...listing.filenames()], { concurrency, signal }, async (filename) => {
    const time = listing.get(filename)?.['indexed_timestamp'];
    try {
      const name = parseArchiveFilename(filename);
      const stamp = typeof time === 'number' ? time : undefined;
      const found = await readStoredRecord(store, subdir, name, stamp, { signal });
      if (found === undefined)
        throw new FerryError('ARCHIVE_ABSENT', `\`${filename}\` is not stored any more`);
      records.set(filename, found.record);
    } catch (error) {
      if (!isFerryError(error) || error.code === 'INTERNAL') throw error;
      failed.push({ filename, error });
    }
  });
  return { records, failed };
}

/**
 * Writes records anew, of those archives that are listed with the same bytes at that moment.
 * @returns the head, and which records say something else than before, in order
 * @throws FerryError `TAG_MOVED` where others keep publishing
 */
export async function rewriteRecords(
  subdir: string,
  head: Head,
  records: ReadonlyMap<string, JsonObject>,
  options: CommitOptions,
): Promise<{ readonly head: Head; readonly filenames: readonly string[] }> {
  let found = head;
  for (;;) {
    const listing = found.listing.edit();
    const filenames: string[] = [];
    for (const [filename, record] of records) {
      const before = listing.get(filename);
      // Whoever has published other bytes meanwhile knows better.
      if (before === undefined || before['sha256'] !== record['sha256']) continue;
      if (isDeepStrictEqual(before, record)) continue;
      listing.set(filename, record);
      filenames.push(filename);
    }
    if (filenames.length === 0) return { head: found, filenames };
    try {
      const state = { listing, mark: found.mark };
      found = await writeRevised(subdir, state, { ...options, plain: found.hasPlain });
      return { head: found, filenames: filenames.sort(compareText) };
    } catch (error) {
      if (!isFerryError(error, 'TAG_MOVED')) throw error;
      found = (await mergeLog(subdir, found, options)).head;
    }
  }
}
