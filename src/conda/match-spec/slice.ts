import { ParseError } from '../../errors.js';

/** A part of a match spec, and where in the spec it begins, so that errors can point at it. */
export interface Slice {
  readonly text: string;
  /** In characters from the start of the spec. */
  readonly at: number;
}

/** The part of a slice between two offsets of it. */
export function cut(slice: Slice, from: number, to: number = slice.text.length): Slice {
  return { text: slice.text.slice(from, to), at: slice.at + from };
}

/** The slice without white space at its ends. */
export function trim(slice: Slice): Slice {
  const start = slice.text.length - slice.text.trimStart().length;
  return { text: slice.text.trim(), at: slice.at + start };
}

/** The error for a spec that cannot be read, with the place where it cannot. */
export function invalid(slice: Slice, message: string, hint?: string): ParseError {
  return new ParseError('MATCH_SPEC_INVALID', message, slice.text, { position: slice.at, hint });
}
