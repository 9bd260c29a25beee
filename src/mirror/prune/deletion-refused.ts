import type { ChannelStore } from '../../artifact/channel-store.js';
import { FerryError, isFerryError } from '../../errors.js';

const DELETE_HINT =
  'allow deletion there (docker-registry: REGISTRY_STORAGE_DELETE_ENABLED=true; GHCR: a token with delete:packages)';

/** The error for a store that does not delete manifests. */
export function deletionRefused(store: ChannelStore, cause: unknown): FerryError {
  const hint = (isFerryError(cause) ? cause.hint : undefined) ?? DELETE_HINT;
  return new FerryError('UNSUPPORTED', `\`${store.location}\` does not let manifests be deleted`, {
    cause,
    hint,
  });
}
