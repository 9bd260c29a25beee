/**
 * Attestation sidecars: files beside an archive with what others state of it. Their bytes never change, since their
 * SHA-256 is part of the name.
 */
import { isArchiveFilename } from './names.js';

/** What a sidecar may have at most; a bundle has some ten kilobytes. @see cep142/client-limits */
export const MAX_SIDECAR_BYTES = 16 * 1024 * 1024;

/** Of what else a record says, no address is made. @see cep142/client-refuses */
const DIGEST_PATTERN = /^[0-9a-f]{64}$/;
const NAME_PATTERN = /^(?<filename>.+)\.sigs\.(?<sha256>[0-9a-f]{64})$/;

/** Tells whether `attestations_sha256` is what an address may be made of. */
export function isSidecarDigest(value: unknown): value is string {
  return typeof value === 'string' && DIGEST_PATTERN.test(value);
}

/**
 * Names the sidecar of an archive, such as `zlib-1.2.11-0.conda.sigs.9f86…`.
 * @param sha256 of the sidecar, in lower-case hex
 * @see CEP draft, conda/ceps pull 142
 */
export function sidecarFilename(filename: string, sha256: string): string {
  return `${filename}.sigs.${sha256}`;
}

/** Reads such a name back; `undefined` for any other file. */
export function parseSidecarFilename(
  text: string,
): { readonly filename: string; readonly sha256: string } | undefined {
  const { filename, sha256 } = NAME_PATTERN.exec(text)?.groups ?? {};
  if (filename === undefined || sha256 === undefined || !isArchiveFilename(filename)) return undefined;
  return { filename, sha256 };
}
