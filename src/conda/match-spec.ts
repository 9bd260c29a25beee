import { ParseError } from '../errors.js';
import type { PackageRecord } from './package-record.js';

/** The part of CEP 29 that is understood so far: a name, and a version and build string to go with it. */
export interface MatchSpec {
  readonly name: string;
  readonly matchesVersion: (version: string) => boolean;
  readonly matchesBuild: (build: string) => boolean;
}

const SPEC_PATTERN =
  /^(?<name>[a-z0-9_][a-z0-9_.-]*)(?:(?<operator>==?)(?<version>[a-z0-9_.+!*]+)(?:=(?<build>[a-z0-9_.+*]+))?)?$/i;

/**
 * Parses `name`, `name=version`, `name==version` or `name=version=build`, for example `zlib=1.2` and `zlib=1.2.*` (1.2
 * and 1.2.x), `zlib==1.2.11` (that very version), `zlib=1.2.11=h7b6447c_3`; `*` stands for anything.
 * @throws ParseError `MATCH_SPEC_INVALID` for all else that CEP 29 allows too
 * @see CEP 29
 */
export function parseMatchSpec(text: string): MatchSpec {
  const groups = SPEC_PATTERN.exec(text)?.groups;
  if (groups?.['name'] === undefined) {
    throw new ParseError('MATCH_SPEC_INVALID', `\`${text}\` is no match spec that is understood here`, text, {
      hint: 'write NAME, NAME=VERSION, NAME==VERSION or NAME=VERSION=BUILD, or give a file name or digest',
    });
  }
  const { name, operator, version, build } = groups;
  const isFuzzy = operator === '=' && build === undefined;
  return {
    name: name.toLowerCase(),
    matchesVersion: version === undefined ? () => true : versionMatcher(version, isFuzzy),
    matchesBuild: build === undefined ? () => true : globMatcher(build),
  };
}

/** Tells whether a record is what a spec asks for. */
export function matchesRecord(
  spec: MatchSpec,
  record: Pick<PackageRecord, 'name' | 'version' | 'build'>,
): boolean {
  return (
    spec.name === record.name.toLowerCase() &&
    spec.matchesVersion(record.version) &&
    spec.matchesBuild(record.build)
  );
}

function versionMatcher(version: string, isFuzzy: boolean): (version: string) => boolean {
  // `1.2.*` means the same as a fuzzy `1.2`: 1.2 itself is one of them.
  const stem = version.endsWith('.*') ? version.slice(0, -2) : version;
  if (stem.includes('*') || (stem === version && !isFuzzy)) return globMatcher(version);
  return (actual) => actual === stem || actual.startsWith(`${stem}.`);
}

function globMatcher(glob: string): (text: string) => boolean {
  const pattern = glob
    .split('*')
    .map((part) => part.replace(/[.+]/g, '\\$&'))
    .join('.*');
  const expression = new RegExp(`^${pattern}$`);
  return (text) => expression.test(text);
}
