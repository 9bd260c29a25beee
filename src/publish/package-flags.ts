import { isJsonObject } from '../conformance/rules/json-value.js';

/** What installing a package involves, as channeldata tells it. @see CEP 38 */
export interface PackageFlags {
  /** It has scripts that run when an environment is activated. */
  readonly 'activate.d': boolean;
  readonly 'deactivate.d': boolean;
  /** It has binary files in which the prefix is put in. */
  readonly binary_prefix: boolean;
  readonly text_prefix: boolean;
  /** It has a script that runs after linking. */
  readonly post_link: boolean;
  readonly pre_link: boolean;
  readonly pre_unlink: boolean;
}

/** Names of the flags, sorted. */
export const PACKAGE_FLAGS = [
  'activate.d',
  'binary_prefix',
  'deactivate.d',
  'post_link',
  'pre_link',
  'pre_unlink',
  'text_prefix',
] as const satisfies readonly (keyof PackageFlags)[];

/** A path in a package, and whether the prefix is put into that file. */
interface FlaggedPath {
  readonly path: string;
  readonly prefixMode?: 'binary' | 'text' | undefined;
}

/**
 * Reads the flags out of `info/paths.json`.
 * @param pathsJson parsed; what is not as it should be counts as nothing
 * @see CEP 34, CEP 38
 */
export function flagsOfPaths(pathsJson: unknown): PackageFlags {
  const paths = isJsonObject(pathsJson) && Array.isArray(pathsJson['paths']) ? pathsJson['paths'] : [];
  return flagsOf(paths.flatMap((item: unknown) => flaggedPath(item) ?? []));
}

/**
 * As {@link flagsOfPaths}, of a package without `info/paths.json`, as all were until 2016.
 * @param files `info/files`, a path on each line
 * @param hasPrefix `info/has_prefix`: on each line a path alone, or placeholder, mode and path, which may be quoted
 */
export function flagsOfLists(files: string, hasPrefix: string): PackageFlags {
  const placed = linesOf(hasPrefix).map((line): FlaggedPath => {
    const mode = /^(?:"[^"]*"|\S+) (?<mode>binary|text) ./.exec(line)?.groups?.['mode'];
    return { path: '', prefixMode: mode === 'binary' ? 'binary' : 'text' };
  });
  return flagsOf([...linesOf(files).map((path) => ({ path })), ...placed]);
}

function flagsOf(paths: readonly FlaggedPath[]): PackageFlags {
  const some = (test: (path: FlaggedPath) => boolean): boolean => paths.some(test);
  const isScript = (kind: string): boolean => {
    const pattern = new RegExp(`/\\.[^/]*-${kind}\\.[^/]*$`);
    return some(({ path }) => pattern.test(path));
  };
  return {
    'activate.d': some(({ path }) => path.startsWith('etc/conda/activate.d/')),
    'deactivate.d': some(({ path }) => path.startsWith('etc/conda/deactivate.d/')),
    binary_prefix: some(({ prefixMode }) => prefixMode === 'binary'),
    text_prefix: some(({ prefixMode }) => prefixMode === 'text'),
    post_link: isScript('post-link'),
    pre_link: isScript('pre-link'),
    pre_unlink: isScript('pre-unlink'),
  };
}

function flaggedPath(item: unknown): FlaggedPath | undefined {
  if (!isJsonObject(item) || typeof item['_path'] !== 'string') return undefined;
  const { _path: path, prefix_placeholder: placeholder, file_mode: mode } = item;
  const isPlaced = typeof placeholder === 'string' && placeholder !== '';
  return { path, prefixMode: isPlaced && (mode === 'binary' || mode === 'text') ? mode : undefined };
}

function linesOf(text: string): readonly string[] {
  return text.split(/\r?\n/).filter((line) => line !== '');
}
