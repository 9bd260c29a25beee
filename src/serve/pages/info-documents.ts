/** Reads the documents of an archive's `info/` for its page: whatever is not as it should be counts as absent. */
import { isJsonObject, stringsIn } from '../../conformance/rules/json-value.js';
import { isPortableJson } from '../../publish/portable-json.js';
import { parseRunExports } from '../../publish/run-exports.js';
import type { JsonObject } from '../../conda/record-details.js';
import type { ShownInfo } from './read-info.js';

/** A file of a package. */
export interface PackageFile {
  /** Below the environment, such as `lib/libz.so.1`. */
  readonly path: string;
  /** Such as `hardlink`. */
  readonly type?: string | undefined;
  /** In bytes. */
  readonly size?: number | undefined;
  readonly sha256?: string | undefined;
}

/** A document of `info/` that is an object; `undefined` where there is none. */
export function objectIn(info: ShownInfo, path: string): JsonObject | undefined {
  const value = jsonIn(info, path);
  return isJsonObject(value) ? value : undefined;
}

/** The files of a package, in its order. @see CEP 34, `paths.json`; packages before 2018 have `files` only */
export function filesIn(info: ShownInfo): readonly PackageFile[] | undefined {
  const paths: unknown = objectIn(info, 'paths.json')?.['paths'];
  if (!Array.isArray(paths)) {
    const lines = textIn(info, 'files')?.split(/\r?\n/);
    return lines?.filter((line) => line !== '').map((path) => ({ path }));
  }
  return paths.filter(isJsonObject).flatMap((entry) => {
    const { _path: path, path_type: type, size_in_bytes: size, sha256 } = entry;
    if (typeof path !== 'string') return [];
    return [
      {
        path,
        type: typeof type === 'string' ? type : undefined,
        size: typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : undefined,
        sha256: typeof sha256 === 'string' ? sha256 : undefined,
      },
    ];
  });
}

/** What a package asks of those that are built against it, by kind. @see CEP 12 */
export function runExportsIn(
  info: ShownInfo,
): readonly (readonly [kind: string, specs: readonly string[]])[] {
  const said = parseRunExports(jsonIn(info, 'run_exports.json'));
  return Object.entries(said)
    .map(([kind, specs]) => [kind, stringsIn(specs)] as const)
    .filter(([, specs]) => specs.length > 0);
}

/** The recipe, as it was written or, if that is not there, as it was built. */
export function recipeIn(info: ShownInfo): { readonly path: string; readonly text: string } | undefined {
  for (const path of ['recipe/recipe.yaml', 'recipe/meta.yaml']) {
    const text = textIn(info, path);
    if (text !== undefined) return { path, text };
  }
  return undefined;
}

/** Texts of a field that holds one or several. */
export function textsOf(value: unknown): readonly string[] {
  return (typeof value === 'string' ? [value] : stringsIn(value)).filter((text) => text.trim() !== '');
}

/**
 * The address of a link that a package gives, or `undefined` for what is none: only web pages, and no passwords.
 */
export function webAddress(text: string): string | undefined {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  const { protocol, username, password, href } = new URL(text);
  const isWeb = protocol === 'https:' || protocol === 'http:';
  return isWeb && username === '' && password === '' && href.length <= 2000 ? href : undefined;
}

function textIn(info: ShownInfo, path: string): string | undefined {
  const bytes = info.get(path);
  return bytes && new TextDecoder().decode(bytes);
}

function jsonIn(info: ShownInfo, path: string): unknown {
  const text = textIn(info, path);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isPortableJson(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
