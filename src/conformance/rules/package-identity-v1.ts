import {
  BUILD_ANNOTATION,
  hashOf,
  isHashed,
  NAME_ANNOTATION,
  VERSION_ANNOTATION,
} from '../../artifact/schema-v1.js';
import { decodeTagPart, encodeTagPart } from '../../artifact/tag-escapes.js';
import { shorten } from '../../conda/archive/member-path.js';
import { isFerryError } from '../../errors.js';
import type { CheckLog } from '../check-log.js';
import type { ClauseId } from '../clauses.js';
import { indexText, type PackageSubject } from './package-artifact.js';

/** Of what three places say of a package: annotation, `info/index.json`, and repository or tag. */
interface Identity {
  readonly field: 'name' | 'version' | 'build';
  readonly annotation: string;
  /** Clause of the annotation. */
  readonly clause: 'v1/A2' | 'v1/A3' | 'v1/A4';
  /** What the annotation says. */
  readonly said: string | undefined;
  /** What `info/index.json` says. */
  readonly real: string | undefined;
}

/** What a repository or tag says; `undefined` where it cannot be read, or was not asked for. */
type PlaceReading =
  | {
      readonly clause: ClauseId;
      readonly isOf: (value: string) => boolean;
      readonly found: string;
      readonly expected: (value: string) => string;
    }
  | undefined;

/**
 * Judges whether annotations, `info/index.json`, repository and tag say the same. Where two of them agree, the third is
 * told to be wrong, and nothing is said of the others.
 */
export function checkIdentity(subject: PackageSubject, log: CheckLog): void {
  const { where, subdir, index } = subject;
  const indexSubdir = indexText(index, 'subdir');
  if (indexSubdir !== undefined) {
    log.expect('v1/N1', indexSubdir === subdir, () => ({
      where,
      found: `a package of \`${shorten(indexSubdir)}\` below \`${subdir}\``,
      expected: 'the subdir that `info/index.json` names',
    }));
  }
  const name = identityOf(subject, 'name', NAME_ANNOTATION, 'v1/A2');
  const version = identityOf(subject, 'version', VERSION_ANNOTATION, 'v1/A3');
  const build = identityOf(subject, 'build', BUILD_ANNOTATION, 'v1/A4');
  const tags = readTag(subject, version, log);
  checkOne(where, name, repositoryReading(subject.leaf), log);
  checkOne(where, version, tags.version, log);
  checkOne(where, build, tags.build, log);
}

function identityOf(
  { manifest, index }: PackageSubject,
  field: Identity['field'],
  annotation: string,
  clause: Identity['clause'],
): Identity {
  return {
    field,
    annotation,
    clause,
    said: manifest.annotations?.[annotation],
    real: indexText(index, field),
  };
}

function checkOne(where: string, identity: Identity, place: PlaceReading, log: CheckLog): void {
  const { field, annotation, clause, said, real } = identity;
  log.expect(clause, said !== undefined, () => ({
    where,
    found: `no annotation \`${annotation}\``,
    expected: real === undefined ? `the package's ${field}` : `\`${shorten(real)}\``,
  }));
  const isPlaceOf = (value: string | undefined): boolean =>
    value !== undefined && place?.isOf(value) === true;
  if (said !== undefined && real !== undefined) {
    const isIndexOdd = said !== real && isPlaceOf(said);
    log.expect('v1/P7', !isIndexOdd, () => ({
      where,
      found: `the ${field} \`${shorten(real)}\` in \`info/index.json\``,
      expected: `\`${shorten(said)}\`, as annotation and place say`,
    }));
    log.expect(clause, said === real || isIndexOdd, () => ({
      where,
      found: `\`${annotation}\` is \`${shorten(said)}\``,
      expected: `\`${shorten(real)}\`, as \`info/index.json\` says`,
    }));
  }
  const value = real ?? said;
  if (place === undefined || value === undefined) return;
  log.expect(place.clause, isPlaceOf(said) || isPlaceOf(real), () => ({
    where,
    found: place.found,
    expected: `${place.expected(value)}, since the ${field} is \`${shorten(value)}\``,
  }));
}

function repositoryReading(leaf: string): PlaceReading {
  const encode = (name: string): string => (isHashed(leaf) ? hashOf(`c${name}`) : `c${name}`);
  return {
    clause: isHashed(leaf) ? 'v1/S3' : 'v1/S2',
    isOf: (name) => leaf === encode(name),
    found: `the repository \`${leaf}\``,
    expected: (name) => `\`${shorten(encode(name))}\``,
  };
}

/** Reads the tag; what no tag can be is reported. */
function readTag(
  { where, leaf, tag }: PackageSubject,
  version: Identity,
  log: CheckLog,
): { readonly version?: PlaceReading; readonly build?: PlaceReading } {
  if (tag === undefined) return {};
  const isLeafHashed = isHashed(leaf);
  const areAlike = log.expect('v1/T5', isLeafHashed === isHashed(tag), () => ({
    where,
    found: isLeafHashed ? 'a hashed repository with a plain tag' : 'a plain repository with a hashed tag',
    expected: 'both hashed or neither',
  }));
  if (!areAlike) return {};
  if (isLeafHashed) return { build: hashReading(tag, version) };
  log.expect('v1/N3', leaf.length <= 64, () => ({
    where,
    found: `a repository name of ${String(leaf.length)} characters`,
    expected: `\`${hashOf(leaf)}\`: more than 64 are hashed`,
  }));
  const parts = tag.split('-');
  const isPair = log.expect('v1/T3', parts.length === 2, () => ({
    where,
    found: parts.length === 1 ? 'a tag without a dash' : `a tag with ${String(parts.length - 1)} dashes`,
    expected: 'one dash, between version and build string',
  }));
  if (!isPair) return {};
  const decoded = decodeParts(parts, where, log);
  return { version: plainReading('version', decoded[0]), build: plainReading('build string', decoded[1]) };
}

function decodeParts(parts: readonly string[], where: string, log: CheckLog): readonly string[] {
  try {
    const decoded = parts.map(decodeTagPart);
    log.expect('v1/T1', true, () => ({ where, found: '', expected: '' }));
    return decoded;
  } catch (error) {
    if (!isFerryError(error, 'NAME_UNREPRESENTABLE')) throw error;
    const expected = '`__` for `_`, `_P` for `+`, `_N` for `!`, and no other `_`';
    log.report('v1/T1', { where, found: error.message, expected });
    return [];
  }
}

function plainReading(what: string, decoded: string | undefined): PlaceReading {
  if (decoded === undefined) return undefined;
  return {
    clause: 'v1/T6',
    isOf: (value) => value === decoded,
    found: `a tag with the ${what} \`${shorten(decoded)}\``,
    expected: (value) => `\`${shorten(encodeTagPart(value))}\` in the tag`,
  };
}

/** A hash is that of version and build string together: it is held against all that may be meant. */
function hashReading(tag: string, version: Identity): PlaceReading {
  const versions = [version.said, version.real].filter((value) => value !== undefined);
  const tagOf = (value: string, other: string): string =>
    hashOf(`${encodeTagPart(value)}-${encodeTagPart(other)}`);
  if (versions.length === 0) return undefined;
  return {
    clause: 'v1/T4',
    isOf: (value) => versions.some((each) => tag === tagOf(each, value)),
    found: 'the hash of another tag',
    expected: (value) => `\`${tagOf(version.real ?? version.said ?? '', value)}\``,
  };
}
