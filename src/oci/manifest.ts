import { z } from 'zod';
import { FerryError, isFerryError } from '../errors.js';
import { descriptorSchema, type Annotations, type Descriptor } from './descriptor.js';
import { DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, IMAGE_INDEX, IMAGE_MANIFEST } from './media-types.js';

/** Largest manifest that is read or written; registries refuse more. @see distribution-spec v1.1.1, "Pushing Manifests" */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/**
 * Deepest nesting of a manifest's JSON. Real ones have five levels; what goes far beyond is made to break whoever
 * walks through it.
 */
export const MAX_JSON_DEPTH = 100;

/** An image manifest as parsed; unknown fields stay. @see image-spec v1.1, "Image Manifest" */
export interface ImageManifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string | undefined;
  readonly artifactType?: string | undefined;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor | undefined;
  readonly annotations?: Annotations | undefined;
}

/** An image index as parsed; unknown fields stay. @see image-spec v1.1, "Image Index" */
export interface ImageIndex {
  readonly schemaVersion: 2;
  readonly mediaType?: string | undefined;
  readonly artifactType?: string | undefined;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor | undefined;
  readonly annotations?: Annotations | undefined;
}

const shared = {
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  subject: descriptorSchema.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
};

// A document that is both index and manifest may be read as either: refused (CVE-2021-41190).
const manifestSchema = z.looseObject({
  ...shared,
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
  manifests: z.undefined().optional(),
});

const indexSchema = z.looseObject({
  ...shared,
  manifests: z.array(descriptorSchema),
  layers: z.undefined().optional(),
  config: z.undefined().optional(),
});

/** Manifests by their bytes, which nobody changes: the same ones are written, walked through and pushed. */
const parsed = new WeakMap<Uint8Array, ImageManifest>();

/** Writes an image manifest, as {@link encodeJson} does. The bytes must stay as they are. */
export function encodeImageManifest(manifest: ImageManifest): Uint8Array {
  const bytes = encodeJson(manifest);
  parsed.set(bytes, manifest);
  return bytes;
}

/**
 * Parses the bytes of an image manifest. Of a key that stands twice the last one counts, as everywhere in JavaScript.
 * @throws FerryError `MANIFEST_INVALID`
 */
export function parseImageManifest(bytes: Uint8Array): ImageManifest {
  const known = parsed.get(bytes);
  if (known !== undefined) return known;
  const manifest = parseDocument(manifestSchema, bytes, 'manifest');
  checkMediaType(manifest.mediaType, [IMAGE_MANIFEST, DOCKER_MANIFEST]);
  return manifest;
}

/** As {@link parseImageManifest}; `undefined` where the bytes are no image manifest, such as an index under a tag. */
export function tryParseImageManifest(bytes: Uint8Array): ImageManifest | undefined {
  try {
    return parseImageManifest(bytes);
  } catch (error) {
    if (isFerryError(error, 'MANIFEST_INVALID')) return undefined;
    throw error;
  }
}

/** Parses the bytes of an image index, as {@link parseImageManifest} does. @throws FerryError `MANIFEST_INVALID` */
export function parseImageIndex(bytes: Uint8Array): ImageIndex {
  const index = parseDocument(indexSchema, bytes, 'index');
  checkMediaType(index.mediaType, [IMAGE_INDEX, DOCKER_MANIFEST_LIST]);
  return index;
}

/** Graph children of content: config and layers of a manifest, manifests of an index, nothing of a blob. */
export function successorsOf(mediaType: string, bytes: Uint8Array): readonly Descriptor[] {
  if (mediaType === IMAGE_MANIFEST || mediaType === DOCKER_MANIFEST) {
    const manifest = parseImageManifest(bytes);
    return [manifest.config, ...manifest.layers];
  }
  if (mediaType === IMAGE_INDEX || mediaType === DOCKER_MANIFEST_LIST)
    return parseImageIndex(bytes).manifests;
  return [];
}

/**
 * What a manifest says of its own media type; `undefined` where it says nothing, or is nothing that could.
 * @see image-spec v1.1, "Image Manifest", `mediaType`
 */
export function ownMediaType(bytes: Uint8Array): string | undefined {
  try {
    return z.looseObject({ mediaType: z.string() }).parse(parseJson(bytes, 'manifest')).mediaType;
  } catch {
    return undefined;
  }
}

/** Writes a document the one way we write JSON: keys in the order given, no white space, UTF-8. */
export function encodeJson(document: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(document), 'utf8');
}

function parseDocument<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  const result = schema.safeParse(parseJson(bytes, what));
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue === undefined ? '' : ` at \`${issue.path.join('.')}\`: ${issue.message}`;
  throw new FerryError('MANIFEST_INVALID', `${what} is not valid${where}`, { cause: result.error });
}

function parseJson(bytes: Uint8Array, what: string): unknown {
  if (isTooDeep(bytes)) {
    throw new FerryError('MANIFEST_INVALID', `${what} is nested more than ${String(MAX_JSON_DEPTH)} deep`);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FerryError('MANIFEST_INVALID', `${what} is not JSON`, { cause });
  }
}

/** Counts brackets outside strings, which in UTF-8 no byte of another character looks like. */
function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < bytes.byteLength; at += 1) {
    const byte = bytes[at];
    if (isInString) {
      if (byte === 0x5c) at += 1;
      else if (byte === 0x22) isInString = false;
    } else if (byte === 0x22) isInString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) return true;
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
  return false;
}

function checkMediaType(actual: string | undefined, allowed: readonly string[]): void {
  if (actual !== undefined && !allowed.includes(actual)) {
    throw new FerryError('MANIFEST_INVALID', `manifest says it is \`${actual}\``);
  }
}
