import { FerryError, isFerryError } from '../../errors.js';
import { isKnownSubdir, isPath, isUrl, type ChannelPart } from './channel-part.js';
import type { Condition } from './condition.js';
import { parseMatchSpec, type MatchSpec } from './match-spec.js';

/** Where names of channels are looked up. */
const CHANNEL_ALIAS = 'https://conda.anaconda.org/';

/**
 * Formats a spec in its one canonical form: the name, then everything else in brackets, always in the same order, such as
 * `zlib[version=">=1.2",channel="conda-forge"]`. Credentials in URLs are left out. Parsing the text gives the same spec.
 * @throws FerryError `MATCH_SPEC_INVALID` for the few specs that no text of this form says, such as one with a value that
 * has both kinds of quotes
 * @see rattler's `MatchSpec::to_canonical_string`
 */
export function formatMatchSpec(spec: MatchSpec): string {
  const text = format(spec);
  if (readsAs(text) !== text) {
    throw new FerryError('MATCH_SPEC_INVALID', `\`${text}\` would not be read as it is meant`);
  }
  return text;
}

function readsAs(text: string): string | undefined {
  try {
    return format(parseMatchSpec(text));
  } catch (error) {
    if (isFerryError(error, 'MATCH_SPEC_INVALID')) return undefined;
    throw error;
  }
}

function format(spec: MatchSpec): string {
  const fields = fieldsOf(spec);
  return spec.name.source + (fields.length === 0 ? '' : `[${fields.join(',')}]`);
}

function fieldsOf(spec: MatchSpec): string[] {
  const { buildNumber, channel, when } = spec;
  const fields: readonly (readonly [string, string | undefined])[] = [
    ['version', quotedOrNot(spec.version?.text)],
    ['build', quotedOrNot(spec.build?.source)],
    [
      'build_number',
      quotedOrNot(buildNumber === undefined ? undefined : buildNumber.operator + String(buildNumber.number)),
    ],
    ['fn', quotedOrNot(spec.filename?.source)],
    ['extras', spec.extras === undefined ? undefined : `[${spec.extras.join(',')}]`],
    ['flags', spec.flags === undefined ? undefined : `[${spec.flags.map(({ source }) => source).join(',')}]`],
    ['channel', quotedOrNot(channel === undefined ? undefined : formatChannel(channel))],
    ['subdir', quotedOrNot(spec.subdir?.source)],
    ['namespace', quotedOrNot(spec.namespace)],
    ['md5', quotedOrNot(spec.md5)],
    ['sha256', quotedOrNot(spec.sha256)],
    ['url', quotedOrNot(spec.url === undefined ? undefined : formatUrl(spec.url))],
    ['license', quotedOrNot(spec.license)],
    ['license_family', quotedOrNot(spec.licenseFamily)],
    ['when', when === undefined ? undefined : `"${formatCondition(when, 0).replace(/["\\]/g, '\\$&')}"`],
    ['track_features', quotedOrNot(spec.trackFeatures?.join(' '))],
  ];
  return fields.flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]));
}

function quotedOrNot(value: string | undefined): string | undefined {
  return value === undefined ? undefined : quoted(value);
}

/** Puts a value in quotes that it does not have itself: backslashes stay in the value, so nothing can be escaped. */
function quoted(value: string): string {
  const unescaped = value.replace(/\\./gs, '');
  const endsOpen = unescaped.endsWith('\\');
  const [holdsSingle, holdsDouble] = [!unescaped.includes("'"), !unescaped.includes('"')];
  if (!endsOpen && holdsDouble && value.includes("\\'")) return `"${value}"`;
  if (!endsOpen && holdsSingle && /["\\]/.test(value)) return `'${value}'`;
  if (!endsOpen && holdsDouble) return `"${value}"`;
  if (!endsOpen && holdsSingle) return `'${value}'`;
  throw new FerryError('MATCH_SPEC_INVALID', `\`${value}\` cannot be put in quotes`);
}

function formatChannel({ location, subdirs }: ChannelPart): string {
  const selector = subdirs === undefined ? '' : `[${subdirs.join(',')}]`;
  if (isPath(location)) return location + selector;
  const url = new URL(isUrl(location) ? withoutCredentials(location) : location, CHANNEL_ALIAS).href;
  const base = url.replace(/\/*$/, '/');
  const name = base.startsWith(CHANNEL_ALIAS) ? base.slice(CHANNEL_ALIAS.length, -1) : '';
  // A name that would be read as something else stays a URL.
  const isSafe =
    /^[^\s#;:[\]"'\\()=<>!~,]+$/.test(name) && !isKnownSubdir(name.slice(name.lastIndexOf('/') + 1));
  return (isSafe ? name : base) + selector;
}

function formatUrl(url: string): string {
  if (isUrl(url)) return withoutCredentials(url);
  return url.startsWith('/') ? new URL(`file://${encodeURI(url)}`).href : url;
}

function withoutCredentials(text: string): string {
  const url = new URL(text);
  url.username = '';
  url.password = '';
  url.search = '';
  url.pathname = url.pathname.replace(/\/t\/[^/]+/g, '');
  return url.href;
}

/** @param parent how closely what is around it binds: 0 nothing, 1 `or`, 2 `and`, 3 the right side of an `and` */
function formatCondition(condition: Condition, parent: number): string {
  if (condition.kind === 'spec') return formatLeaf(condition.spec);
  const binding = condition.kind === 'and' ? 2 : 1;
  const left = formatCondition(condition.left, binding);
  const right = formatCondition(condition.right, binding + 0.5);
  const text = `${left} ${condition.kind} ${right}`;
  return binding < parent ? `(${text})` : text;
}

/** `python>=3.12` where that is all, for people write it so. */
function formatLeaf(spec: MatchSpec): string {
  const { name, version, ...others } = spec;
  const isSimple = name.kind === 'exact' && Object.values(others).every((value) => value === undefined);
  if (isSimple && version === undefined) return name.source;
  if (isSimple && version !== undefined && /^[<>=!~][^()]*$/.test(version.text))
    return name.source + version.text;
  return format(spec);
}
