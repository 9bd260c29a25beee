import { FerryError } from '../../errors.js';
import type { CheckLog } from '../check-log.js';
import { checkDocument } from '../documents.js';
import { checkChannelRelations } from './channel-relations.js';
import { isJsonObject, literals, pointTo, quote, stringsIn, type JsonObject } from './json-value.js';
import { checkPackageRecord } from './package-record.js';
import { RepodataText, type ListedRecord } from './repodata-text.js';
import { checkRevisionRecord, checkRevisions, countRevision, type RevisionCount } from './revisions.js';

/** Keys of `info` that some CEP knows. @see CEP 36, 15, 42, 48 */
const INFO_KEYS: ReadonlySet<string> = new Set([
  'arch',
  'base_url',
  'channel_relations',
  'platform',
  'repodata_revisions',
  'repodata_version',
  'subdir',
]);
const DEPRECATED_INFO_KEYS = ['arch', 'platform'] as const;

/** Extensions whose records under `v3` are package records; of others, such as `whl`, no CEP says what they hold. */
const ARCHIVE_EXTENSIONS: ReadonlySet<string> = new Set(['conda', 'tar.bz2']);

/** What {@link checkRepodata} looks at. */
export interface RepodataSubject {
  /** The file, uncompressed; an empty one is legal. */
  readonly bytes: Uint8Array;
  /** The folder it lies in, such as `noarch`. */
  readonly subdir: string;
  /** Its place, such as `noarch/repodata.json`. */
  readonly where: string;
  /** Base URL of the channel, without the subdir, where it has one. */
  readonly channelUrl?: string | undefined;
  /** The time it is, in milliseconds; without it nothing is said of times in the future. */
  readonly nowMs?: number | undefined;
  /** Called with each record, decoded, so that others need not decode it again. */
  readonly onRecord?: ((record: ListedRecord) => void) | undefined;
}

/**
 * Checks repodata or a variant of it, record by record: never more than one record is decoded at a time. It blocks the
 * thread, for seconds where there are hundreds of thousands of records.
 * @returns the repodata, for rules that compare it with other files; `undefined` where it is no JSON object
 */
export function checkRepodata(subject: RepodataSubject, log: CheckLog): RepodataText | undefined {
  const { bytes, where, subdir } = subject;
  const text = parse(bytes, where, log);
  if (text === undefined) return undefined;
  const outline = text.outline();
  checkDocument('repodata', outline, where, log);
  checkDoubles(text, where, log);
  const info = text.info();
  const place = pointTo(where, 'info');
  checkInfo(info, subdir, place, log);
  checkVersion(outline, info, where, log);
  checkBaseUrl(info['base_url'], place, log);
  checkChannelRelations({ info, where: place, channelUrl: subject.channelUrl }, log);
  checkRemoved(text, outline, where, log);
  const v3 = checkRecords(text, subject, log);
  checkRevisions({ info, keys: Object.keys(outline), v3, where: place }, log);
  return text;
}

function parse(bytes: Uint8Array, where: string, log: CheckLog): RepodataText | undefined {
  try {
    return new RepodataText(bytes);
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
    log.report('cep36/repodata-object', { where, found: error.message, expected: 'a JSON object' });
    return undefined;
  }
}

function checkDoubles({ doubles }: RepodataText, where: string, log: CheckLog): void {
  for (const path of doubles) {
    log.report('cep36/unique-keys', {
      where: pointTo(where, ...path),
      found: 'a key that stands twice',
      expected: 'each key once',
    });
  }
  if (doubles.length === 0) log.expect('cep36/unique-keys', true, neverCalled);
}

function checkInfo(info: JsonObject, subdir: string, where: string, log: CheckLog): void {
  const named = info['subdir'];
  if (typeof named === 'string') {
    log.expect('cep36/info-subdir-agrees', named === subdir, () => ({
      where: pointTo(where, 'subdir'),
      found: quote(named),
      expected: `\`${subdir}\`, the folder it lies in`,
    }));
  }
  for (const key of DEPRECATED_INFO_KEYS) {
    log.expect('cep36/info-deprecated', !(key in info), () => ({
      where: pointTo(where, key),
      found: `\`${key}\``,
      expected: 'only `subdir`',
    }));
  }
  const unknown = Object.keys(info).filter((key) => !INFO_KEYS.has(key));
  log.expect('cep36/info-keys', unknown.length === 0, () => ({
    where,
    found: literals(unknown),
    expected: 'only keys that a CEP knows',
  }));
}

