/** What CEP 34 asks of `info/paths.json`, and of its agreement with what the archive holds. */
import { parseMemberPath, shorten } from '../../conda/archive/member-path.js';
import { MAX_LINK_HOPS, MAX_PAYLOAD_MEMBERS } from '../../conda/archive/limits.js';
import { isFerryError } from '../../errors.js';
import { CheckLog } from '../check-log.js';
import type { ClauseId } from '../clauses.js';
import { checkDocument } from '../documents.js';
import { parseBoundedJson } from '../parse-json.js';
import { isJsonObject } from './json-value.js';
import { resolveTarget, type ArchiveEntry } from './archive-members.js';
import type { JsonObject } from './info.js';

type Entries = ReadonlyMap<string, ArchiveEntry>;

/** Half a million entries of eight values. */
const MAX_PATHS_VALUES = 4_000_000;

/** Entries that go through the schema at once: what is wrong with them is held until it is taken down. */
const BATCH = 1000;

/** The values that the rules look at. */
interface PathEntry {
  readonly path: string;
  readonly type: string;
  readonly sha256: unknown;
  readonly size: unknown;
  /** Of the entry in paths.json. */
  readonly where: string;
}

/**
 * Judges `info/paths.json`.
 * @param entries what the archive holds, where it was read to its end
 */
export function checkPaths(
  bytes: Uint8Array,
  entries: Entries | undefined,
  where: string,
  log: CheckLog,
): void {
  const place = `${where}/info/paths.json`;
  const parsed = parseBoundedJson(bytes, MAX_PATHS_VALUES);
  if ('fault' in parsed) {
    const clause = parsed.fault === 'limit' ? 'cep35/limits' : 'cep34/paths-json';
    log.report(clause, { where: place, found: parsed.message, expected: 'JSON in UTF-8 of a usual size' });
    return;
  }
  const list = isJsonObject(parsed.value) ? parsed.value['paths'] : undefined;
  if (Array.isArray(list) && list.length > MAX_PAYLOAD_MEMBERS) {
    const expected = `at most ${String(MAX_PAYLOAD_MEMBERS)}`;
    log.report('cep35/limits', { where: place, found: `${String(list.length)} entries`, expected });
    return;
  }
  checkSchema(parsed.value, place, log);
  if (!Array.isArray(list)) return;
  const listed = new Set<string>();
  const packaged = entries === undefined ? undefined : new PackagedPaths(entries);
  for (const [index, item] of (list as readonly unknown[]).entries()) {
    const entry = isJsonObject(item) ? readEntry(item, `${place}#/paths/${String(index)}`) : undefined;
    if (entry === undefined) continue;
    const path = checkPath(entry, packaged, log);
    if (path === undefined) continue;
    expect('cep34/paths-unique', !listed.has(path), entry, 'a further entry of that path', 'one', log);
    listed.add(path);
    if (packaged !== undefined) checkAgainst(entry, path, packaged, log);
  }
  for (const [path, { type }] of entries ?? []) {
    if (path.startsWith('info/') || type === 'directory') continue;
    log.expect('cep34/paths-complete', listed.has(path), () => ({
      where: `${where}/${shorten(path)}`,
      found: `a ${type} that paths.json does not list`,
      expected: 'an entry for it',
    }));
  }
}

/** Checks in batches: of a long list that is wrong throughout, all breaches at once would not fit into memory. */
function checkSchema(value: unknown, place: string, log: CheckLog): void {
  const list = isJsonObject(value) ? value['paths'] : undefined;
  if (!isJsonObject(value) || !Array.isArray(list) || list.length <= BATCH) {
    checkDocument('paths-json', value, place, log);
    return;
  }
  checkDocument('paths-json', { ...value, paths: list.slice(0, BATCH) }, place, log);
  for (let start = BATCH; start < list.length; start += BATCH) {
    const batch = new CheckLog();
    const paths = list.slice(start, start + BATCH) as unknown[];
    checkDocument('paths-json', { paths_version: 1, paths }, '', batch);
    for (const { clause, where, found, expected } of batch.findings) {
      const pointer = where.replace(
        /^#\/paths\/(\d+)/,
        (_, index) => `#/paths/${String(start + Number(index))}`,
      );
      log.report(clause, { where: `${place}${pointer}`, found, expected });
    }
  }
}

function readEntry(item: JsonObject, where: string): PathEntry | undefined {
  const { _path: path, path_type: type = 'hardlink', sha256, size_in_bytes: size } = item;
  return typeof path === 'string' && path !== '' && typeof type === 'string'
    ? { path, type, sha256, size, where }
    : undefined;
}

