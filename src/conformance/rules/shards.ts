/** What CEP 16 asks of one shard of sharded repodata, and whether it says what the repodata says. */
import { isDeepStrictEqual } from 'node:util';
import type { CheckLog } from '../check-log.js';
import type { ClauseId } from '../clauses.js';
import { isJsonObject, literals, pointTo, type JsonObject } from './json-value.js';
import { asMap, asText, hasBinary, isMap, quoteValue } from './msgpack-value.js';
import { checkPackageRecord } from './package-record.js';
import type { RepodataText } from './repodata-text.js';

const FLAT_SECTIONS = ['packages', 'packages.conda'] as const;
/** Digests that are bytes in a shard, with their lengths. */
const BINARY_DIGESTS: ReadonlyMap<string, number> = new Map([
  ['sha256', 32],
  ['md5', 16],
]);
/** Digests that stay text, by the clause that says so. */
const TEXT_DIGESTS: ReadonlyMap<string, ClauseId> = new Map([
  ['legacy_bz2_md5', 'cep16/other-hex'],
  ['attestations_sha256', 'cep142/shard-text'],
]);

/** What {@link checkShard} looks at. */
export interface ShardSubject {
  /** The decoded shard; digests are byte arrays. */
  readonly value: unknown;
  /** Whether some key of a map in it is no text. */
  readonly hasOddKeys: boolean;
  /** The package that the index has it for. */
  readonly name: string;
  readonly subdir: string;
  /** Its place, such as `noarch/<sha256>.msgpack.zst`. */
  readonly where: string;
  /** The repodata of the subdir, where it was read. */
  readonly repodata?: RepodataText | undefined;
  /** What the repodata lists of the package. */
  readonly listed: readonly string[];
  readonly nowMs?: number | undefined;
}

interface ShardRecord {
  readonly path: readonly string[];
  readonly key: string;
  readonly value: unknown;
}

/** Checks a shard. */
export function checkShard(subject: ShardSubject, log: CheckLog): void {
  const { value, where, name, repodata } = subject;
  const isShard = log.expect('cep16/shard-format', isMap(value), () => ({
    where,
    found: quoteValue(value),
    expected: 'a msgpack map',
  }));
  if (!isShard || !isMap(value)) return;
  log.expect('cep16/text', !subject.hasOddKeys, () => ({
    where,
    found: 'a key that is no text',
    expected: 'text, as in repodata',
  }));
  for (const section of FLAT_SECTIONS) {
    log.expect('cep16/shard-packages', isMap(value[section]), () => ({
      where: pointTo(where, section),
      found: quoteValue(value[section]),
      expected: 'a map, which may be empty',
    }));
  }
  checkRemoved(value, where, log);
  const records = recordsOf(value);
  for (const record of records) checkRecord(record, subject, log);
  if (repodata === undefined) return;
  const seen = new Set(records.filter(({ path }) => path.length === 1).map(({ key }) => key));
  // Where a whole section is no map, that was said.
  const sections = new Set(FLAT_SECTIONS.filter((section) => isMap(value[section])));
  const missing = subject.listed.filter(
    (filename) =>
      !seen.has(filename) && sections.has(filename.endsWith('.conda') ? 'packages.conda' : 'packages'),
  );
  log.expect('cep16/same-records', missing.length === 0, () => ({
    where,
    found: `nothing of ${literals(missing)}`,
    expected: `every record that the repodata has of \`${name}\``,
  }));
}

function checkRemoved(shard: JsonObject, where: string, log: CheckLog): void {
  const { removed } = shard;
  if (removed === undefined) return;
  const isList = Array.isArray(removed) && removed.every((item) => typeof item === 'string');
  const listed = isList ? removed.filter((item) => isListed(shard, item)) : [];
  log.expect('cep16/shard-removed', isList && listed.length === 0, () => ({
    where: pointTo(where, 'removed'),
    found: isList ? `${literals(listed)}, which the shard lists too` : quoteValue(removed),
    expected: 'a list of file names that are no longer listed',
  }));
}