function checkVersion(top: JsonObject, info: JsonObject, where: string, log: CheckLog): void {
  const outer = top['repodata_version'];
  const inner = info['repodata_version'];
  log.expect('cep15/version-place', inner === undefined || outer !== undefined, () => ({
    where: pointTo(where, 'info', 'repodata_version'),
    found: '`repodata_version` in `info` alone',
    expected: 'it at the top level, where clients look for it',
  }));
  if (outer !== undefined && inner !== undefined) {
    log.expect('cep15/version-agrees', outer === inner, () => ({
      where: pointTo(where, 'repodata_version'),
      found: `${quote(outer)}, and ${quote(inner)} in \`info\``,
      expected: 'the same in both places',
    }));
  }
  const version = outer ?? inner ?? 1;
  // The schema has something to say of any other.
  if (version !== 1 && version !== 2) return;
  const wanted = hasBaseUrl(info) ? 2 : 1;
  log.expect('cep15/repodata-version', version === wanted, () => ({
    where: pointTo(where, 'repodata_version'),
    found: outer === undefined && inner === undefined ? 'none, which means 1' : String(version),
    expected: `${String(wanted)}, since \`info\` has ${wanted === 2 ? 'a' : 'no'} \`base_url\``,
  }));
}

function hasBaseUrl(info: JsonObject): boolean {
  // An empty one moves nothing.
  return info['base_url'] !== undefined && info['base_url'] !== '';
}

function checkBaseUrl(baseUrl: unknown, where: string, log: CheckLog): void {
  if (typeof baseUrl !== 'string' || baseUrl === '') return;
  const place = pointTo(where, 'base_url');
  const found = quote(baseUrl);
  const isUrl = log.expect('cep15/base-url', URL.canParse(baseUrl, 'https://channel.invalid/'), () => ({
    where: place,
    found,
    expected: 'a URL, absolute or relative',
  }));
  if (!isUrl) return;
  log.expect('cep15/base-url-absolute', URL.canParse(baseUrl), () => ({
    where: place,
    found,
    expected: 'an absolute URL',
  }));
}

function checkRemoved(text: RepodataText, outline: JsonObject, where: string, log: CheckLog): void {
  for (const [position, filename] of stringsIn(outline['removed']).entries()) {
    log.expect('cep36/removed-not-listed', !text.has(filename), () => ({
      where: pointTo(where, 'removed', position),
      found: `${quote(filename)}, which is listed too`,
      expected: 'only what is not listed any more',
    }));
  }
}

function checkRecords(text: RepodataText, subject: RepodataSubject, log: CheckLog): RevisionCount {
  const { subdir, where, nowMs, onRecord } = subject;
  const recordOf = (filename: string): unknown => text.recordOf(filename);
  checkRevisionShape(text, where, log);
  let v3: RevisionCount = { packages: 0 };
  let records = 0;
  let timed = 0;
  for (const listed of text.records()) {
    const { section, key, filename, value } = listed;
    const place = pointTo(where, ...section, key);
    const [name = '', extension] = section;
    if (isJsonObject(value)) {
      records += 1;
      if ('indexed_timestamp' in value) timed += 1;
    }
    onRecord?.(listed);
    if (extension !== undefined) {
      v3 = countRevision(v3, value);
      if (!checkRevisionRecord({ value, key, where: place }, log)) continue;
      if (!ARCHIVE_EXTENSIONS.has(extension)) continue;
    }
    checkPackageRecord({ value, filename, section: name, subdir, where: place, nowMs, recordOf }, log);
  }
  // Told once: most channels have none at all.
  log.expect('cep47/present', timed === records, () => ({
    where,
    found: `${String(records - timed)} of ${String(records)} records have no \`indexed_timestamp\``,
    expected: 'the time of the first indexing in each of them',
  }));
  return v3;
}

function checkRevisionShape(text: RepodataText, where: string, log: CheckLog): void {
  for (const path of text.misshapen) {
    log.report('cep48/v3', {
      where: pointTo(where, ...path),
      found: 'no object',
      expected: 'records by file name without extension',
    });
  }
  for (const extension of text.extensions) {
    const isNamed = log.expect('cep48/v3-extension', extension !== '', () => ({
      where: pointTo(where, 'v3', extension),
      found: 'an empty key',
      expected: 'the extension of archives',
    }));
    if (!isNamed) continue;
    log.expect('cep48/v3-extension-known', /^[a-z0-9](?:\.?[a-z0-9])*$/.test(extension), () => ({
      where: pointTo(where, 'v3', extension),
      found: quote(extension),
      expected: 'an extension without its dot, such as `conda`',
    }));
  }
}

function neverCalled(): never {
  throw new Error('nothing to report');
}
