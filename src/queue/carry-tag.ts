import { archiveIdentity } from '../conda/package-record.js';
import { askRegistry } from '../mirror/ask-registry.js';
import { settledOf, type SettledArchive } from '../mirror/executor.js';
import type { TagWork } from '../mirror/plan.js';
import { transferItem, type TransferOptions } from '../mirror/transfer.js';

/** What {@link carryTag} works with. */
export interface CarryTagOptions extends TransferOptions {
  /** Whether some of it may be there: another worker may have had it, and died before it could say so. */
  readonly mayBeThere: boolean;
}

/**
 * Carries one tag, as the single run does; what is there already is not sent again.
 * @throws as {@link transferItem}
 */
export async function carryTag(work: TagWork, options: CarryTagOptions): Promise<readonly SettledArchive[]> {
  if (!options.mayBeThere) return (await transferItem(work, options)).map(settledOf);
  const { store, signal } = options;
  const { subdir, place, add } = work;
  const open = add.map((record) => [record, place] as const);
  const found = await askRegistry(open, { store, subdir, concurrency: 1, blobs: false, signal });
  const isThere = (record: (typeof add)[number]): boolean =>
    found.get(record.filename) === archiveIdentity(record);
  const there = add.filter(isThere);
  const missing = add.filter((record) => !isThere(record));
  const settled: SettledArchive[] = there.map((record) => ({
    ...{ record, outcome: 'added', size: record.size ?? 0 },
  }));
  if (missing.length === 0) return settled;
  const [first] = there;
  const twin = first === undefined ? work.twin : { filename: first.filename, record: first };
  const carried = await transferItem({ subdir, place, add: missing, twin }, options);
  return [...settled, ...carried.map(settledOf)];
}
