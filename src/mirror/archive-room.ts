import type { RepodataRecord } from '../conda/package-record.js';
import type { TempFolder } from '../io/temp-folder.js';
import type { CallOptions } from '../oci/storage.js';

/** Where a record names no size, room for that much is kept; few archives are larger. */
const ASSUMED_BYTES = 1024 ** 3;

/**
 * Waits for room for archives that are about to be fetched: `using _ = await takeRoom(temp, [record])`. All that one
 * task needs at once is asked for in one call; tasks that each hold one archive and wait for another would wait for ever.
 * @throws what the signal aborts with
 */
export async function takeRoom(
  { room }: TempFolder,
  records: readonly Pick<RepodataRecord, 'size'>[],
  { signal }: CallOptions = {},
): Promise<Disposable> {
  const bytes = records.reduce((sum, { size = ASSUMED_BYTES }) => sum + size, 0);
  return room.take(bytes, { signal });
}
