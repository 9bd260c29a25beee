import {
  BUILD_ANNOTATION,
  NAME_ANNOTATION,
  SCHEMA_ANNOTATION,
  VERSION_ANNOTATION,
} from '../artifact/schema-v1.js';
import type { SchemaId } from '../artifact/schema.js';
import { shorten } from '../conda/archive/member-path.js';
import { isFerryError } from '../errors.js';
import { encodeJson, parseImageManifest, type ImageManifest } from '../oci/manifest.js';
import { IMAGE_MANIFEST } from '../oci/media-types.js';
import type { StoredManifest } from '../oci/storage.js';
import type { CheckLog } from './check-log.js';
import { parseBoundedJson } from './parse-json.js';
import { asJsonObject, isJsonObject } from './rules/json-value.js';

/** Values of a manifest. */
const MAX_VALUES = 100_000;

/** Annotations that rules ask for: where such a one is no text, it is not there. */
const ASKED_FOR: ReadonlySet<string> = new Set([
  SCHEMA_ANNOTATION,
  NAME_ANNOTATION,
  VERSION_ANNOTATION,
  BUILD_ANNOTATION,
]);

/**
 * Reads a manifest, or reports that it is none. An annotation that is no text is reported, and the rest read without it.
 * @see v1/G1, v0/D9
 */
export function readManifest(
  { bytes }: Pick<StoredManifest, 'bytes'>,
  where: string,
  schema: SchemaId,
  log: CheckLog,
): ImageManifest | undefined {
  const clause = schema === 'v1' ? 'v1/G1' : 'v0/D9';
  const { odd, rest } = setOddAnnotationsAside(bytes);
  const others = schema === 'v1' ? odd.filter((key) => !ASKED_FOR.has(key)) : odd;
  log.expect(clause, others.length === 0, () => ({
    where,
    found: `the annotation \`${shorten(others.join('`, `'))}\`, which is no text`,
    expected: 'text for every annotation',
  }));
  try {
    const manifest = parseImageManifest(rest);
    log.expect(clause, (manifest.mediaType ?? IMAGE_MANIFEST) === IMAGE_MANIFEST, () => ({
      where,
      found: `a manifest that calls itself \`${shorten(manifest.mediaType ?? '')}\``,
      expected: `\`${IMAGE_MANIFEST}\``,
    }));
    return manifest;
  } catch (error) {
    if (!isFerryError(error, 'MANIFEST_INVALID')) throw error;
    log.report(clause, { where, found: error.message, expected: 'an OCI image manifest' });
    return undefined;
  }
}

/** Takes annotations of the manifest that are no text out of it. */
function setOddAnnotationsAside(bytes: Uint8Array): {
  readonly odd: readonly string[];
  readonly rest: Uint8Array;
} {
  const parsed = parseBoundedJson(bytes, MAX_VALUES);
  const document = 'value' in parsed ? asJsonObject(parsed.value) : {};
  const annotations = document['annotations'];
  if (!isJsonObject(annotations)) return { odd: [], rest: bytes };
  const odd = Object.keys(annotations).filter((key) => typeof annotations[key] !== 'string');
  if (odd.length === 0) return { odd, rest: bytes };
  const kept = Object.entries(annotations).filter(([key]) => !odd.includes(key));
  return { odd, rest: encodeJson({ ...document, annotations: Object.fromEntries(kept) }) };
}
