import { z } from 'zod';
import { digestOf, isDigest, type Digest } from '../io/digest.js';

/** Annotations: string to string. @see image-spec v1.1, "Annotations" */
export type Annotations = Readonly<Record<string, string>>;

/**
 * Points to content, for example
 * `{ mediaType: 'application/vnd.conda.package.v2', digest: 'sha256:…', size: 4711 }`; `size` in bytes.
 * Unknown fields stay.
 * @see image-spec v1.1, "Content Descriptors"
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly annotations?: Annotations | undefined;
  readonly artifactType?: string | undefined;
}

const digestSchema = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value), {
  error: 'not a sha256 or sha512 digest',
});

/** Schema of a descriptor in a document. */
export const descriptorSchema = z.looseObject({
  mediaType: z.string().min(1),
  digest: digestSchema,
  size: z.int().nonnegative(),
  annotations: z.record(z.string(), z.string()).optional(),
  artifactType: z.string().optional(),
});

/** Descriptor of bytes at hand. */
export function describe(mediaType: string, bytes: Uint8Array, annotations?: Annotations): Descriptor {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  return annotations === undefined ? descriptor : { ...descriptor, annotations };
}
