import type { ChannelSource, MetadataAnswer } from '../../conda/channel-source.js';
import { isSidecarDigest, MAX_SIDECAR_BYTES, sidecarFilename } from '../../conda/sidecar.js';
import { FerryError, IntegrityError } from '../../errors.js';
import { collect } from '../../io/bytes.js';
import { digestOf, sha256Digest } from '../../io/digest.js';
import type { CallOptions } from '../../oci/storage.js';
import type { AttestedRecord } from './attested-records.js';

/** What {@link fetchSidecar} works with. */
export interface FetchSidecarOptions extends CallOptions {
  readonly source: Pick<ChannelSource, 'openMetadata' | 'openSidecar'>;
  readonly subdir: string;
}

/**
 * Fetches the sidecar that a record names, by its unchanging address. It is not read: its bytes are what the record says, and
 * what they state is for verifiers.
 * @throws FerryError `ATTESTATION_ABSENT`, `ATTESTATION_MISMATCH` (other bytes, or more than {@link MAX_SIDECAR_BYTES}),
 * `RECORD_INVALID` for a digest that no address may be made of; what the source throws
 * @see cep142/client-refuses, cep142/client-limits, cep142/client-fails
 */
export async function fetchSidecar(
  record: AttestedRecord,
  options: FetchSidecarOptions,
): Promise<Uint8Array> {
  const { filename, attestationsSha256: sha256 } = record;
  if (!isSidecarDigest(sha256)) {
    throw new FerryError(
      'RECORD_INVALID',
      `record of \`${filename}\` has an \`attestations_sha256\` that is no SHA-256 in lower-case hex`,
    );
  }
  const name = sidecarFilename(filename, sha256);
  const answer = await open(record, sha256, options);
  if (answer.status !== 'found')
    throw new FerryError('ATTESTATION_ABSENT', `the source does not have \`${name}\``);
  let bytes: Uint8Array;
  try {
    bytes = await collect(answer.body, MAX_SIDECAR_BYTES, 'it');
    const [actual, expected] = [digestOf(bytes), sha256Digest(sha256)];
    if (actual !== expected) throw new IntegrityError('DIGEST_MISMATCH', 'it', expected, actual);
  } catch (cause) {
    if (!(cause instanceof IntegrityError)) throw cause;
    throw new FerryError('ATTESTATION_MISMATCH', `\`${name}\` of the source is not what its name says`, {
      cause,
    });
  }
  return bytes;
}

async function open(
  { filename, url }: AttestedRecord,
  sha256: string,
  { source, subdir, signal }: FetchSidecarOptions,
): Promise<MetadataAnswer> {
  // It lies beside the archive, wherever that is.
  if (url !== undefined && source.openSidecar !== undefined)
    return source.openSidecar({ subdir, filename, url }, sha256, { signal });
  return source.openMetadata(`${subdir}/${sidecarFilename(filename, sha256)}`, { signal });
}
