import type { ChannelStore } from '../artifact/channel-store.js';
import { LATEST } from '../artifact/metadata-artifact.js';
import { schemaV0 } from '../artifact/schema-v0.js';
import { schemaV1 } from '../artifact/schema-v1.js';
import { FerryError } from '../errors.js';
import type { CallOptions } from '../oci/storage.js';

/**
 * Makes sure that no channel of the other schema stands at the same path: `cmake` would be a package of both.
 * @throws FerryError `SCHEMA_CONFLICT`
 * @see v1/B14
 */
export async function checkSchema(
  store: ChannelStore,
  subdir: string,
  options: CallOptions & { readonly hint?: string | undefined },
): Promise<void> {
  const other = store.schema.id === 'v0' ? schemaV1 : schemaV0;
  const name = store.repositoryName(subdir, other.metadataRepository('repodata.json'));
  if ((await store.registry.repository(name).resolve(LATEST, options)) === undefined) return;
  throw new FerryError('SCHEMA_CONFLICT', `\`${store.location}\` holds a channel of schema ${other.id}`, {
    hint: options.hint ?? `choose another path, or pass --schema ${other.id}`,
  });
}
