import { ParseError } from '../errors.js';
import { isRepositoryName, parseRepositoryName } from '../oci/reference.js';
import type { SchemaId } from './schema.js';

/** Conda's name for a channel without a label. @see CEP 26, v1/L3 */
export const MAIN_LABEL = 'main';

/** Repositories beside a channel's subdirs, which a channel must not be named like. @see v1/B32 */
const CHANNEL_REPOSITORIES: ReadonlySet<string> = new Set(['channeldata.json', 'notices.json']);

/**
 * Repository prefix of a channel, or of one label of it: `org/conda-forge`, `org/conda-forge/label/dev`. The label `main`
 * is the channel itself. In schema v1 a path cannot hold `label` of its own, since nobody could tell the two apart.
 * @param path such as `org/conda-forge`; empty where the store is the channel
 * @throws ParseError `REFERENCE_INVALID` for what OCI does not allow, `CHANNEL_INVALID` for what would be ambiguous
 * @see v1/L1, v1/L2, v1/L3, v1/L4, v1/B10, v1/B32
 */
export function channelPath(path: string, label: string | undefined, schema: SchemaId): string {
  if (path !== '') parseRepositoryName(path);
  const components = path.split('/');
  if (schema === 'v1' && components.includes('label')) {
    throw new ParseError('CHANNEL_INVALID', `\`${path}\` has the component \`label\``, path, {
      hint: 'name the label with --label, and leave it out of the path',
    });
  }
  checkNoMetadata(path);
  if (label === undefined || label === MAIN_LABEL) return path;
  if (!isRepositoryName(label)) {
    throw new ParseError('CHANNEL_INVALID', `OCI cannot hold the label \`${label}\``, label, {
      hint: 'labels need lower case, digits, and single `.`, `_` or `-` between them',
    });
  }
  checkNoMetadata(label);
  return [path, 'label', label].filter((part) => part !== '').join('/');
}

/** Also in the middle: on disk one repository would lie inside another. */
function checkNoMetadata(part: string): void {
  if (!part.split('/').some((component) => CHANNEL_REPOSITORIES.has(component))) return;
  throw new ParseError(
    'CHANNEL_INVALID',
    `\`${part}\` cannot be part of a channel's path: metadata is named like it`,
    part,
  );
}
