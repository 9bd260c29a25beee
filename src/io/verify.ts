import { IntegrityError } from '../errors.js';
import type { Bytes } from './bytes.js';
import { createDigestHash, digestAlgorithm, digestOf, type Digest } from './digest.js';

/** What bytes from outside must turn out to be. */
export interface ExpectedBytes {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
}

/**
 * Passes the bytes on while checking them; a consumer may commit only after a clean end.
 * @throws IntegrityError `SIZE_EXCEEDED` at the first byte too many, `SIZE_MISMATCH`, `DIGEST_MISMATCH` at the end
 */
export function verifyBytes(source: Bytes, { digest, size }: ExpectedBytes, what: string): Bytes {
  return verified(source, { digest, size, maxBytes: size }, what);
}

/**
 * Passes the bytes on while checking them, where nobody knows how many they are; a consumer may commit only after a clean end.
 * @throws IntegrityError `SIZE_EXCEEDED` at the first byte above `maxBytes`, `DIGEST_MISMATCH` at the end
 */
export function verifyDigest(source: Bytes, digest: Digest, maxBytes: number, what: string): Bytes {
  return verified(source, { digest, size: undefined, maxBytes }, what);
}

async function* verified(
  source: Bytes,
  expected: { readonly digest: Digest; readonly size: number | undefined; readonly maxBytes: number },
  what: string,
): Bytes {
  const { digest, size: expectedSize, maxBytes } = expected;
  const algorithm = digestAlgorithm(digest);
  const hash = createDigestHash(algorithm);
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size > maxBytes) throw new IntegrityError('SIZE_EXCEEDED', what, maxBytes, size);
    hash.update(chunk);
    yield chunk;
  }
  if (expectedSize !== undefined && size !== expectedSize) {
    throw new IntegrityError('SIZE_MISMATCH', what, expectedSize, size);
  }
  const actual = `${algorithm}:${hash.digest('hex')}`;
  if (actual !== digest) throw new IntegrityError('DIGEST_MISMATCH', what, digest, actual);
}

/**
 * Passes the bytes on while counting them, where there is no digest to check.
 * @throws IntegrityError `SIZE_EXCEEDED` at the first byte too many, `SIZE_MISMATCH` at the end
 */
export async function* exactBytes(source: Bytes, expectedSize: number, what: string): Bytes {
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size > expectedSize) throw new IntegrityError('SIZE_EXCEEDED', what, expectedSize, size);
    yield chunk;
  }
  if (size !== expectedSize) throw new IntegrityError('SIZE_MISMATCH', what, expectedSize, size);
}

/** Checks bytes that are all at hand. @throws IntegrityError `SIZE_MISMATCH`, `DIGEST_MISMATCH` */
export function checkBytes(bytes: Uint8Array, expected: ExpectedBytes, what: string): void {
  if (bytes.byteLength !== expected.size) {
    throw new IntegrityError('SIZE_MISMATCH', what, expected.size, bytes.byteLength);
  }
  const actual = digestOf(bytes, digestAlgorithm(expected.digest));
  if (actual !== expected.digest) throw new IntegrityError('DIGEST_MISMATCH', what, expected.digest, actual);
}