function isListed(shard: JsonObject, filename: string): boolean {
  return FLAT_SECTIONS.some((section) => Object.hasOwn(asMap(shard[section]), filename));
}

function recordsOf(shard: JsonObject): readonly ShardRecord[] {
  const inMap = (path: readonly string[], map: unknown): ShardRecord[] =>
    Object.entries(asMap(map)).map(([key, value]) => ({ path, key, value }));
  return [
    ...FLAT_SECTIONS.flatMap((section) => inMap([section], shard[section])),
    ...Object.entries(asMap(shard['v3'])).flatMap(([extension, map]) => inMap(['v3', extension], map)),
  ];
}

function checkRecord({ path, key, value }: ShardRecord, subject: ShardSubject, log: CheckLog): void {
  const { name, subdir, repodata, nowMs } = subject;
  const where = pointTo(subject.where, ...path, key);
  const isRecord = log.expect('cep36/record', isMap(value), () => ({
    where,
    found: quoteValue(value),
    expected: 'a record',
  }));
  if (!isRecord || !isMap(value)) return;
  const isNamed = log.expect('cep16/one-name', value['name'] === name, () => ({
    where: pointTo(where, 'name'),
    found: quoteValue(value['name']),
    expected: `\`${name}\`, as the index has the shard`,
  }));
  checkDigests(value, where, log);
  const record = textual(value);
  if (repodata === undefined) {
    // What the repodata says, its own rules have judged.
    const [section = ''] = path;
    if (section !== 'v3')
      checkPackageRecord({ value: record, filename: key, section, subdir, where, nowMs }, log);
    return;
  }
  if (isNamed) checkAgreement(record, repodata.recordAt(path, key), where, log);
}

/** Which fields are bytes, and which are text. */
function checkDigests(record: JsonObject, where: string, log: CheckLog): void {
  for (const [key, value] of Object.entries(record)) {
    const length = BINARY_DIGESTS.get(key);
    if (length !== undefined) {
      const isBytes = value === null || (value instanceof Uint8Array && value.byteLength === length);
      log.expect('cep16/record-digests', isBytes, () => ({
        where: pointTo(where, key),
        found: quoteValue(value),
        expected: `a binary of ${String(length)} bytes`,
      }));
      continue;
    }
    log.expect(TEXT_DIGESTS.get(key) ?? 'cep16/text', !hasBinary(value), () => ({
      where: pointTo(where, key),
      found: 'a binary',
      expected: 'text, as in repodata',
    }));
  }
}

/** The record as repodata would have it. */
function textual(record: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => {
      const isDigest = BINARY_DIGESTS.has(key) || TEXT_DIGESTS.has(key);
      return [
        key,
        value instanceof Uint8Array && isDigest ? Buffer.from(value).toString('hex') : asText(value),
      ];
    }),
  );
}

function checkAgreement(record: JsonObject, listed: unknown, where: string, log: CheckLog): void {
  const other = isJsonObject(listed) ? listed : {};
  const differing = isJsonObject(listed)
    ? [...new Set([...Object.keys(record), ...Object.keys(other)])].filter(
        (key) => !isSame(key, record[key], other[key]),
      )
    : [];
  log.expect('cep16/same-records', isJsonObject(listed) && differing.length === 0, () => ({
    where,
    found: isJsonObject(listed)
      ? `another ${literals(differing)}`
      : 'a record that the repodata does not have',
    expected: 'what the repodata says',
  }));
}

function isSame(key: string, ours: unknown, theirs: unknown): boolean {
  // Shards may say more of run exports than repodata does (CEP 21).
  if (key === 'run_exports' && theirs === undefined) return true;
  if (BINARY_DIGESTS.has(key) && typeof ours === 'string' && typeof theirs === 'string')
    return ours.toLowerCase() === theirs.toLowerCase();
  return isDeepStrictEqual(ours, theirs);
}