/** Judges `_path` by itself, and gives it as the members of a tar are named. */
function checkPath(entry: PathEntry, packaged: PackagedPaths | undefined, log: CheckLog): string | undefined {
  const path = parsePath(entry.path);
  // On Linux a back slash is a character like others, so only what is there with slashes is found wrong.
  const hasBackSlashes =
    path?.includes('\\') === true &&
    packaged?.has(path) === false &&
    packaged.has(path.replaceAll('\\', '/'));
  const isGood = path !== undefined && path !== '' && !hasBackSlashes;
  const found = `\`${shorten(entry.path)}\``;
  if (!expect('cep34/paths-path', isGood, entry, found, 'a path inside the package, with `/`', log))
    return hasBackSlashes ? path.replaceAll('\\', '/') : undefined;
  const isInfo = path === 'info' || path?.startsWith('info/') === true;
  expect('cep34/paths-no-info', !isInfo, entry, found, 'nothing of `info/`', log);
  return isInfo ? undefined : path;
}

function parsePath(path: string): string | undefined {
  try {
    return parseMemberPath(path, 'path').join('/');
  } catch (error) {
    if (isFerryError(error)) return undefined;
    throw error;
  }
}

function checkAgainst(entry: PathEntry, path: string, packaged: PackagedPaths, log: CheckLog): void {
  const found = packaged.typeOf(path);
  if (!expect('cep34/paths-present', found !== undefined, entry, 'no such member', shorten(path), log))
    return;
  const isRightType = TYPES[found ?? 'file'] === entry.type;
  expect('cep34/paths-type-agrees', isRightType, entry, `a ${String(found)}`, shorten(entry.type), log);
  if (found === 'file') {
    const file = packaged.file(path);
    const isSameSize = entry.size === file?.size;
    if (typeof entry.size === 'number')
      expect(
        'cep34/paths-size-agrees',
        isSameSize,
        entry,
        `a file of ${String(file?.size)} bytes`,
        String(entry.size),
        log,
      );
    if (typeof entry.sha256 === 'string')
      expect(
        'cep34/paths-sha256-agrees',
        entry.sha256 === file?.sha256,
        entry,
        `a file of SHA-256 ${String(file?.sha256)}`,
        shorten(entry.sha256),
        log,
      );
  }
  const target = found === 'symlink' ? packaged.follow(path) : undefined;
  if (target === undefined || typeof entry.size !== 'number' || typeof entry.sha256 !== 'string') return;
  const isRight = entry.size === target.size && entry.sha256 === target.sha256;
  const values = `size ${String(target.size)} and SHA-256 ${target.sha256} of its target`;
  expect(
    'cep34/paths-softlink',
    isRight,
    entry,
    `size ${String(entry.size)}, SHA-256 ${shorten(entry.sha256)}`,
    values,
    log,
  );
}

const TYPES = { file: 'hardlink', symlink: 'softlink', directory: 'directory' } as const;

function expect(
  clause: ClauseId,
  holds: boolean,
  { where }: PathEntry,
  found: string,
  expected: string,
  log: CheckLog,
): boolean {
  return log.expect(clause, holds, () => ({ where, found, expected }));
}

/** What the archive holds, asked by path. */
class PackagedPaths {
  readonly #entries: Entries;
  #sorted: readonly string[] | undefined;

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  has(path: string): boolean {
    return this.#entries.has(path);
  }

  /** Folders count also where no member says so. */
  typeOf(path: string): ArchiveEntry['type'] | undefined {
    return this.#entries.get(path)?.type ?? (this.#isFolder(path) ? 'directory' : undefined);
  }

  file(path: string): Extract<ArchiveEntry, { type: 'file' }> | undefined {
    const entry = this.#entries.get(path);
    return entry?.type === 'file' ? entry : undefined;
  }

  /** The file that a symlink leads to, where it is in the package and no folder on the way is a link. */
  follow(path: string): Extract<ArchiveEntry, { type: 'file' }> | undefined {
    let at = path;
    for (let hops = 0; hops < MAX_LINK_HOPS; hops++) {
      const entry = this.#entries.get(at);
      if (entry?.type !== 'symlink') return this.file(at);
      const next = entry.target.startsWith('/') ? undefined : resolveTarget(at, entry.target);
      if (next === undefined) return undefined;
      at = next;
    }
    return undefined;
  }

  #isFolder(path: string): boolean {
    this.#sorted ??= [...this.#entries.keys()].sort();
    const prefix = `${path}/`;
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sorted[middle] ?? '') < prefix) low = middle + 1;
      else high = middle;
    }
    return this.#sorted[low]?.startsWith(prefix) === true;
  }
}
