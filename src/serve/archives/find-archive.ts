import type { RepodataRecord } from '../../conda/package-record.js';
import { parseArchiveFilename } from '../../conda/names.js';
import { FerryError } from '../../errors.js';
import type { GatewayChannel } from '../channels/gateway-channel.js';
import type { Generation, ShardSet } from '../channels/served-channel.js';

/** How long an archive waits for the shards that tell of it; repodata of a million records takes half of that. */
const SHARDS_PATIENCE_MS = 25_000;

/** What a channel says of a file name. */
export type FoundArchive =
  /** The repodata lists it: it has to be there. */
  | {
      readonly status: 'listed';
      /** `undefined` where the record cannot be read. */
      readonly record: RepodataRecord | undefined;
      /** Digest of its attestation sidecar. @see CEP draft, conda/ceps pull 142 */
      readonly attestations: string | undefined;
    }
  /** It may be there all the same: what is gone from the index stays fetchable. @see CEP 36 */
  | { readonly status: 'unlisted' };

/**
 * Looks an archive up in the repodata.
 * @throws ParseError `RECORD_INVALID` for what is no archive's name; FerryError what keeps the repodata from being read
 */
export async function findArchive(
  channel: GatewayChannel,
  subdir: string,
  filename: string,
  signal: AbortSignal,
): Promise<FoundArchive> {
  const { name } = parseArchiveFilename(filename);
  const generation = await channel.generation(subdir, { signal });
  if (generation === undefined) return { status: 'unlisted' };
  const shards = await waitForShards(generation, signal);
  const listing = await shards.listing(name, { signal });
  const found = listing?.records.find((record) => record.filename === filename);
  if (found === undefined) {
    const isListed = listing?.invalid.includes(filename) === true;
    return isListed
      ? { status: 'listed', record: undefined, attestations: undefined }
      : { status: 'unlisted' };
  }
  const attestations = found.document['attestations_sha256'];
  return {
    status: 'listed',
    record: found.record,
    attestations: typeof attestations === 'string' ? attestations : undefined,
  };
}

async function waitForShards(generation: Generation, signal: AbortSignal): Promise<ShardSet> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(SHARDS_PATIENCE_MS)]);
  try {
    return await generation.whenSharded(patience);
  } catch (cause) {
    signal.throwIfAborted();
    if (!patience.aborted) throw cause;
    throw new FerryError('TIMEOUT', `the repodata of \`${generation.subdir}\` is still being read`, {
      cause,
    });
  }
}
