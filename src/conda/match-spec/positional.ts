/**
 * The part of a match spec before its brackets: `channel/subdir:namespace:name version build`. What belongs to the version
 * and what to the build string is decided as rattler decides it when it is lenient.
 */
import { parseStringMatcher, lowerAscii, type StringMatcher } from './string-matcher.js';
import { cut, invalid, trim, type Slice } from './slice.js';

/** The parts, as they are written. */
export interface PositionalParts {
  readonly channel: Slice | undefined;
  readonly namespace: Slice | undefined;
  readonly rest: Slice;
}

const VERSION_HINT = 'write NAME, NAME=VERSION, NAME==VERSION, NAME>=VERSION,<VERSION or NAME=VERSION=BUILD';

/** Splits at the last two colons; a channel may be a URL, with colons of its own. */
export function splitChannel(spec: Slice): PositionalParts {
  const last = spec.text.lastIndexOf(':');
  if (last === -1) return { channel: undefined, namespace: undefined, rest: spec };
  const before = spec.text.lastIndexOf(':', last - 1);
  const hasChannel = before !== -1 && last > 0;
  const namespace = trim(cut(spec, hasChannel ? before + 1 : 0, last));
  return {
    channel: hasChannel ? cut(spec, 0, before) : undefined,
    namespace: namespace.text === '' ? undefined : namespace,
    rest: cut(spec, last + 1),
  };
}

/**
 * Takes the name off the front: a name, a glob or a regular expression of names.
 * @throws ParseError `MATCH_SPEC_INVALID`
 */
export function takeName(spec: Slice): { readonly name: StringMatcher; readonly rest: Slice } {
  const trimmed = trim(spec);
  // An expression may have spaces and operators in it, so it ends at the first `$` that something else can follow.
  const expression = trimmed.text.startsWith('^') ? /\$(?=$|[\s<>=!~])/.exec(trimmed.text) : null;
  const end = expression === null ? trimmed.text.search(/[\s<>=!~]|$/) : expression.index + 1;
  const name = cut(trimmed, 0, end);
  if (name.text === '') {
    throw invalid(trimmed, 'a match spec begins with the name of a package', 'write `*` for all packages');
  }
  return { name: nameMatcher(name), rest: trim(cut(trimmed, end)) };
}

function nameMatcher(name: Slice): StringMatcher {
  const matcher = parseStringMatcher(name, { ignoreCase: true });
  if (matcher.kind !== 'exact') return matcher;
  if (!/^[a-z0-9._-]+$/i.test(name.text)) {
    throw invalid(
      name,
      `\`${name.text}\` is no package name`,
      'a name has letters, digits, `-`, `_` and `.`',
    );
  }
  return { ...matcher, source: lowerAscii(name.text) };
}

/**
 * Splits `>=1.2,<2 py*`, `=1.2=py_0` and the like.
 * @returns the version in the form that the parser of versions takes
 * @throws ParseError `MATCH_SPEC_INVALID`
 */
export function splitVersionAndBuild(spec: Slice): {
  readonly version: Slice;
  readonly build: Slice | undefined;
} {
  if (spec.text.includes('[')) throw invalid(spec, 'brackets have to be at the end, and one pair of them');
  const end = versionGroupEnd(spec, 0);
  const written = trim(cut(spec, 0, end));
  const separator = /^[ =]/.test(spec.text.slice(end)) ? 1 : 0;
  const build = trim(cut(spec, end + separator));
  const hasBuild = build.text !== '';
  const version = withoutEquals(written.text.replace(/\s+/g, ''), hasBuild);
  return { version: { text: version, at: written.at }, build: hasBuild ? build : undefined };
}

/**
 * What a leading `=` means hangs on what follows: `=1.2` is 1.2.*, `=1.2=build` and `==1.2` are that very version, and
 * in a group such as `=1|=2` each is read by itself.
 * @see CEP 29, "Version expression parsing"
 */
function withoutEquals(version: string, hasBuild: boolean): string {
  if (!version.startsWith('=')) return version;
  const rest = version.slice(1);
  if (rest.startsWith('=') && !hasBuild) return rest.slice(1);
  if (/[=,|]/.test(rest)) return version;
  return hasBuild || rest.endsWith('*') ? rest : `${rest}*`;
}

/** Finds where a group of conditions on the version ends, without looking at what the versions are. */
function versionGroupEnd(spec: Slice, start: number): number {
  const { text } = spec;
  let end = versionConditionEnd(spec, start);
  for (;;) {
    const separator = match(/[ \t\r\n]*[,|][ \t\r\n]*/y, text, end);
    if (separator === undefined) return end;
    end = versionConditionEnd(spec, separator);
  }
}

function versionConditionEnd(spec: Slice, start: number): number {
  const { text } = spec;
  const refuse = () =>
    invalid(cut(spec, start), `\`${text.slice(start)}\` is no condition on a version`, VERSION_HINT);
  if (text.charAt(start) === '(') {
    const end = versionGroupEnd(spec, start + 1);
    if (text.charAt(end) !== ')') throw refuse();
    return end + 1;
  }
  if (text.charAt(start) === '=') {
    const end = versionEnd(text, start + 1, refuse);
    if (end !== undefined) return match(/\.?\*/y, text, end) ?? end;
  }
  const star = match(/\*(?:\.\*)?/y, text, start);
  if (star !== undefined) return star;
  const operator = match(/[ \t\r\n]*(?:==|!=|=|>=|>|<=|<|~=)[ \t\r\n]*/y, text, start) ?? start;
  const end = versionEnd(text, operator, refuse);
  if (end === undefined) throw refuse();
  return match(/[.*]*/y, text, end) ?? end;
}

/** The end of what looks like a version, stars included. */
function versionEnd(text: string, start: number, refuse: () => Error): number | undefined {
  const epoch = /^\d{1,10}(?=!)/.exec(text.slice(start, start + 11));
  // rattler's reader of epochs has 32 bits.
  const from = epoch !== null && Number(epoch[0]) <= 0xff_ff_ff_ff ? start + epoch[0].length + 1 : start;
  const components = /[a-z0-9*](?:[._-]*[a-z0-9*])*[_-]*/iy;
  const main = match(components, text, from);
  if (main === undefined || text.charAt(main) !== '+') return main;
  const local = match(components, text, main + 1);
  if (local === undefined) throw refuse();
  return local;
}

/** The end of a match at exactly that place. */
function match(expression: RegExp, text: string, at: number): number | undefined {
  expression.lastIndex = at;
  return expression.test(text) ? expression.lastIndex : undefined;
}
