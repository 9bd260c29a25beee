import type { RepodataRecord } from './package-record.js';

/** A repodata record with what filters ask about; fields of a wrong type count as absent. */
export interface RecordDetails extends RepodataRecord {
  /** @defaultValue 0, as CEP 29 has it for records without one */
  readonly buildNumber: number;
  /** Match specs, such as `python >=3.11,<3.12.0a0`. */
  readonly depends: readonly string[];
  readonly license?: string | undefined;
  readonly licenseFamily?: string | undefined;
  /** Features to track, each by itself, whether the record has a list or a text. */
  readonly trackFeatures: readonly string[];
  readonly features?: string | undefined;
  readonly noarch?: string | undefined;
  /** When it was built, in milliseconds since 1970. */
  readonly timestampMs?: number | undefined;
  /** When the source's server first saw it, in milliseconds since 1970. @see CEP 47 */
  readonly indexedTimestampMs?: number | undefined;
  /** Digest of its attestation sidecar, as it stands. @see CEP draft, conda/ceps pull 142 */
  readonly attestationsSha256?: string | undefined;
  /** @see CEP 45 */
  readonly flags: readonly string[];
  /** Groups of optional dependencies. @see CEP 44 */
  readonly extraDepends: Readonly<Record<string, readonly string[]>>;
}

/** Old records tell seconds: what is below the year 9999 in them cannot be meant in milliseconds but for the 1970s. */
const MAX_SECONDS = 253_402_300_799;

/** As `T`, but with all of its fields, be it as `undefined`. */
type EveryField<T> = { readonly [Key in keyof Required<T>]: T[Key] };

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Adds to a record what its JSON tells besides. By hand, not by a schema: nothing can be refused here, and a channel has a
 * million records. For their sake each field is named, too: where V8 finds a spread, it makes the object step by step, which
 * takes ten times as long.
 * @see CEP 34, CEP 36
 */
export function withDetails(record: RepodataRecord, value: JsonObject): EveryField<RecordDetails> {
  return {
    filename: record.filename,
    extension: record.extension,
    listedIn: record.listedIn,
    name: record.name,
    version: record.version,
    build: record.build,
    sha256: record.sha256,
    md5: record.md5,
    size: record.size,
    subdir: record.subdir,
    url: record.url,
    buildNumber: count(value['build_number']) ?? 0,
    depends: texts(value['depends']) ?? [],
    license: text(value['license']),
    licenseFamily: text(value['license_family']),
    trackFeatures: features(value['track_features']),
    features: text(value['features']),
    noarch: text(value['noarch']),
    timestampMs: milliseconds(value['timestamp']),
    indexedTimestampMs: milliseconds(value['indexed_timestamp']),
    attestationsSha256: text(value['attestations_sha256']),
    flags: texts(value['flags']) ?? [],
    extraDepends: groups(value['extra_depends']),
  };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function texts(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const isText = (item: unknown): item is string => typeof item === 'string';
  return value.every(isText) ? value : value.filter(isText);
}

function features(value: unknown): readonly string[] {
  if (typeof value !== 'string') return texts(value) ?? [];
  return value.split(/[\s,]+/).filter((part) => part !== '');
}

function count(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

function milliseconds(value: unknown): number | undefined {
  if (typeof value !== 'number' || !Number.isFinite(value)) return undefined;
  return value <= MAX_SECONDS ? value * 1000 : value;
}

/** All of it or nothing: half a table of groups would say that a group needs less than it does. */
function groups(value: unknown): Readonly<Record<string, readonly string[]>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  const entries = Object.entries(value).map(([name, list]) => [name, texts(list)] as const);
  const isList = (entry: (typeof entries)[number]): entry is readonly [string, readonly string[]] =>
    entry[1] !== undefined;
  return entries.every(isList) ? Object.fromEntries(entries) : {};
}
