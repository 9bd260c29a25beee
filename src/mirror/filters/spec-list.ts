/** Lists of match specs, as flags and files give them. */
import { FerryError, isFerryError } from '../../errors.js';
import { parseMatchSpec, type MatchSpec } from '../../conda/match-spec/match-spec.js';
import { matchesRecord } from '../../conda/match-spec/matches-record.js';
import type { RecordDetails } from '../../conda/record-details.js';

/** A match spec with its text: what a digest and messages tell of it. */
export interface WrittenSpec {
  /** As written, with single spaces unless some are in quotes. */
  readonly text: string;
  readonly spec: MatchSpec;
}

/** A name in front of a match spec, and nothing but the name: what follows ends it or constrains it. */
const LITERAL_NAME = /^(?:[^\s:[\]=<>!~]+::)?(?<name>[a-z0-9_][a-z0-9_.-]*)(?=$|[\s=<>!~[])/i;

/** Parses a match spec, such as `numpy >=2`. @throws ParseError `MATCH_SPEC_INVALID` */
export function parseWrittenSpec(text: string): WrittenSpec {
  const written = text.trim();
  return { text: isQuoting(written) ? written : written.replace(/\s+/g, ' '), spec: parseMatchSpec(written) };
}

/** As `parseMatchSpec`, for one of several specs: the error names it. @throws FerryError `MATCH_SPEC_INVALID` */
export function parseNamedSpec(text: string): MatchSpec {
  try {
    return parseMatchSpec(text);
  } catch (cause) {
    if (!isFerryError(cause)) throw cause;
    throw new FerryError(cause.code, `\`${text}\` is no match spec`, { cause });
  }
}

/** Tells whether a match spec asks for the record. */
export function asksFor({ spec }: WrittenSpec, record: RecordDetails): boolean {
  return matchesRecord(spec, record);
}

/** One line of a file that says something. */
export interface ListedText {
  readonly text: string;
  /** Counted from 1. */
  readonly line: number;
}

/**
 * Reads a file with one match spec a line; `#` at the start of a line or behind a space begins a comment, but not in a line
 * with quotes, in which it may be part of a text.
 */
export function readSpecLines(content: string): readonly ListedText[] {
  return content
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line, index) => ({ text: withoutComment(line.trim()), line: index + 1 }))
    .filter(({ text }) => text !== '');
}

function withoutComment(line: string): string {
  if (line.startsWith('#')) return '';
  return isQuoting(line) ? line : line.replace(/\s#.*$/, '').trim();
}

function isQuoting(text: string): boolean {
  return /["']/.test(text);
}

/**
 * The name that a match spec asks for, in lower case; `undefined` where it cannot be told from the text alone, because the
 * name is a pattern or stands in brackets.
 */
export function nameAskedFor(text: string): string | undefined {
  // `[name=…]` would count more than what stands in front; what ends like a file name may be one.
  if (/\[.*\bname\b|\.(?:conda|tar\.bz2)$/i.test(text)) return undefined;
  return LITERAL_NAME.exec(text)?.groups?.['name']?.toLowerCase();
}

/** Many match specs, asked at once: a list of a thousand names costs one look-up per record. */
export class SpecIndex {
  readonly isEmpty: boolean;
  readonly #byName = new Map<string, MatchSpec[]>();
  readonly #others: MatchSpec[] = [];

  constructor(specs: readonly WrittenSpec[]) {
    this.isEmpty = specs.length === 0;
    for (const { text, spec } of specs) {
      const name = nameAskedFor(text);
      if (name === undefined) {
        this.#others.push(spec);
        continue;
      }
      const known = this.#byName.get(name);
      if (known === undefined) this.#byName.set(name, [spec]);
      else known.push(spec);
    }
  }

  /** Whether any of the specs may ask for a record of that name. */
  mayMatch(name: string): boolean {
    return this.#others.length > 0 || this.#byName.has(name.toLowerCase());
  }

  /** Tells whether any of the specs asks for the record. */
  matches(record: RecordDetails): boolean {
    if (this.isEmpty) return false;
    const specs = this.#byName.get(record.name.toLowerCase());
    return (
      specs?.some((spec) => matchesRecord(spec, record)) === true ||
      this.#others.some((spec) => matchesRecord(spec, record))
    );
  }
}
