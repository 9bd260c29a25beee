/** Media types of the OCI specifications. Those of conda are in `artifact/media-types.ts`. */

/** @see image-spec v1.1, "OCI Image Manifest" */
export const IMAGE_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
/** @see image-spec v1.1, "OCI Image Index" */
export const IMAGE_INDEX = 'application/vnd.oci.image.index.v1+json';
/** Of an artifact's config that says nothing: `{}`. @see image-spec v1.1, "Guidance for an Empty Descriptor" */
export const EMPTY_JSON = 'application/vnd.oci.empty.v1+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_MANIFEST_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** What a manifest request accepts, most wanted first. */
export const MANIFEST_MEDIA_TYPES: readonly string[] = [
  IMAGE_MANIFEST,
  IMAGE_INDEX,
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
];

/** Tells whether content of that type goes to a registry's manifest end point rather than to blobs. */
export function isManifestMediaType(mediaType: string): boolean {
  return MANIFEST_MEDIA_TYPES.includes(mediaType);
}
