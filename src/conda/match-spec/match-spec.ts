/**
 * Match specs, the query language of conda (CEP 29): which packages are asked for. What rattler takes is taken, and means
 * the same; docs/match-specs.md has the few differences.
 */
import { splitBrackets, stripComment, unescape, type BracketField } from './brackets.js';
import { parseBuildNumber, type BuildNumberSpec } from './build-number.js';
import { isAbsolutePath, isUrl, parseChannel, type ChannelPart } from './channel-part.js';
import { parseCondition, type Condition } from './condition.js';
import { splitChannel, splitVersionAndBuild, takeName } from './positional.js';
import { cut, invalid, type Slice } from './slice.js';
import { parseStringMatcher, type StringMatcher } from './string-matcher.js';
import { parseVersionSpec, type VersionSpec } from './version-spec.js';

/** What is asked for; what is absent may be anything. */
export interface MatchSpec {
  readonly name: StringMatcher;
  readonly version?: VersionSpec | undefined;
  readonly build?: StringMatcher | undefined;
  readonly buildNumber?: BuildNumberSpec | undefined;
  readonly subdir?: StringMatcher | undefined;
  readonly filename?: StringMatcher | undefined;
  /** Of an archive; the subdir and file name at its end are compared. */
  readonly url?: string | undefined;
  /** Lower-case hex. */
  readonly md5?: string | undefined;
  /** Lower-case hex. */
  readonly sha256?: string | undefined;
  /** Compared as a whole, capitals too. */
  readonly license?: string | undefined;
  /** Compared as a whole, capitals too. */
  readonly licenseFamily?: string | undefined;
  /** All of them are asked for. */
  readonly trackFeatures?: readonly string[] | undefined;
  /** All of them are asked for. @see CEP 45 */
  readonly flags?: readonly StringMatcher[] | undefined;
  /** Not matched: records do not say what channel they are of. Its `subdirs` are. */
  readonly channel?: ChannelPart | undefined;
  /** Not matched, as CEP 29 has it. */
  readonly namespace?: string | undefined;
  /** Not matched: what else is wanted once the package is. @see CEP 44 */
  readonly extras?: readonly string[] | undefined;
  /** Not matched: when the spec counts at all. @see CEP 44 */
  readonly when?: Condition | undefined;
}

type Fields = { -readonly [Key in keyof MatchSpec]?: MatchSpec[Key] };

/** Longest spec, in characters; real ones stay below 200. What is read in quadratic time or by recursion hangs on it. */
const MAX_LENGTH = 2048;

const KEYS =
  'keys are version, build, build_number, subdir, channel, fn, url, md5, sha256, license, license_family, track_features, flags, extras, when, namespace';

/**
 * Parses a match spec: `zlib`, `zlib 1.2.*`, `zlib=1.2` (the same), `zlib==1.2.11=h7b6447c_3`, `python >=3.9,<3.13 *_cpython`,
 * `conda-forge/linux-64::zlib`, `*[license="GPL (>= 2)",build_number=">=1"]`, `py*`, `^r-.*$`.
 * @throws ParseError `MATCH_SPEC_INVALID`, position = where what cannot be read begins
 * @see CEP 29
 */
export function parseMatchSpec(text: string): MatchSpec {
  const spec = { text, at: 0 };
  if (text.length > MAX_LENGTH)
    throw invalid(spec, `a match spec has more than ${String(MAX_LENGTH)} characters`);
  return parseSlice(spec, true);
}

function parseSlice(slice: Slice, hasConditions: boolean): MatchSpec {
  const { rest, fields: bracketFields } = splitBrackets(stripComment(slice));
  const fields: Fields = {};
  for (const field of bracketFields) readField(fields, field, hasConditions);

  const url = fields.url === undefined && !rest.text.includes('::') ? urlOf(rest) : undefined;
  // The brackets beside a URL are read, and then count for nothing, as in rattler.
  if (url !== undefined) return { name: nameInUrl(url, rest), url };

  const parts = splitChannel(rest);
  if (parts.namespace !== undefined) fields.namespace = parts.namespace.text;
  if (parts.channel !== undefined && parts.channel.text !== '') readChannel(fields, parts.channel);
  const { name, rest: positional } = takeName(parts.rest);
  if (positional.text !== '') {
    const { version, build } = splitVersionAndBuild(positional);
    const parsed = parseVersionSpec(version);
    fields.version ??= parsed;
    if (build !== undefined) {
      const matcher = parseStringMatcher(build, { ignoreCase: true });
      fields.build ??= matcher;
    }
  }
  return { name, ...fields };
}

