import { parseMatchSpec, type MatchSpec } from '../conda/match-spec/match-spec.js';
import { matchesRecord } from '../conda/match-spec/matches-record.js';
import { isArchiveFilename } from '../conda/names.js';
import { parseRepodataRecord } from '../conda/package-record.js';
import { withDetails, type RecordDetails } from '../conda/record-details.js';
import { isFerryError } from '../errors.js';
import { isDigest, sha256Digest } from '../io/digest.js';
import type { Listing } from './listing.js';

/**
 * Finds the records of a listing that file names, digests or match specs name; records that cannot be read match nothing but
 * their file names.
 * @throws FerryError `MATCH_SPEC_INVALID`
 */
export function selectRecords(
  listing: Listing,
  subdir: string,
  specs: readonly string[],
): { readonly filenames: ReadonlySet<string>; readonly met: ReadonlySet<string> } {
  const filenames = new Set<string>();
  const met = new Set<string>();
  const tests: { readonly text: string; readonly matches: (record: RecordDetails) => boolean }[] = [];
  for (const text of specs) {
    if (isArchiveFilename(text)) {
      if (!listing.has(text)) continue;
      filenames.add(text);
      met.add(text);
    } else if (isDigest(text)) {
      tests.push({ text, matches: ({ sha256 }) => sha256 !== undefined && sha256Digest(sha256) === text });
    } else {
      const spec: MatchSpec = parseMatchSpec(text);
      tests.push({ text, matches: (record) => matchesRecord(spec, record) });
    }
  }
  if (tests.length === 0) return { filenames, met };
  for (const filename of listing.filenames()) {
    const record = detailsOf(listing, filename, subdir);
    if (record === undefined) continue;
    for (const { text, matches } of tests) {
      if (!matches(record)) continue;
      filenames.add(filename);
      met.add(text);
    }
  }
  return { filenames, met };
}

function detailsOf(listing: Listing, filename: string, subdir: string): RecordDetails | undefined {
  try {
    const value = listing.get(filename);
    return value && withDetails(parseRepodataRecord(filename, value, subdir), value);
  } catch (error) {
    if (isFerryError(error, 'RECORD_INVALID') || isFerryError(error, 'REPODATA_INVALID')) return undefined;
    throw error;
  }
}
