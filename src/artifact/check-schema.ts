import { FerryError } from '../errors.js';
import type { CallOptions } from '../oci/storage.js';
import type { ChannelStore } from './channel-store.js';
import { LATEST } from './metadata-artifact.js';
import { schemaV0 } from './schema-v0.js';
import { schemaV1 } from './schema-v1.js';

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
  // Names of v1 are longer by a letter: where that is too long, there is nothing.
  if (name.length > store.registry.maxNameLength) return;
  if ((await store.registry.repository(name).resolve(LATEST, options)) === undefined) return;
  throw new FerryError('SCHEMA_CONFLICT', `\`${store.location}\` holds a channel of schema ${other.id}`, {
    hint: options.hint ?? `choose another path, or pass --schema ${other.id}`,
  });
}
