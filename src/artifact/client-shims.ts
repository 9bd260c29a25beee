/**
 * Shims for clients: repositories that exist so that asking for what is not in them is answered by "not there". GHCR
 * refuses a token for a repository that does not exist, and of the clients of today some take that for an error that
 * ends the solve, where they would go on after a 404.
 */
import type { ChannelStore } from './channel-store.js';
import { CopyError, isFerryError } from '../errors.js';
import { openerOf } from '../io/bytes.js';
import { describe } from '../oci/descriptor.js';
import { encodeJson, type ImageManifest } from '../oci/manifest.js';
import { EMPTY_JSON, IMAGE_MANIFEST } from '../oci/media-types.js';
import type { CallOptions } from '../oci/storage.js';

/** The tag of a shim. Never `latest`: that is what clients ask for, and what must not be there. */
const SHIM_TAG = 'shim';

/** Repositories that clients of schema v0 ask for before they fall back to the repodata. @see v0/K4 */
const SHIM_REPOSITORIES = ['repodata_shards.msgpack.zst'] as const;

const SHIM_TYPE = 'application/vnd.conda-ferry.shim.v1+json';
const DESCRIPTION =
  'Empty on purpose: clients that look for sharded repodata here find none, and go on with repodata.json.';

/** Options of {@link ensureClientShims}. */
export interface ShimOptions extends CallOptions {
  /** `shims` of the ledger, if it vouches for what is published: then nothing is asked. @defaultValue false */
  readonly known?: boolean | undefined;
}

/**
 * Makes sure that a subdir of schema v0 has its shims; in v1, which no client reads yet, there are none. One request where
 * they are there, none where they are known to be.
 * @returns whether there are shims: `shims` for the ledger
 * @throws CopyError (destination)
 */
export async function ensureClientShims(
  store: ChannelStore,
  subdir: string,
  { known, signal }: ShimOptions = {},
): Promise<boolean> {
  if (store.schema.id !== 'v0') return false;
  if (known === true) return true;
  const manifest = encodeJson(shimManifest(store));
  const root = describe(IMAGE_MANIFEST, manifest);
  for (const leaf of SHIM_REPOSITORIES) {
    const repository = store.packageRepository(subdir, { repository: leaf });
    try {
      if ((await repository.resolve(SHIM_TAG, { signal })) !== undefined) continue;
      await store.ensureConfig(repository, { signal });
      await repository.push(root, openerOf(manifest), { tags: [SHIM_TAG], signal });
    } catch (error) {
      if (!isFerryError(error)) throw error;
      throw new CopyError('destination', `the destination did not take \`${repository.name}\``, error);
    }
  }
  return true;
}

/** Its layer is the config's bytes: an artifact has to have one, and this costs no upload. */
function shimManifest({ schema }: ChannelStore): ImageManifest {
  const { digest, size } = schema.config;
  return {
    schemaVersion: 2,
    mediaType: IMAGE_MANIFEST,
    artifactType: SHIM_TYPE,
    config: schema.config,
    layers: [{ mediaType: EMPTY_JSON, digest, size }],
    annotations: { 'org.opencontainers.image.description': DESCRIPTION },
  };
}
