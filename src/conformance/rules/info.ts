/** What CEP 34 asks of the documents in `info/`, `paths.json` aside. */
import { shorten } from '../../conda/archive/member-path.js';
import { isVirtualPackageName } from '../../conda/grammar.js';
import type { CheckLog } from '../check-log.js';
import type { ClauseId } from '../clauses.js';
import { checkDocument } from '../documents.js';
import { parseBoundedJson } from '../parse-json.js';
import { isJsonObject } from './json-value.js';
import { checkSubdir } from './names.js';

/** A parsed JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** What a document of `info/` may hold; meta packages with a thousand dependencies exist. */
const MAX_INFO_VALUES = 100_000;

/** Milliseconds below this would be in 1973. */
const MIN_TIMESTAMP_MS = 1e11;

const FEATURE_PATTERN = /^[A-Za-z0-9\-_.+]+$/;

/** The name of a virtual package at the beginning of a match spec; a name with `*` is a pattern. */
const VIRTUAL_SPEC_PATTERN = /^__[^\s<>=!~,[\]*]*(?![^\s<>=!~,[\]])/;

const RUN_EXPORT_KEYS = ['weak', 'strong', 'weak_constrains', 'strong_constrains', 'noarch'];

/**
 * Judges `info/index.json` by itself and against the subdir that it lies in, where that is known.
 * @returns what it says, where it is a JSON object
 */
export function checkIndex(
  bytes: Uint8Array,
  subdir: string | undefined,
  where: string,
  log: CheckLog,
): JsonObject | undefined {
  const place = `${where}/info/index.json`;
  const value = parseInfo('cep34/index-json', bytes, place, log)?.value;
  if (value === undefined) return undefined;
  checkDocument('index-json', value, place, log);
  if (!isJsonObject(value)) return undefined;
  log.expect('cep151/not-in-index', !('url' in value), () => ({
    where: `${place}#/url`,
    found: '`url`',
    expected: 'none: the indexer says where the archive lies',
  }));
  checkIndexSubdir(value, subdir, place, log);
  checkBuildNumber(value, place, log);
  for (const key of ['depends', 'constrains']) checkVirtualNames(value[key], `${place}#/${key}`, log);
  const { timestamp, track_features: features } = value;
  if (typeof timestamp === 'number' && timestamp >= 0) {
    log.expect('cep34/index-timestamp-unit', timestamp >= MIN_TIMESTAMP_MS, () => ({
      where: `${place}#/timestamp`,
      found: String(timestamp),
      expected: 'milliseconds',
    }));
  }
  if (typeof features === 'string') {
    const odd = features.split(/[\s,]+/).filter((name) => name !== '' && !FEATURE_PATTERN.test(name));
    log.expect('cep34/index-track-feature-names', odd.length === 0, () => ({
      where: `${place}#/track_features`,
      found: `\`${shorten(odd.join(' '))}\``,
      expected: 'letters, digits and `-`, `_`, `.`, `+`',
    }));
  }
  return value;
}

function checkIndexSubdir(
  { subdir, noarch }: JsonObject,
  expected: string | undefined,
  place: string,
  log: CheckLog,
): void {
  if (typeof subdir !== 'string') return;
  const where = `${place}#/subdir`;
  if (subdir !== expected) checkSubdir(subdir, where, log);
  if (expected !== undefined) {
    log.expect('cep34/index-subdir-place', subdir === expected, () => ({
      where,
      found: `\`${shorten(subdir)}\``,
      expected: `\`${shorten(expected)}\`, where the archive lies`,
    }));
  }
  if (noarch === 'generic' || noarch === 'python' || noarch === true) {
    log.expect('cep34/noarch-subdir', subdir === 'noarch', () => ({
      where: `${place}#/noarch`,
      found: `${JSON.stringify(noarch)} in subdir \`${shorten(subdir)}\``,
      expected: 'no `noarch` there',
    }));
  }
}

function checkBuildNumber({ build, build_number: number }: JsonObject, place: string, log: CheckLog): void {
  if (typeof build !== 'string' || !Number.isSafeInteger(number)) return;
  log.expect('cep34/index-build-has-number', build.includes(String(number)), () => ({
    where: `${place}#/build`,
    found: `\`${shorten(build)}\``,
    expected: `a build string with ${String(number)}`,
  }));
}

