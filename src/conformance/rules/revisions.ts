import type { CheckLog } from '../check-log.js';
import {
  asJsonObject,
  isJsonObject,
  literals,
  pointTo,
  quote,
  stringsIn,
  type JsonObject,
} from './json-value.js';

const REVISION_PATTERN = /^v(?:[3-9]|[1-9]\d+)$/;
/** In bytes of UTF-8. @see CEP 48 */
const MAX_MESSAGE_BYTES = 8192;

const NAME_PATTERN = /^[a-z0-9_][a-z0-9_.-]*$/i;
/** Fields that a match spec in `v3` may set, besides the name. @see CEP 48 */
const SPEC_FIELDS: ReadonlySet<string> = new Set([
  'version',
  'build',
  'build_number',
  'when',
  'extras',
  'flags',
]);

/** What was counted while the records under `v3` went by. */
export interface RevisionCount {
  readonly packages: number;
  /** Greatest `indexed_timestamp`, in milliseconds. */
  readonly newest?: number | undefined;
  readonly oldest?: number | undefined;
}

/** Counts one more record of a revision. */
export function countRevision(count: RevisionCount, record: unknown): RevisionCount {
  const packages = count.packages + 1;
  const time = asJsonObject(record)['indexed_timestamp'];
  if (typeof time !== 'number') return { ...count, packages };
  return {
    packages,
    newest: Math.max(time, count.newest ?? time),
    oldest: Math.min(time, count.oldest ?? time),
  };
}

/** What {@link checkRevisions} looks at. */
export interface RevisionsSubject {
  /** `info` of the repodata. */
  readonly info: unknown;
  /** Top-level keys of the repodata. */
  readonly keys: readonly string[];
  /** What was counted under `v3`. */
  readonly v3: RevisionCount;
  /** The place of `info`, such as `noarch/repodata.json#/info`. */
  readonly where: string;
}

/** Checks what `info.repodata_revisions` says against what is there. */
export function checkRevisions({ info, keys, v3, where }: RevisionsSubject, log: CheckLog): void {
  const revisions = asJsonObject(asJsonObject(info)['repodata_revisions']);
  for (const [key, value] of Object.entries(revisions)) {
    const place = pointTo(where, 'repodata_revisions', key);
    const isNamed = log.expect(
      'cep48/revision-key',
      REVISION_PATTERN.test(key) && keys.includes(key),
      () => ({
        where: place,
        found: `${quote(key)}${keys.includes(key) ? '' : ', which the file does not have'}`,
        expected: 'a top-level key of the file, `v3` or later',
      }),
    );
    if (!isNamed) continue;
    checkMessage(asJsonObject(value)['message'], place, log);
    // How later revisions hold their records is not known.
    if (key === 'v3') checkCounts(asJsonObject(value), v3, place, log);
  }
}

function checkMessage(message: unknown, where: string, log: CheckLog): void {
  if (typeof message !== 'string') return;
  const bytes = Buffer.byteLength(message);
  log.expect('cep48/message-length', bytes <= MAX_MESSAGE_BYTES, () => ({
    where: pointTo(where, 'message'),
    found: `${String(bytes)} bytes`,
    expected: `no more than ${String(MAX_MESSAGE_BYTES)}`,
  }));
}

function checkCounts(revision: JsonObject, count: RevisionCount, where: string, log: CheckLog): void {
  const { n_packages: packages, newest, oldest } = revision;
  if (typeof packages === 'number') {
    log.expect('cep48/n-packages', packages === count.packages, () => ({
      where: pointTo(where, 'n_packages'),
      found: String(packages),
      expected: `${String(count.packages)}, as many as there are under \`v3\``,
    }));
  }
  for (const [key, said, actual] of [
    ['newest', newest, count.newest],
    ['oldest', oldest, count.oldest],
  ] as const) {
    if (typeof said !== 'number') continue;
    log.expect(`cep48/${key}`, said === actual, () => ({
      where: pointTo(where, key),
      found: String(said),
      expected:
        actual === undefined
          ? 'null: no record under `v3` has an `indexed_timestamp`'
          : `${String(actual)}, the \`indexed_timestamp\` of the ${key} record`,
      hint: 'it goes by `indexed_timestamp`; `timestamp` is the time of the build',
    }));
  }
}

