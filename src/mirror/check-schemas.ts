import type { ChannelStore } from '../artifact/channel-store.js';
import { checkSchema } from '../artifact/check-schema.js';
import type { CallOptions } from '../oci/storage.js';
import type { SubdirWork } from './subdir-work.js';

/**
 * Makes sure that no channel of the other schema stands where a subdir is to be published for the first time: one
 * request for each of these.
 * @throws FerryError `SCHEMA_CONFLICT`
 */
export async function checkSchemas(
  works: readonly SubdirWork[],
  store: ChannelStore,
  options: CallOptions,
): Promise<void> {
  for (const work of works) {
    if (work.status === 'planned' && work.state.trust === 'empty')
      await checkSchema(store, work.subdir, options);
  }
}
