import { z } from 'zod';
import { parseRepodataRecord, type RepodataRecord } from './package-record.js';

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

const texts = z
  .array(z.unknown())
  .transform((list) => list.filter((item): item is string => typeof item === 'string'));
const features = z.union([
  texts,
  z.string().transform((text) => text.split(/[\s,]+/).filter((part) => part !== '')),
]);
const milliseconds = z.number().transform((value) => (value <= MAX_SECONDS ? value * 1000 : value));

const detailsSchema = z.object({
  build_number: z.int().nonnegative().catch(0),
  depends: texts.catch([]),
  license: z.string().optional().catch(undefined),
  license_family: z.string().optional().catch(undefined),
  track_features: features.catch([]),
  features: z.string().optional().catch(undefined),
  noarch: z.string().optional().catch(undefined),
  timestamp: milliseconds.optional().catch(undefined),
  indexed_timestamp: milliseconds.optional().catch(undefined),
  attestations_sha256: z.string().optional().catch(undefined),
  flags: texts.catch([]),
  extra_depends: z.record(z.string(), texts).catch({}),
});

/**
 * Reads one record of repodata with what filters ask about.
 * @throws FerryError `RECORD_INVALID` as {@link parseRepodataRecord}; of other fields nothing is refused
 * @see CEP 34, CEP 36
 */
export function parseRecordDetails(filename: string, value: unknown, listedIn: string): RecordDetails {
  const record = parseRepodataRecord(filename, value, listedIn);
  const details = detailsSchema.parse(value);
  return {
    ...record,
    buildNumber: details.build_number,
    depends: details.depends,
    license: details.license,
    licenseFamily: details.license_family,
    trackFeatures: details.track_features,
    features: details.features,
    noarch: details.noarch,
    timestampMs: details.timestamp,
    indexedTimestampMs: details.indexed_timestamp,
    attestationsSha256: details.attestations_sha256,
    flags: details.flags,
    extraDepends: details.extra_depends,
  };
}
