import type { ChannelStore } from '../artifact/channel-store.js';
import type { PlannedWork } from './subdir-work.js';

/** Requests for a manifest with its tag. */
const PER_MANIFEST = 1;
/** Info and index, beside the package layers. */
const OTHER_LAYERS = 2;
/** A blob that the registry takes over from another repository. */
const PER_MOUNT = 1;
/** Where the registry takes a blob in one request, and where it wants a POST first. */
const PER_BLOB_DEFAULT = 2;

/** Requests to the destination, tokens not among them. */
export interface RequestEstimate {
  /** For the archives and their repositories. */
  readonly archives: number;
  /** For what is looked at first, and for repodata and ledger. */
  readonly metadata: number;
}

/**
 * Says how many requests a run of this plan sends to the destination.
 * @param mounts whether the source is in the same registry: then its manifest is read there, and each blob mounted
 * @see design §8: 7 per archive (4 where single POST works) and 2 per new repository
 */
export function estimateRequests(
  work: PlannedWork,
  store: ChannelStore,
  { mounts }: { readonly mounts: boolean },
): RequestEstimate {
  const perBlob = store.registry.requestsPerBlob ?? work.state.ledger?.requests_per_blob ?? PER_BLOB_DEFAULT;
  const { plan, state } = work;
  // A registry takes the place of nothing but a registry: other stores are asked nothing.
  if (perBlob === 0) return { archives: 0, metadata: 0 };
  const perLayer = mounts ? PER_MOUNT : perBlob;
  // Where blobs are mounted, the source's manifest is read.
  const perArtifact = OTHER_LAYERS * perLayer + PER_MANIFEST + (mounts ? PER_MANIFEST : 0);
  // Twins that meet are read before, and all that meet are looked at again.
  const forTwins = plan.twins + 2 * plan.meetings;
  const created = [...plan.repositories].filter(
    (repository) => !store.hasConfig(work.subdir, { repository }),
  );
  const archives =
    plan.toAdd * perLayer + plan.artifacts * perArtifact + forTwins + created.length * perLayer;

  const isFirst = state.latest === undefined;
  const looks = state.ledger === undefined ? 2 : 3;
  const published = isFirst ? 1 : 2;
  const ledgerWrites = plan.toAdd > 0 ? 3 : 2;
  const forLedgers = ledgerWrites * (perBlob + PER_MANIFEST);
  const forRepodata = 2 * perBlob + PER_MANIFEST + 2;
  const configs = isFirst ? 2 * perBlob : 0;
  return { archives, metadata: looks + published + forLedgers + forRepodata + configs };
}
