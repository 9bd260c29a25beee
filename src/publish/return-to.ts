import type { OperationEntry, PublishedRecord } from '../artifact/operation-log.js';
import type { Digest } from '../io/digest.js';
import { openSubdir } from './channel-role.js';
import { commitEntries, type CommitOptions } from './commit.js';
import { readStateAt, type Head } from './head.js';
import { rememberable } from './logged-records.js';
import { revisionOf } from './merge.js';
import { withdrawFromForms } from './withdraw.js';

/**
 * Takes a subdir that is published to back to what an older state lists, by an operation as any other: what has come since is
 * yanked, what was yanked or replaced since is listed again. So writers who merge at that moment, or later, agree on it.
 * @param target manifest of the older state
 * @param isThere whether an archive that it lists is stored; others are not listed
 * @returns the head; `undefined` where the older state is gone
 * @throws FerryError as `commitEntries`
 */
export async function returnToState(
  subdir: string,
  target: Digest,
  isThere: (filename: string) => boolean,
  options: CommitOptions,
): Promise<Head | undefined> {
  const older = await readStateAt(subdir, target, options);
  if (older === undefined) return undefined;
  const { head, state, epoch } = await openSubdir(subdir, options);
  const now = (options.now ?? (() => new Date()))();
  const entries: OperationEntry[] = [];
  for (const filename of older.listing.filenames()) {
    const record = older.listing.get(filename);
    const sha256 = record?.['sha256'];
    if (record === undefined || typeof sha256 !== 'string' || !isThere(filename)) continue;
    if (state.listing.get(filename)?.['sha256'] === sha256) continue;
    // What was listed before there were times of indexing is listed now for the first time. @see CEP 47
    const listed = { indexed_timestamp: now.getTime(), ...record } as unknown as PublishedRecord;
    entries.push({ kind: 'add', filename, revision: revisionOf(state, filename) + 1, record: listed });
  }
  const gone = [...state.listing.filenames()].filter(
    (filename) => !older.listing.has(filename) || !isThere(filename),
  );
  for (const filename of gone)
    entries.push({
      kind: 'remove',
      filename,
      revision: revisionOf(state, filename) + 1,
      yank: true,
      ...rememberable(state.listing.get(filename)),
    });
  if (entries.length === 0) return head;
  const committed = await commitEntries(subdir, entries, head, { ...options, epoch });
  await withdrawFromForms(
    subdir,
    entries.map(({ filename }) => filename),
    options,
  );
  return committed.head;
}
