/** What CEP 34 and 35 ask of an archive as a whole, once it has been read. */
import type { CondaFault, CondaSurvey } from '../../conda/archive/conda-zip.js';
import { shorten } from '../../conda/archive/member-path.js';
import type { FerryError } from '../../errors.js';
import type { CheckLog } from '../check-log.js';
import { clauseOf, type ClauseId } from '../clauses.js';
import { parseBoundedJson } from '../parse-json.js';
import { isJsonObject } from './json-value.js';
import type { ArchiveMembers } from './archive-members.js';
import type { FilenameParts } from './names.js';

/** The only version there is. @see CEP 35 */
const CONDA_FORMAT_VERSION = 2;

/** `metadata.json` holds one. */
const MAX_METADATA_VALUES = 1000;

/** Takes down why an archive, or a part of it, cannot be read. `clause` is what its format asks for. */
export function reportUnreadable(clause: ClauseId, error: FerryError, where: string, log: CheckLog): void {
  const broken = error.code === 'ARCHIVE_LIMIT_EXCEEDED' ? 'cep35/limits' : clause;
  log.report(broken, { where, found: error.message, expected: clauseOf(broken).text });
}

/** Takes down what is wrong with the zip of a `.conda`. */
function reportCondaFault({ kind, entry, error }: CondaFault, where: string, log: CheckLog): void {
  // Judged by `checkStems`, which knows what the names should be.
  if (kind === 'stem') return;
  const clause = clauseOfFault(kind, entry);
  if (error.code === 'ARCHIVE_LIMIT_EXCEEDED') reportUnreadable(clause, error, where, log);
  else log.report(clause, { where, found: error.message, expected: clauseOf(clause).text });
}

function clauseOfFault(kind: Exclude<CondaFault['kind'], 'stem'>, entry: string): ClauseId {
  switch (kind) {
    case 'compressed':
      return 'cep35/stored';
    case 'damaged':
      return 'cep35/zip';
    case 'duplicate':
      return 'cep35/zip-entry-once';
    case 'nested':
      return 'cep35/zip-entry-nested';
    case 'path':
      return 'cep35/zip-entry-path';
    case 'missing':
      if (entry === 'metadata.json') return 'cep35/metadata-json';
      return entry === 'info' ? 'cep35/info-member' : 'cep35/pkg-member';
  }
}

/** Notes the rules of the zip that were looked at, and further entries. */
export function checkZipEntries(
  { others }: CondaSurvey,
  faults: readonly CondaFault[],
  where: string,
  log: CheckLog,
): void {
  for (const fault of faults) reportCondaFault(fault, where, log);
  const broken = new Set(
    faults.map(({ kind, entry }) => (kind === 'stem' ? undefined : clauseOfFault(kind, entry))),
  );
  for (const clause of [
    'cep35/stored',
    'cep35/zip-entry-once',
    'cep35/zip-entry-nested',
    'cep35/zip-entry-path',
    'cep35/info-member',
    'cep35/pkg-member',
  ] as const) {
    if (!broken.has(clause)) log.expect(clause, true, neverCalled);
  }
  log.expect('cep35/zip-entry-extra', others.length === 0, () => ({
    where,
    found: shorten(others.map((name) => `\`${name}\``).join(', ')),
    expected: 'metadata.json and two tarballs',
  }));
}

/** Judges the bytes of `metadata.json`. */
export function checkMetadata(bytes: Uint8Array, where: string, log: CheckLog): void {
  const place = `${where}/metadata.json`;
  const parsed = parseBoundedJson(bytes, MAX_METADATA_VALUES);
  const value = 'value' in parsed ? parsed.value : undefined;
  const isObject = log.expect('cep35/metadata-json', isJsonObject(value), () => ({
    where: place,
    found: 'fault' in parsed ? parsed.message : shorten(JSON.stringify(value)),
    expected: 'a JSON object',
  }));
  if (!isObject || !isJsonObject(value)) return;
  const version = value['conda_pkg_format_version'];
  log.expect('cep35/format-version', version === CONDA_FORMAT_VERSION, () => ({
    where: place,
    found: version === undefined ? 'no `conda_pkg_format_version`' : shorten(JSON.stringify(version)),
    expected: String(CONDA_FORMAT_VERSION),
  }));
}

/** Judges the names of the tarballs in a `.conda`; `expected` is what index.json says, or else the file name. */
export function checkStems(survey: CondaSurvey, expected: string, where: string, log: CheckLog): void {
  for (const [name, stem] of survey.stems) {
    log.expect('cep35/stem', stem === expected, () => ({
      where,
      found: `\`${shorten(name)}\``,
      expected: `\`${shorten(name.slice(0, name.indexOf('-')))}-${shorten(expected)}.tar.zst\``,
    }));
  }
}

/** Judges whether the file name is made of what index.json says. */
export function checkFilenameAgrees(
  parts: FilenameParts,
  indexStem: string,
  where: string,
  log: CheckLog,
): void {
  log.expect('cep35/filename', parts.stem === indexStem, () => ({
    where,
    found: `\`${shorten(parts.stem)}\``,
    expected: `\`${shorten(indexStem)}\`, as index.json says`,
  }));
}

/** Judges whether the files are there that each package has. Only for an archive whose `info/` was read to its end. */
export function checkPresence(members: ArchiveMembers, where: string, log: CheckLog): void {
  for (const [path, clause] of [
    ['info/index.json', 'cep34/index-json'],
    ['info/paths.json', 'cep34/paths-json'],
  ] as const) {
    const entry = members.entries.get(path);
    log.expect(clause, entry?.type === 'file', () => ({
      where,
      found: entry === undefined ? `no \`${path}\`` : `\`${path}\` is a ${entry.type}`,
      expected: 'that file',
    }));
  }
  const folder = members.entries.has('info/index.json') ? undefined : wrappingFolder(members);
  log.expect('cep35/root', folder === undefined, () => ({
    where,
    found: `the package is inside \`${shorten(folder ?? '')}\``,
    expected: '`info/` at the root of the tar',
  }));
}

function wrappingFolder(members: ArchiveMembers): string | undefined {
  for (const path of members.entries.keys()) {
    if (path.endsWith('/info/index.json')) return path.slice(0, -'/info/index.json'.length);
  }
  return undefined;
}

function neverCalled(): never {
  throw new Error('nothing to report');
}
