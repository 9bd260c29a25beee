import { isArchiveFilename, isSubdir } from '../../conda/names.js';
import { parseSidecarFilename } from '../../conda/sidecar.js';
import { SHARD_INDEX } from '../../conda/shards/shard-files.js';

/** What of a channel a path asks for. */
export type ChannelFile =
  /** `repodata.json`, or another file of metadata; `path` is that of the plain file. */
  | { readonly kind: 'metadata'; readonly path: string; readonly isCompressed: boolean }
  | { readonly kind: 'shard-index'; readonly subdir: string }
  | { readonly kind: 'shard'; readonly subdir: string; readonly sha256: string }
  | { readonly kind: 'archive'; readonly subdir: string; readonly filename: string }
  /** `sha256` is `undefined` for the one that goes with what is listed now. */
  | {
      readonly kind: 'sidecar';
      readonly subdir: string;
      readonly filename: string;
      readonly sha256: string | undefined;
    }
  | { readonly kind: 'other' };

/** A path below the root of the gateway. */
export interface ChannelPath {
  readonly name: string;
  readonly label: string | undefined;
  readonly file: ChannelFile;
}

/** Longest path that is looked at, in characters; a label has 128, a file name 211. @see CEP 26 */
const MAX_PATH_LENGTH = 1024;
/** @see CEP 26 */
const LABEL_PATTERN = /^[a-zA-Z][0-9a-zA-Z_\-./]*$/;
const MAX_LABEL_LENGTH = 128;
const SHARD_PATTERN = /^(?<sha256>[0-9a-f]{64})\.msgpack\.zst$/;
const JSON_FILE = /^[a-z0-9_.-]+\.json$/;

/**
 * Takes a request's path apart: `/conda-forge/linux-64/repodata.json.zst`, `/conda-forge/label/dev/noarch/x-1-0.conda`.
 * @param pathname as it came, percent-encoded
 * @returns `undefined` for what leads nowhere, such as `..`, encoded slashes and control characters
 */
export function parseChannelPath(pathname: string): ChannelPath | undefined {
  if (pathname.length > MAX_PATH_LENGTH) return undefined;
  const segments = pathname.slice(1).split('/').map(decodeSegment);
  if (!segments.every((segment) => segment !== undefined)) return undefined;
  const [name = '', ...rest] = segments;
  if (name === '') return undefined;
  if (rest[0] !== 'label') return { name, label: undefined, file: parseFile(rest) };
  // A label may have slashes: it ends where a subdir begins, or before a file of the channel.
  const end = rest.findIndex((segment, index) => index > 1 && isSubdir(segment));
  const labelEnd = end > 0 ? end : rest.length - 1;
  const label = rest.slice(1, labelEnd).join('/');
  if (!LABEL_PATTERN.test(label) || label.length > MAX_LABEL_LENGTH) return undefined;
  return { name, label: label === 'main' ? undefined : label, file: parseFile(rest.slice(labelEnd)) };
}

function parseFile(segments: readonly string[]): ChannelFile {
  const [first = '', second, third, ...more] = segments;
  if (more.length > 0) return { kind: 'other' };
  if (second === undefined) return metadataFile('', first);
  if (!isSubdir(first)) return { kind: 'other' };
  if (third !== undefined) {
    const sha256 = second === 'shards' ? SHARD_PATTERN.exec(third)?.groups?.['sha256'] : undefined;
    return sha256 === undefined ? { kind: 'other' } : { kind: 'shard', subdir: first, sha256 };
  }
  if (second === SHARD_INDEX) return { kind: 'shard-index', subdir: first };
  if (isArchiveFilename(second)) return { kind: 'archive', subdir: first, filename: second };
  const sidecar = parseSidecarFilename(second);
  if (sidecar !== undefined) return { kind: 'sidecar', subdir: first, ...sidecar };
  const filename = second.endsWith('.sigs') ? second.slice(0, -'.sigs'.length) : '';
  if (isArchiveFilename(filename)) return { kind: 'sidecar', subdir: first, filename, sha256: undefined };
  return metadataFile(`${first}/`, second);
}

function metadataFile(folder: string, file: string): ChannelFile {
  const isCompressed = file.endsWith('.zst');
  const plain = isCompressed ? file.slice(0, -'.zst'.length) : file;
  return JSON_FILE.test(plain)
    ? { kind: 'metadata', path: `${folder}${plain}`, isCompressed }
    : { kind: 'other' };
}

function decodeSegment(segment: string): string | undefined {
  let text: string;
  try {
    text = decodeURIComponent(segment);
  } catch {
    return undefined;
  }
  return text === '.' || text === '..' || /[/\\\u0000-\u001f\u007f]/.test(text) ? undefined : text;
}
