import { FerryError } from '../errors.js';
import type { Annotations } from '../oci/descriptor.js';

/** Where the sources of an artifact are. GHCR links a package to that repository. @see image-spec v1.1, "Annotations" */
const SOURCE = 'org.opencontainers.image.source';
/** What the schema itself says of an artifact. @see v1/A5 */
const RESERVED = 'org.conda.';

/** Flags that make annotations. */
export interface AnnotationFlags {
  /** Each `KEY=VALUE`. */
  readonly annotation?: readonly string[] | undefined;
  readonly sourceRepo?: string | undefined;
}

/**
 * Reads the annotations that flags ask for; `undefined` where they ask for none.
 * @throws FerryError `USAGE`
 */
export function parseAnnotations({ annotation = [], sourceRepo }: AnnotationFlags): Annotations | undefined {
  const annotations: Record<string, string> = {};
  for (const text of annotation) {
    const split = text.indexOf('=');
    const key = text.slice(0, Math.max(0, split)).trim();
    if (key === '') throw new FerryError('USAGE', `\`--annotation ${text}\` is not KEY=VALUE`);
    if (key.startsWith(RESERVED))
      throw new FerryError('USAGE', `annotations below \`${RESERVED}\` belong to the schema`);
    if (Object.hasOwn(annotations, key))
      throw new FerryError('USAGE', `the annotation \`${key}\` is given twice`);
    annotations[key] = text.slice(split + 1);
  }
  if (sourceRepo !== undefined) annotations[SOURCE] = checkSource(sourceRepo, annotations[SOURCE]);
  return Object.keys(annotations).length === 0 ? undefined : annotations;
}

function checkSource(text: string, other: string | undefined): string {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text) || new URL(text).username !== '')
    throw new FerryError('USAGE', '`--source-repo` takes a URL such as https://github.com/me/recipes');
  if (other === undefined || other === text) return text;
  throw new FerryError('USAGE', `\`--source-repo\` and the annotation \`${SOURCE}\` say two things`);
}
