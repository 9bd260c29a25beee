import { createHash, hash, type Hash } from 'node:crypto';
import { ParseError } from '../errors.js';

/** Algorithms that can be verified. @see image-spec v1.1, "Registered algorithms" */
export type DigestAlgorithm = 'sha256' | 'sha512';

/** Digest of bytes, such as `sha256:e3b0c442…` (lower-case hex). Made only by {@link parseDigest} and hashing. */
export type Digest = `${DigestAlgorithm}:${string}`;

const DIGEST_PATTERN = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Tells whether `text` is a digest that can be verified. */
export function isDigest(text: string): text is Digest {
  return DIGEST_PATTERN.test(text);
}

/**
 * Parses a digest, so that it is safe in a path or URL.
 * @throws ParseError `DIGEST_INVALID`
 * @see image-spec v1.1, "Digests"
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new ParseError('DIGEST_INVALID', `\`${text.slice(0, 100)}\` is not a sha256 or sha512 digest`, text);
}

/** Makes a digest from 64 hex digits as conda writes them; upper case is folded. @throws ParseError `DIGEST_INVALID` */
export function sha256Digest(hex: string): Digest {
  return parseDigest(`sha256:${hex.toLowerCase()}`);
}

/** The part before the colon. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** The hex digits after the colon. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** Digest of bytes that are all at hand. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes)}`;
}

/** Hash state for a digest that arrives in pieces. */
export function createDigestHash(algorithm: DigestAlgorithm = 'sha256'): Hash {
  return createHash(algorithm);
}
