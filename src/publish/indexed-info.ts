/** What an indexer reads in an archive, or in the info layer of an artifact, beside the record itself. */
import { readInfoLayer } from '../artifact/read-info-layer.js';
import type { ArchiveLocation } from '../conda/archive/archive-file.js';
import { InfoMembers } from '../conda/archive/info-members.js';
import { MAX_INFO_JSON_BYTES, MAX_PATHS_JSON_BYTES } from '../conda/archive/limits.js';
import { readInfo, type InfoMember } from '../conda/archive/read-info.js';
import type { ArchiveExtension } from '../conda/names.js';
import type { JsonObject } from '../conda/record-details.js';
import { isJsonObject } from '../conformance/rules/json-value.js';
import type { Bytes } from '../io/bytes.js';
import { flagsOfLists, flagsOfPaths, type PackageFlags } from './package-flags.js';
import { isPortableJson, parsePortableObject } from './portable-json.js';
import { parseRunExports, type RunExports } from './run-exports.js';

/** Recipes are written by people; generated ones reach some hundred kilobytes. */
const MAX_RECIPE_BYTES = 512 * 1024;
/** Where conda-build keeps the recipe that it built from; the first one that is there counts. */
const RECIPES = ['recipe/meta.yaml', 'recipe/meta.yaml.rendered', 'meta.yaml'] as const;

/** What an indexer takes out of `info/`, as plain JSON values: what the other generators of this folder work with. */
export interface IndexedInfo {
  /** `info/about.json`; `{}` where there is none that can be read. */
  readonly about: JsonObject;
  /** What `info/run_exports.json` says; `{}` where there is none. */
  readonly runExports: RunExports;
  readonly flags: PackageFlags;
  /** Where the sources came from, as the recipe says it: `{ url, git_url }`; `{}` where it does not. */
  readonly source: JsonObject;
}

/** {@link IndexedInfo} of an archive. */
export interface IndexedArchive extends IndexedInfo {
  /** The bytes of `info/index.json`, not yet parsed. */
  readonly indexJson: Uint8Array;
  /** Of a `.conda`: name, version and build string in the names of its inner tarballs. */
  readonly innerStem: string | undefined;
}

/**
 * Reads what an indexer needs of an archive, in bounded memory. Optional documents that cannot be read count as absent: the
 * package can be installed all the same.
 * @throws FerryError `ARCHIVE_…`, as `readInfo` does
 * @see CEP 34, CEP 35
 */
export async function readIndexedInfo(
  archive: ArchiveLocation,
  extension: ArchiveExtension,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<IndexedArchive> {
  const { indexJson, members, stem } = await readInfo(archive, extension, options);
  return { indexJson, innerStem: stem, ...(await indexedInfoOf(members)) };
}

/**
 * As {@link readIndexedInfo}, of the info layer of an artifact: a tar of `info/` without that prefix, gzipped.
 * @param size of the layer, in bytes
 * @throws FerryError `ARCHIVE_…`; what `layer` fails with
 */
export async function readIndexedLayer(layer: Bytes, size: number): Promise<IndexedInfo> {
  const info = new InfoMembers();
  await readInfoLayer(layer, size, (member) => {
    // Hard links name a member, as it is called here.
    const linkTarget = member.type === 'link' ? `info/${member.linkTarget}` : member.linkTarget;
    return info.visit({ ...member, name: `info/${member.name}`, linkTarget });
  });
  return indexedInfoOf(info.finish());
}

/** Takes out of the members of `info/` what an indexer needs. */
export async function indexedInfoOf(members: readonly InfoMember[]): Promise<IndexedInfo> {
  const files = new Map<string, Uint8Array>();
  for (const member of members) if (member.type === 'file') files.set(member.path, member.bytes);
  const runExports = jsonIn(files, 'run_exports.json', MAX_INFO_JSON_BYTES);
  const about = files.get('about.json');
  const isAbout = about !== undefined && about.byteLength <= MAX_INFO_JSON_BYTES;
  return {
    about: (isAbout ? parsePortableObject(about) : undefined) ?? {},
    runExports: isPortableJson(runExports) ? parseRunExports(runExports) : {},
    flags: flagsIn(files),
    source: await sourceIn(files),
  };
}

function flagsIn(files: ReadonlyMap<string, Uint8Array>): PackageFlags {
  if (files.has('paths.json')) return flagsOfPaths(jsonIn(files, 'paths.json', MAX_PATHS_JSON_BYTES));
  return flagsOfLists(textIn(files, 'files'), textIn(files, 'has_prefix'));
}

function textIn(files: ReadonlyMap<string, Uint8Array>, path: string): string {
  const bytes = files.get(path);
  if (bytes === undefined || bytes.byteLength > MAX_PATHS_JSON_BYTES) return '';
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function jsonIn(files: ReadonlyMap<string, Uint8Array>, path: string, maxBytes: number): unknown {
  const bytes = files.get(path);
  if (bytes === undefined || bytes.byteLength > maxBytes) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

async function sourceIn(files: ReadonlyMap<string, Uint8Array>): Promise<JsonObject> {
  const path = RECIPES.find((name) => files.has(name));
  const bytes = path === undefined ? undefined : files.get(path);
  if (bytes === undefined || bytes.byteLength > MAX_RECIPE_BYTES) return {};
  try {
    // Many packages have no recipe, and most commands read none.
    const { parse } = await import('yaml');
    const text = Buffer.from(bytes).toString('utf8');
    const recipe: unknown = parse(text, { logLevel: 'silent', schema: 'failsafe' });
    const source = isJsonObject(recipe) ? recipe['source'] : undefined;
    // Of a list of sources, conda-index says nothing, and which of them is meant nobody knows.
    if (!isJsonObject(source)) return {};
    const { url, git_url } = source;
    const said = Object.entries({ url, git_url }).filter(([, value]) => isTextOrTexts(value));
    return isPortableJson(said) ? Object.fromEntries(said) : {};
  } catch {
    return {};
  }
}

function isTextOrTexts(value: unknown): value is string | readonly string[] {
  if (typeof value === 'string') return value !== '';
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string');
}
