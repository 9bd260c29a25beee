import type { RepodataRecord } from '../../conda/package-record.js';
import { parseArchiveFilename } from '../../conda/names.js';
import type { GatewayChannel } from '../channels/gateway-channel.js';

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
  const shards = await generation.whenSharded(signal);
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