function checkVirtualNames(specs: unknown, where: string, log: CheckLog): void {
  for (const spec of Array.isArray(specs) ? (specs as readonly unknown[]) : []) {
    const [name] = (typeof spec === 'string' ? VIRTUAL_SPEC_PATTERN.exec(spec) : undefined) ?? [];
    if (name === undefined) continue;
    log.expect('cep26/virtual-name', isVirtualPackageName(name), () => ({
      where,
      found: `\`${shorten(name)}\``,
      expected: 'lowercase letters, digits and single `.`, `_`, `-` behind two underscores',
    }));
  }
}

/** Judges `info/run_exports.json`. */
export function checkRunExports(bytes: Uint8Array, where: string, log: CheckLog): void {
  const place = `${where}/info/run_exports.json`;
  const parsed = parseInfo('cep34/run-exports-json', bytes, place, log);
  if (parsed === undefined) return;
  const fault = runExportsFault(parsed.value);
  log.expect('cep34/run-exports-json', fault === undefined, () => ({
    where: place,
    found: fault ?? '',
    expected: 'a list of match specs, or such lists by kind',
  }));
}

function runExportsFault(value: unknown): string | undefined {
  if (Array.isArray(value)) return isTextList(value) ? undefined : 'a list with something other than text';
  if (!isJsonObject(value)) return `\`${shorten(JSON.stringify(value))}\``;
  const bad = RUN_EXPORT_KEYS.find((key) => Object.hasOwn(value, key) && !isTextList(value[key]));
  if (bad !== undefined) return `\`${bad}\` is no list of text`;
  const { schema_version: version = 1 } = value;
  if (Number.isInteger(version) && Number(version) > 0) return undefined;
  return `\`schema_version\` is \`${shorten(JSON.stringify(version))}\``;
}

/** Judges `info/link.json`. */
export function checkLink(bytes: Uint8Array, where: string, log: CheckLog): void {
  const place = `${where}/info/link.json`;
  const parsed = parseInfo('cep34/link-json', bytes, place, log);
  if (parsed === undefined) return;
  const fault = linkFault(parsed.value);
  log.expect('cep34/link-json', fault === undefined, () => ({
    where: place,
    found: fault ?? '',
    expected: 'an object, whose `noarch` has a type, and entry points where that is `python`',
  }));
}

function linkFault(value: unknown): string | undefined {
  if (!isJsonObject(value)) return `\`${shorten(JSON.stringify(value))}\``;
  const { noarch } = value;
  if (noarch === undefined) return undefined;
  if (!isJsonObject(noarch)) return `\`noarch\` is \`${shorten(JSON.stringify(noarch))}\``;
  const { type, entry_points: points } = noarch;
  if (type !== 'generic' && type !== 'python')
    return `\`noarch.type\` is \`${shorten(JSON.stringify(type ?? null))}\``;
  return points === undefined || isTextList(points) ? undefined : '`noarch.entry_points` is no list of text';
}

/** Judges a document of `info/` that is an object of whatever keys. */
export function checkObject(
  clause: 'cep34/about-json' | 'cep34/hash-input-json',
  bytes: Uint8Array,
  place: string,
  log: CheckLog,
): void {
  const parsed = parseInfo(clause, bytes, place, log);
  if (parsed === undefined) return;
  log.expect(clause, isJsonObject(parsed.value), () => ({
    where: place,
    found: `\`${shorten(JSON.stringify(parsed.value))}\``,
    expected: 'a JSON object',
  }));
}

function parseInfo(
  clause: ClauseId,
  bytes: Uint8Array,
  where: string,
  log: CheckLog,
): { readonly value: unknown } | undefined {
  const parsed = parseBoundedJson(bytes, MAX_INFO_VALUES);
  if ('value' in parsed) return parsed;
  const broken = parsed.fault === 'limit' ? 'cep35/limits' : clause;
  log.report(broken, { where, found: parsed.message, expected: 'JSON in UTF-8 of a usual size' });
  return undefined;
}

function isTextList(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
