import type { Repodata } from '../../conda/repodata/repodata.js';

/** A record that names an attestation sidecar. */
export interface AttestedRecord {
  /** Such as `zlib-1.2.11-h7b6447c_3.conda`. */
  readonly filename: string;
  /** `attestations_sha256` as it stands: 64 lower-case hex digits, or what its writer took for that. */
  readonly attestationsSha256: string;
  /** Where the archive lies if not beside the repodata. */
  readonly url?: string | undefined;
}

/**
 * The records of a repodata that name a sidecar.
 * @param isWanted tells which records to look at. @defaultValue all
 * @see CEP draft, conda/ceps pull 142
 */
export function* attestedRecords(
  repodata: Repodata,
  isWanted: (filename: string) => boolean = () => true,
): Generator<AttestedRecord> {
  for (const { filename, sha256 } of repodata.attestations()) {
    if (!isWanted(filename)) continue;
    const read = repodata.get(filename);
    const url = read !== undefined && 'record' in read ? read.record.url : undefined;
    yield { filename, attestationsSha256: sha256, url };
  }
}