/** What {@link checkRevisionRecord} looks at. */
export interface RevisionRecordSubject {
  /** The decoded record, whatever it is. */
  readonly value: unknown;
  /** Its key: a file name without extension. */
  readonly key: string;
  /** Its place, such as `noarch/repodata.json#/v3/conda/zlib-1.2.11-0`. */
  readonly where: string;
}

/**
 * Checks what a record under `v3` must have beyond any other record.
 * @returns whether it is an object with a key, so that its fields can be checked
 */
export function checkRevisionRecord({ value, key, where }: RevisionRecordSubject, log: CheckLog): boolean {
  const isKeyed = log.expect('cep48/v3-filename', key !== '', () => ({
    where,
    found: 'an empty key',
    expected: 'a file name without extension',
  }));
  const isRecord = log.expect('cep48/v3-record', isJsonObject(value), () => ({
    where,
    found: quote(value),
    expected: 'a record',
  }));
  if (!isRecord || !isKeyed) return false;
  const record = asJsonObject(value);
  log.expect('cep48/v3-indexed-timestamp', 'indexed_timestamp' in record, () => ({
    where,
    found: 'no `indexed_timestamp`',
    expected: 'the time of the first indexing',
  }));
  for (const field of ['depends', 'constrains']) {
    for (const spec of stringsIn(record[field])) checkSpec(spec, pointTo(where, field), log);
  }
  for (const [group, specs] of Object.entries(asJsonObject(record['extra_depends']))) {
    for (const spec of stringsIn(specs)) checkSpec(spec, pointTo(where, 'extra_depends', group), log);
  }
  return true;
}

function checkSpec(spec: string, where: string, log: CheckLog): void {
  const found = quote(spec);
  const groups = /^(?<name>[^[\]\s=<>!~,|]*)(?<bracket>\[.*\])?$/su.exec(spec)?.groups;
  const name = groups?.['name'] ?? '';
  const bracket = groups?.['bracket'];
  const fields = bracket === undefined ? [] : fieldsOf(bracket.slice(1, -1));
  const isFormed = log.expect(
    'cep48/spec-form',
    groups !== undefined &&
      (bracket === undefined || (fields.length > 0 && fields.every((field) => field !== ''))),
    () => ({ where, found, expected: 'a bare name, or `name[field=value,…]` with at least one field' }),
  );
  if (!isFormed) return;
  // `channel::name` sets a field outside of the bracket.
  const channel = name.includes('::') ? ['channel'] : [];
  const foreign = [...channel, ...fields].filter((field) => !SPEC_FIELDS.has(field));
  const isAllowed = log.expect('cep48/spec-fields', foreign.length === 0, () => ({
    where,
    found: `${found}, which sets ${literals(foreign)}`,
    expected: `no fields but ${literals([...SPEC_FIELDS])}`,
  }));
  if (!isAllowed) return;
  log.expect('cep48/spec-name', NAME_PATTERN.test(name), () => ({
    where,
    found,
    expected: 'an exact package name, without globs',
  }));
}

/** Keys of `key=value,key="value, too",key=[a,b]`; an empty one stands for what has no such form. */
function fieldsOf(text: string): readonly string[] {
  const fields: string[] = [];
  // A value is quoted, a list, or runs up to the next comma.
  // A plain one does not begin with a blank, so that there is one way only to read a long row of them.
  const pattern = /\s*(?<key>\w+)\s*=\s*(?:"[^"]*"\s*|'[^']*'\s*|\[[^\]]*\]\s*|(?!\s)[^,"'[\]]*)(?:,|$)/suy;
  while (pattern.lastIndex < text.length) {
    const start = pattern.lastIndex;
    const key = pattern.exec(text)?.groups?.['key'];
    if (key === undefined) return [...fields, ''];
    fields.push(key);
    if (pattern.lastIndex === start) break;
  }
  return fields;
}
