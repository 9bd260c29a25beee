import { parseGlob } from './glob-syntax.js';
import { linearMatcher, type Pattern } from './linear-matcher.js';
import { parseRegex } from './regex-syntax.js';
import { invalid, type Slice } from './slice.js';

/** What a text has to be: that very text, a glob such as `py3*`, or a regular expression such as `^py3[89]_.*$`. */
export interface StringMatcher {
  readonly kind: 'exact' | 'glob' | 'regex';
  /** As it was written. */
  readonly source: string;
  readonly matches: (text: string) => boolean;
}

/** How a {@link StringMatcher} takes capitals, and what globs know besides `*`. */
export interface StringMatcherOptions {
  readonly ignoreCase: boolean;
  /**
   * Whether a glob has `?`, `[a-z]` and `[!a-z]` too.
   * @defaultValue true, as in rattler; CEP 29 knows `*` alone
   */
  readonly hasClasses?: boolean;
}

/**
 * Reads a text to compare with: `^…$` is a regular expression, what has a `*` a glob, all else itself. None of them takes
 * more than time in proportion to the text that is looked at.
 * @throws ParseError `MATCH_SPEC_INVALID`
 * @see CEP 29, "String matching"
 */
export function parseStringMatcher(slice: Slice, options: StringMatcherOptions): StringMatcher {
  const { text: source } = slice;
  if (source.length > 1 && source.startsWith('^') && source.endsWith('$')) {
    return { kind: 'regex', source, matches: machineOf(slice, parseRegex(slice, options.ignoreCase)) };
  }
  if (!source.includes('*')) return exactMatcher(source, options);
  const hasClasses = options.hasClasses ?? true;
  if (hasClasses && /[?[]|\*\*/.test(source)) {
    return { kind: 'glob', source, matches: machineOf(slice, parseGlob(slice, options.ignoreCase)) };
  }
  return { kind: 'glob', source, matches: starMatcher(source, options) };
}

/** A matcher of one text only, whatever characters it has. */
function exactMatcher(source: string, options: StringMatcherOptions): StringMatcher {
  const wanted = folded(source, options);
  // The length settles it nearly always, without a look at the text.
  const matches = (text: string): boolean =>
    text.length === wanted.length && folded(text, options) === wanted;
  return { kind: 'exact', source, matches };
}

function machineOf(slice: Slice, pattern: Pattern): (text: string) => boolean {
  try {
    return linearMatcher(pattern);
  } catch (error) {
    if (error instanceof RangeError) throw invalid(slice, `\`${slice.text}\` is too large: ${error.message}`);
    throw error;
  }
}

/** The most frequent globs by far, without a machine: what stands between the stars, one after the other. */
function starMatcher(glob: string, options: StringMatcherOptions): (text: string) => boolean {
  const parts = folded(glob, options).split('*');
  const [first = '', last = ''] = [parts[0], parts.at(-1)];
  const between = parts.slice(1, -1).filter((part) => part !== '');
  return (text) => {
    const subject = folded(text, options);
    if (subject.length < first.length + last.length) return false;
    if (!subject.startsWith(first) || !subject.endsWith(last)) return false;
    const end = subject.length - last.length;
    let position = first.length;
    for (const part of between) {
      const found = subject.indexOf(part, position);
      if (found === -1 || found + part.length > end) return false;
      position = found + part.length;
    }
    return true;
  };
}

function folded(text: string, { ignoreCase }: StringMatcherOptions): string {
  return ignoreCase ? lowerAscii(text) : text;
}

/** Lower case for A to Z alone: other letters never stand in names and builds, and are compared as they are. */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
}
