import type { RecordDetails } from '../record-details.js';
import { matchesBuildNumber } from './build-number.js';
import { isKnownSubdir } from './channel-part.js';
import { archiveInUrl, type MatchSpec } from './match-spec.js';

/** What a match spec can ask of a record; what is not known does not match what asks for it. */
export type MatchableRecord = Pick<RecordDetails, 'name' | 'version' | 'build'> &
  Partial<
    Pick<
      RecordDetails,
      | 'buildNumber'
      | 'filename'
      | 'flags'
      | 'license'
      | 'licenseFamily'
      | 'listedIn'
      | 'md5'
      | 'sha256'
      | 'subdir'
      | 'trackFeatures'
    >
  >;

/**
 * Tells whether a record is what a spec asks for. A record's subdir is the folder that lists it. Conditions, extras,
 * namespace and channel are not asked for; docs/match-specs.md says why.
 */
export function matchesRecord(spec: MatchSpec, record: MatchableRecord): boolean {
  // The name first: in a mirror it settles nearly all of it.
  return (
    spec.name.matches(record.name) &&
    matchesPlace(spec, record) &&
    isIn(record.build, spec.build) &&
    isSame(record.md5, spec.md5) &&
    isSame(record.sha256, spec.sha256) &&
    isSame(record.license, spec.license) &&
    isSame(record.licenseFamily, spec.licenseFamily) &&
    (spec.buildNumber === undefined ||
      (record.buildNumber !== undefined && matchesBuildNumber(spec.buildNumber, record.buildNumber))) &&
    (spec.trackFeatures ?? []).every((feature) => record.trackFeatures?.includes(feature) === true) &&
    (spec.flags ?? []).every((flag) => record.flags?.some(flag.matches) === true) &&
    (spec.version === undefined || spec.version.matches(record.version))
  );
}

/**
 * Tells whether a spec asks for more than the name, version, build, place and digests of a record: such as a licence. By
 * those alone it matches nothing.
 */
export function needsDetails(spec: MatchSpec): boolean {
  const { buildNumber, license, licenseFamily, trackFeatures = [], flags = [] } = spec;
  const isAsked = [buildNumber, license, licenseFamily].some((field) => field !== undefined);
  return isAsked || trackFeatures.length > 0 || flags.length > 0;
}

function matchesPlace(spec: MatchSpec, record: MatchableRecord): boolean {
  const subdir = record.listedIn ?? record.subdir;
  if (!isIn(subdir, spec.subdir) || !isIn(record.filename, spec.filename)) return false;
  const subdirs = spec.channel?.subdirs;
  if (subdirs !== undefined && (subdir === undefined || !subdirs.includes(subdir))) return false;
  if (spec.url === undefined) return true;
  const { filename, folder } = archiveInUrl(spec.url);
  return (
    filename === record.filename && (folder === undefined || !isKnownSubdir(folder) || folder === subdir)
  );
}

function isSame(actual: string | undefined, wanted: string | undefined): boolean {
  return wanted === undefined || actual === wanted;
}

function isIn(actual: string | undefined, wanted: MatchSpec['build']): boolean {
  return wanted === undefined || (actual !== undefined && wanted.matches(actual));
}
