import { archiveExtensionOf, MAX_FILENAME_LENGTH } from '../../conda/names.js';
import type { CheckLog } from '../check-log.js';
import { checkDocument } from '../documents.js';
import { asJsonObject, isJsonObject, pointTo, quote, type JsonObject } from './json-value.js';
import { checkRecordUrl } from './record-url.js';

/** The ending that keys of a section have. */
const SECTION_ENDINGS: ReadonlyMap<string, string> = new Map([
  ['packages', '.tar.bz2'],
  ['packages.conda', '.conda'],
]);

/** What {@link checkPackageRecord} looks at. */
export interface PackageRecordSubject {
  /** The decoded record, whatever it is. */
  readonly value: unknown;
  /** Such as `zlib-1.2.11-h7b6447c_3.conda`. */
  readonly filename: string;
  /** Its section: `packages`, `packages.conda`, `v3`. */
  readonly section: string;
  /** The subdir that lists it. */
  readonly subdir: string;
  /** Its place, such as `noarch/repodata.json#/packages.conda/zlib-1.2.11-0.conda`. */
  readonly where: string;
  /** The time it is, in milliseconds; without it nothing is said of times in the future. */
  readonly nowMs?: number | undefined;
  /** Finds what the same repodata lists for another file. */
  readonly recordOf?: ((filename: string) => unknown) | undefined;
}

/** Checks one record of repodata: its fields, its key, and how the fields go together. */
export function checkPackageRecord(subject: PackageRecordSubject, log: CheckLog): void {
  const { value, section, subdir, where } = subject;
  checkDocument('package-record', value, where, log);
  checkKey(subject, log);
  if (!isJsonObject(value)) return;
  const named = value['subdir'];
  log.expect('cep36/record-subdir', typeof named !== 'string' || named === subdir, () => ({
    where: pointTo(where, 'subdir'),
    found: quote(named),
    expected: `\`${subdir}\`, the subdir that lists it`,
  }));
  log.expect('cep36/record-digest', value['sha256'] !== null || value['md5'] !== null, () => ({
    where,
    found: '`sha256` and `md5` are null',
    expected: 'at least one of them, best both',
  }));
  checkTimes(value, subject, log);
  checkLegacyArchive(value, subject, log);
  if ('url' in value) checkRecordUrl({ url: value['url'], filename: subject.filename, section, where }, log);
}

function checkKey({ value, filename, section, where }: PackageRecordSubject, log: CheckLog): void {
  const ending = SECTION_ENDINGS.get(section);
  if (ending !== undefined) {
    const fits = log.expect('cep36/key-extension', filename.endsWith(ending), () => ({
      where,
      found: `${quote(filename)} in \`${section}\``,
      expected: `a file name that ends in \`${ending}\``,
    }));
    if (!fits) return;
  }
  const { name, version, build } = asJsonObject(value);
  if (typeof name !== 'string' || typeof version !== 'string' || typeof build !== 'string') return;
  const stem = `${name}-${version}-${build}`;
  const extension = archiveExtensionOf(filename);
  const said = extension === undefined ? stem : `${stem}.${extension}`;
  const agrees = log.expect('cep26/filename', said === filename, () => ({
    where,
    found: `a record of ${quote(said)}`,
    expected: 'name, version and build string of its key',
  }));
  if (!agrees) return;
  log.expect('cep26/filename', filename.length <= MAX_FILENAME_LENGTH, () => ({
    where,
    found: `a file name of ${String(filename.length)} characters`,
    expected: `no more than ${String(MAX_FILENAME_LENGTH)}`,
  }));
}

function checkTimes(record: JsonObject, { where, nowMs }: PackageRecordSubject, log: CheckLog): void {
  const { timestamp, indexed_timestamp: indexed } = record;
  if (typeof timestamp === 'number' && typeof indexed === 'number') {
    log.expect('cep47/not-after-indexed', timestamp <= indexed, () => ({
      where: pointTo(where, 'timestamp'),
      found: `${String(timestamp)}, after \`indexed_timestamp\``,
      expected: `no later than ${String(indexed)}`,
    }));
  }
  if (nowMs === undefined) return;
  for (const [clause, key, time] of [
    ['cep47/not-in-future', 'timestamp', timestamp],
    ['cep47/indexed-not-in-future', 'indexed_timestamp', indexed],
  ] as const) {
    if (typeof time !== 'number') continue;
    log.expect(clause, time <= nowMs, () => ({
      where: pointTo(where, key),
      found: `${String(time)}, which is still to come`,
      expected: `a time up to now, ${String(nowMs)}`,
    }));
  }
}

/** What a `.conda` says of the `.tar.bz2` it was made from. */
function checkLegacyArchive(record: JsonObject, subject: PackageRecordSubject, log: CheckLog): void {
  const { legacy_bz2_md5: md5, legacy_bz2_size: size } = record;
  if (md5 === undefined && size === undefined) return;
  const { where, filename } = subject;
  log.expect('cep36/legacy-bz2-md5', md5 !== undefined, () => ({
    where,
    found: '`legacy_bz2_size` without `legacy_bz2_md5`',
    expected: 'both',
  }));
  log.expect('cep36/legacy-bz2-size', size !== undefined, () => ({
    where,
    found: '`legacy_bz2_md5` without `legacy_bz2_size`',
    expected: 'both',
  }));
  const original = filename.replace(/\.conda$/, '.tar.bz2');
  const listed = original === filename ? undefined : subject.recordOf?.(original);
  if (!isJsonObject(listed)) return;
  for (const [key, said, actual] of [
    ['legacy_bz2_md5', md5, listed['md5']],
    ['legacy_bz2_size', size, listed['size']],
  ] as const) {
    if (said === undefined || actual === undefined || actual === null) continue;
    log.expect('cep36/legacy-bz2-agrees', foldCase(said) === foldCase(actual), () => ({
      where: pointTo(where, key),
      found: quote(said),
      expected: `${quote(actual)}, as \`${original}\` has it`,
    }));
  }
}

/** Hex may be of either case. */
function foldCase(value: unknown): unknown {
  return typeof value === 'string' ? value.toLowerCase() : value;
}