function readField(fields: Fields, { key, value }: BracketField, hasConditions: boolean): void {
  switch (key.text) {
    case 'version':
      fields.version = parseVersionSpec(value);
      return;
    case 'build':
      fields.build = parseStringMatcher(value, { ignoreCase: true });
      return;
    case 'build_number':
      fields.buildNumber = parseBuildNumber(value);
      return;
    case 'subdir':
      fields.subdir = parseStringMatcher(value, { ignoreCase: true, hasClasses: false });
      return;
    case 'fn':
      fields.filename = parseStringMatcher(value, { ignoreCase: true, hasClasses: false });
      return;
    case 'url':
      fields.url = urlOf(value);
      if (fields.url === undefined)
        throw invalid(value, `\`${value.text}\` is neither a URL nor an absolute path`);
      return;
    case 'channel':
      readChannel(fields, value);
      return;
    case 'sha256':
      fields.sha256 = hex(value, 64);
      return;
    case 'md5':
      fields.md5 = hex(value, 32);
      return;
    case 'license':
      fields.license = value.text;
      return;
    case 'license_family':
      fields.licenseFamily = value.text;
      return;
    case 'namespace':
      fields.namespace = value.text;
      return;
    case 'track_features':
      fields.trackFeatures = value.text.split(/[, ]/).flatMap((part) => part.trim() || []);
      return;
    case 'flags':
      fields.flags = parseFlags(value);
      return;
    case 'extras':
      fields.extras = parseExtras(value);
      return;
    case 'when':
      if (!hasConditions) break;
      fields.when = parseCondition({ text: unescape(value.text), at: value.at }, (leaf) =>
        parseSlice(leaf, false),
      );
      return;
  }
  throw invalid(key, `a match spec has no key \`${key.text}\` here`, KEYS);
}

/** What is said first counts; what is said in brackets is read first. */
function readChannel(fields: Fields, slice: Slice): void {
  const { channel, subdir } = parseChannel(slice);
  fields.channel ??= channel;
  if (subdir !== undefined) fields.subdir ??= parseStringMatcher(subdir, { ignoreCase: true });
}

function urlOf(slice: Slice): string | undefined {
  if (isUrl(slice.text)) {
    if (!URL.canParse(slice.text)) throw invalid(slice, 'the URL is not valid');
    return slice.text;
  }
  return isAbsolutePath(slice.text) ? slice.text : undefined;
}

function nameInUrl(url: string, slice: Slice): StringMatcher {
  const filename = archiveInUrl(url).filename;
  const [, name] = /^(.+)-[^-]+-[^-]+\.(?:conda|tar\.bz2)$/.exec(filename) ?? [];
  if (name === undefined) throw invalid(slice, 'a URL has to end in the file name of a package');
  return takeName({ text: name, at: slice.at + Math.max(0, slice.text.lastIndexOf('/') + 1) }).name;
}

/** The file name at the end of a URL or path, and the subdir before it if it is one. */
export function archiveInUrl(url: string): {
  readonly filename: string;
  readonly folder: string | undefined;
} {
  const path = isUrl(url) ? new URL(url).pathname : url;
  const segments = path.split(/[/\\]/);
  let filename = segments.at(-1) ?? '';
  try {
    filename = decodeURIComponent(filename);
  } catch {
    // A stray percent sign stands for itself.
  }
  return { filename, folder: segments.at(-2) };
}

function hex(slice: Slice, length: number): string {
  if (slice.text.length === length && /^[0-9a-f]+$/i.test(slice.text)) return slice.text.toLowerCase();
  throw invalid(slice, `\`${slice.text}\` is no digest of ${String(length)} hex digits`);
}

function parseFlags(slice: Slice): StringMatcher[] {
  return splitList(slice).map((part) => {
    const [, , quoted] = /^(["'])(.*)\1$/s.exec(part.text) ?? [];
    const flag = { text: quoted === undefined ? part.text : unescape(quoted), at: part.at };
    if (!/^[a-z0-9_*]+(?::[a-z0-9_*]+)?$/.test(flag.text)) {
      throw invalid(part, `\`${part.text}\` is no flag`, 'write flags=[cuda,blas:*]');
    }
    return parseStringMatcher(flag, { ignoreCase: true });
  });
}

function parseExtras(slice: Slice): string[] {
  return splitList(slice).map((part) => {
    const [, , quoted] = /^(["'])(.*)\1$/s.exec(part.text) ?? [];
    const extra = quoted ?? part.text;
    if (/^[a-z0-9_.+-]{1,64}$/.test(extra)) return extra;
    throw invalid(part, `\`${part.text}\` is no group of extras`, 'write extras=[test,docs]');
  });
}

function splitList(slice: Slice): Slice[] {
  let at = 0;
  return slice.text.split(',').map((text) => {
    const part = cut(slice, at, at + text.length);
    at += text.length + 1;
    const start = part.text.length - part.text.trimStart().length;
    return { text: part.text.trim(), at: part.at + start };
  });
}
