/** The part of a match spec in brackets, `[version='>=1', build=*cuda*]`, and what stands around it. */
import { cut, invalid, trim, type Slice } from './slice.js';

/** One `key=value`, quotes taken off. */
export interface BracketField {
  readonly key: Slice;
  readonly value: Slice;
}

/** Takes off the comment and refuses `; if`, which `when` took the place of. */
export function stripComment(spec: Slice): Slice {
  const [comment] = unquotedPositions(spec.text, '#');
  const body = comment === undefined ? spec : cut(spec, 0, comment);
  const semicolons = unquotedPositions(body.text, ';');
  const [first] = semicolons;
  if (first === undefined) return trim(body);
  const rest = cut(body, first);
  if (/^;\s*if\s/.test(rest.text)) {
    throw invalid(rest, '`; if` is not understood', 'write [when="…"] instead');
  }
  if (semicolons.length > 1) throw invalid(rest, 'there is more than one semicolon');
  return trim(body);
}

/** Where a character stands outside the quotes of bracket fields. */
function unquotedPositions(text: string, wanted: string): number[] {
  const positions: number[] = [];
  let quote: string | undefined;
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index);
    if (quote !== undefined) {
      if (character === '\\') index++;
      else if (character === quote) quote = undefined;
    } else if (
      character === '[' &&
      (depth > 0 || /^\[\s*[\p{Alphabetic}\p{N}_-]+\s*=/u.test(text.slice(index)))
    ) {
      depth++;
    } else if (character === ']' && depth > 0) depth--;
    else if (isQuote(character) && depth > 0 && /[=[,]\s*$/.test(text.slice(0, index))) quote = character;
    else if (character === wanted) positions.push(index);
  }
  return positions;
}

/**
 * Splits a spec into what stands before its brackets, and their fields.
 * @throws ParseError `MATCH_SPEC_INVALID`
 */
export function splitBrackets(spec: Slice): {
  readonly rest: Slice;
  readonly fields: readonly BracketField[];
} {
  if (!spec.text.endsWith(']')) return { rest: spec, fields: [] };
  const open = openingBracket(spec);
  return { rest: cut(spec, 0, open), fields: readFields(cut(spec, open)) };
}

/** Finds the `[` that the `]` at the end belongs to; brackets in quotes do not count. */
function openingBracket(spec: Slice): number {
  const { text } = spec;
  let quote: string | undefined;
  let depth = 0;
  let open: number | undefined;
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index);
    if (quote !== undefined) {
      if (character === '\\') index++;
      else if (character === quote) quote = undefined;
    } else if (isQuote(character) && depth > 0) quote = character;
    else if (character === '[') {
      if (depth++ === 0) open = index;
    } else if (character === ']') {
      depth = Math.max(0, depth - 1);
      if (depth === 0 && index < text.length - 1) open = undefined;
    }
  }
  if (open === undefined || depth > 0 || quote !== undefined) {
    throw invalid(spec, 'brackets or quotes are not closed');
  }
  return open;
}

function readFields(brackets: Slice): BracketField[] {
  const { text } = brackets;
  const fields: BracketField[] = [];
  let index = 1;
  const skipSpace = (): void => {
    while (/[ \t\r\n]/.test(text.charAt(index))) index++;
  };
  const refuse = (what: string, at = index) =>
    invalid(cut(brackets, at), what, 'write [key=value, key="a value with , or ="]');
  skipSpace();
  if (text.charAt(index) === ']' && index === 1) return fields;
  for (;;) {
    skipSpace();
    const keyStart = index;
    while (/[\p{Alphabetic}\p{N}_-]/u.test(text.charAt(index))) index++;
    const key = cut(brackets, keyStart, index);
    skipSpace();
    if (text.charAt(index) !== '=') throw refuse(`\`${key.text}\` in brackets has no value`, keyStart);
    index++;
    skipSpace();
    const end = valueEnd(text, index);
    if (end === undefined) throw refuse(`the value of \`${key.text}\` is empty or not closed`);
    fields.push({ key, value: cut(brackets, end.from, end.to) });
    index = end.next;
    skipSpace();
    if (text.charAt(index) !== ',') break;
    index++;
  }
  // What follows the first `]` is no more looked at by rattler either; `openingBracket` has found it to be the last.
  if (text.charAt(index) !== ']') throw refuse('fields in brackets are to be separated by commas');
  return fields;
}

/** Where a value and its quotes end: `"…"`, `'…'`, `[…]`, or anything up to a comma. */
function valueEnd(
  text: string,
  start: number,
): { readonly from: number; readonly to: number; readonly next: number } | undefined {
  const first = text.charAt(start);
  if (isQuote(first)) {
    for (let index = start + 1; index < text.length; index++) {
      if (text.charAt(index) === '\\') index++;
      else if (text.charAt(index) === first) return { from: start + 1, to: index, next: index + 1 };
    }
    return undefined;
  }
  if (first === '[') {
    const close = text.indexOf(']', start);
    if (close !== -1) return { from: start + 1, to: close, next: close + 1 };
  }
  let end = start;
  while (end < text.length && !/[,\]'"]/.test(text.charAt(end))) end++;
  return end === start ? undefined : { from: start, to: end, next: end };
}

/** Takes the backslashes off that stand before quotes and backslashes. */
export function unescape(text: string): string {
  return text.replace(/\\(["'\\])/g, '$1');
}

function isQuote(character: string): boolean {
  return character === '"' || character === "'";
}
