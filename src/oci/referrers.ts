import { digestAlgorithm, digestHex, type Digest } from '../io/digest.js';
import type { Descriptor } from './descriptor.js';
import { parseImageIndex, parseImageManifest } from './manifest.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from './media-types.js';
import type { StoredManifest } from './storage.js';

/** Hex digits of a digest that fit into a referrers tag. @see distribution-spec v1.1.1, "Referrers Tag Schema" */
const MAX_TAG_HEX = 64;

/** A manifest that names another as its subject. */
export interface Referrer {
  readonly subject: Descriptor;
  /** As it stands in a list of referrers: with `artifactType` and the manifest's annotations. */
  readonly descriptor: Descriptor;
}

/**
 * Tag under which a registry without a referrers API keeps the list of a subject's referrers, such as
 * `sha256-44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a`; a sha512 is cut to 64 digits.
 * @see distribution-spec v1.1.1, "Referrers Tag Schema"
 */
export function referrersTag(subject: Digest): string {
  return `${digestAlgorithm(subject)}-${digestHex(subject).slice(0, MAX_TAG_HEX)}`;
}

/** Tells whether a tag is of the form that {@link referrersTag} makes. */
export function isReferrersTag(tag: string): boolean {
  return /^sha(?:256|512)-[0-9a-f]{64}$/.test(tag);
}

/**
 * Reads a manifest as a referrer; `undefined` where it names no subject. Docker's manifests know none.
 * @throws FerryError `MANIFEST_INVALID`
 * @see distribution-spec v1.1.1, "Listing Referrers": artifactType is that of the manifest, else its config's media type
 */
export function readReferrer({ descriptor, bytes }: StoredManifest): Referrer | undefined {
  if (descriptor.mediaType === IMAGE_MANIFEST) {
    const { subject, artifactType, config, annotations } = parseImageManifest(bytes);
    return referrerOf(descriptor, subject, artifactType ?? config.mediaType, annotations);
  }
  if (descriptor.mediaType === IMAGE_INDEX) {
    const { subject, artifactType, annotations } = parseImageIndex(bytes);
    return referrerOf(descriptor, subject, artifactType, annotations);
  }
  return undefined;
}

/** Whether a referrer is of the type that is asked for; of any, where none is. */
export function hasArtifactType(descriptor: Descriptor, artifactType: string | undefined): boolean {
  return artifactType === undefined || descriptor.artifactType === artifactType;
}

function referrerOf(
  { mediaType, digest, size }: Descriptor,
  subject: Descriptor | undefined,
  artifactType: string | undefined,
  annotations: Descriptor['annotations'],
): Referrer | undefined {
  if (subject === undefined) return undefined;
  return {
    subject,
    descriptor: {
      mediaType,
      digest,
      size,
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(annotations === undefined ? {} : { annotations }),
    },
  };
}
