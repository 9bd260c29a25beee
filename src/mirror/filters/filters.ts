/**
 * What a mirror takes. Filters are parsed here from plain texts, written down for the ledger, and described for people;
 * `select-records.ts` puts them to use, and `docs/filters.md` says what they mean.
 */
import { isFerryError, FerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { lockedKey, type LockedArchives } from '../../provenance/lock-files/locked-archives.js';
import { formatDuration, formatSize, parseDate, parseDuration, parseSize } from './quantities.js';
import { parseWrittenSpec, type WrittenSpec } from './spec-list.js';

/** Which records a mirror takes. */
export interface Filters {
  /** Left out, unless {@link include} asks for them. */
  readonly exclude: readonly WrittenSpec[];
  /** Without {@link exclude}: the only ones taken. With it: what is taken all the same. */
  readonly include: readonly WrittenSpec[];
  /** Left out whatever asks for them. */
  readonly undistributable: readonly WrittenSpec[];
  /** Only the newest versions of each name in each subdir, or of each name and Python variant. */
  readonly latest?: { readonly count: number; readonly perVariant: boolean } | undefined;
  /** Only what was built since, in milliseconds since 1970. */
  readonly sinceMs?: number | undefined;
  /** Only what has been at the source for so long, in milliseconds. */
  readonly minAgeMs?: number | undefined;
  /** For these {@link minAgeMs} does not count. */
  readonly minAgeExempt: readonly WrittenSpec[];
  /** In bytes. */
  readonly maxSize?: number | undefined;
  /** Whether what the records depend on is taken too, and so on. */
  readonly withDependencies: boolean;
  /** Only these, and only with these hashes. */
  readonly lock?: LockedArchives | undefined;
}

/** A match spec, and where it comes from if not from the flag itself, such as `wanted.txt, line 3`. */
export type SpecInput = string | { readonly text: string; readonly from: string };

/** Filters as texts. */
export interface FilterInput {
  readonly exclude?: readonly SpecInput[] | undefined;
  readonly include?: readonly SpecInput[] | undefined;
  readonly undistributable?: readonly SpecInput[] | undefined;
  /** Such as `3`. */
  readonly latest?: string | undefined;
  readonly latestPerVariant?: boolean | undefined;
  /** ISO 8601, such as `2024-05-01`. */
  readonly since?: string | undefined;
  /** Such as `7d`, `12h`, `2w`. */
  readonly minAge?: string | undefined;
  readonly minAgeExempt?: readonly SpecInput[] | undefined;
  /** Such as `100MB`, `1GiB`. */
  readonly maxSize?: string | undefined;
  readonly withDependencies?: boolean | undefined;
  readonly lock?: LockedArchives | undefined;
}

/** A JSON value. */
export type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

/** Takes everything. */
export const NO_FILTERS: Filters = {
  exclude: [],
  include: [],
  undistributable: [],
  minAgeExempt: [],
  withDependencies: false,
};

/**
 * Parses filters.
 * @throws FerryError `USAGE`, which names the flag
 */
export function parseFilters(input: FilterInput): Filters {
  const needs = (flag: string, other: string): FerryError =>
    new FerryError('USAGE', `\`${flag}\` means nothing without \`${other}\``, { hint: `add ${other}` });
  if (input.latestPerVariant === true && input.latest === undefined)
    throw needs('--latest-per-variant', '--latest N');
  if (input.minAgeExempt?.length && input.minAge === undefined)
    throw needs('--min-age-exempt', '--min-age AGE');
  if (input.withDependencies === true && input.lock !== undefined) {
    throw new FerryError('USAGE', '`--with-dependencies` does not go with `--lock`', {
      hint: 'a lock file names the dependencies too; leave --with-dependencies out',
    });
  }
  if (input.lock?.archives.length === 0) {
    throw new FerryError('USAGE', '`--lock` names no archive of any conda channel');
  }
  const count = read('--latest', input.latest, parseCount, 'a number from 1 on');
  return {
    exclude: readSpecs('--exclude', input.exclude),
    include: readSpecs('--include', input.include),
    undistributable: readSpecs('--undistributable', input.undistributable),
    latest: count === undefined ? undefined : { count, perVariant: input.latestPerVariant === true },
    sinceMs: read('--since', input.since, parseDate, 'a date such as 2024-05-01 or 2024-05-01T12:00:00Z'),
    minAgeMs: read('--min-age', input.minAge, parseDuration, 'a time such as 7d, 12h or 2w'),
    minAgeExempt: readSpecs('--min-age-exempt', input.minAgeExempt),
    maxSize: read('--max-size', input.maxSize, parseSize, 'a size such as 100MB or 1GiB'),
    withDependencies: input.withDependencies === true,
    lock: input.lock,
  };
}

/** Tells whether anything can be left out at all. */
export function hasFilters(filters: Filters): boolean {
  // Dependencies of everything are there already.
  return Object.keys(filtersDigestInput(filters)).some((key) => key !== 'with_dependencies');
}

/**
 * All that decides what is wanted, as JSON with one key order: what means the same is written the same, whatever the order
 * of flags and the paths of files. Empty where nothing is filtered, so that such ledgers stay as they are.
 */
export function filtersDigestInput(filters: Filters): Readonly<Record<string, Json>> {
  const { latest, lock } = filters;
  const entries: readonly (readonly [string, Json | undefined])[] = [
    ['exclude', textsOf(filters.exclude)],
    ['include', textsOf(filters.include)],
    ['undistributable', textsOf(filters.undistributable)],
    ['latest', latest && { count: latest.count, per_variant: latest.perVariant }],
    ['since', filters.sinceMs],
    ['min_age', filters.minAgeMs],
    ['min_age_exempt', textsOf(filters.minAgeExempt)],
    ['max_size', filters.maxSize],
    ['with_dependencies', filters.withDependencies ? true : undefined],
    ['lock', lock && [...new Set(lock.archives.map(lockedKey))].sort(compareText)],
  ];
  return Object.fromEntries(
    entries.filter((entry): entry is readonly [string, Json] => entry[1] !== undefined),
  );
}

/** Says in words what is taken, one fact a line, such as `only numpy >=2` and `nothing over 100MB`. */
export function describeFilters(filters: Filters): readonly string[] {
  const { include, exclude, undistributable, latest, sinceMs, minAgeMs, maxSize, lock } = filters;
  const lines: string[] = [];
  if (exclude.length > 0) {
    const override = include.length > 0 ? `, but for ${list(include)}` : '';
    lines.push(`all but ${list(exclude)}${override}`);
  } else if (include.length > 0) lines.push(`only ${list(include)}`);
  if (lock !== undefined) {
    const { pypi, elsewhere } = lock.ignored;
    const ignored = pypi + elsewhere;
    const rest = ignored === 0 ? '' : `; ${String(ignored)} entries of no conda channel are passed over`;
    lines.push(`only the ${String(lock.archives.length)} archives that are locked${rest}`);
  }
  if (latest !== undefined) {
    const versions = latest.count === 1 ? 'newest version' : `${String(latest.count)} newest versions`;
    lines.push(`the ${versions} of each name${latest.perVariant ? ' and Python variant' : ''}`);
  }
  if (sinceMs !== undefined) lines.push(`nothing built before ${new Date(sinceMs).toISOString()}`);
  if (maxSize !== undefined) lines.push(`nothing over ${formatSize(maxSize)}`);
  if (minAgeMs !== undefined) {
    const { minAgeExempt } = filters;
    const exempt = minAgeExempt.length === 0 ? '' : `, but for ${list(minAgeExempt)}`;
    lines.push(`nothing younger than ${formatDuration(minAgeMs)}${exempt}`);
  }
  if (undistributable.length > 0) lines.push(`never ${list(undistributable)}`);
  if (filters.withDependencies) lines.push('with what these depend on');
  return lines;
}

/** So many are named; of more, the number is told. */
const NAMED_SPECS = 5;

function list(specs: readonly WrittenSpec[]): string {
  const named = specs.slice(0, NAMED_SPECS).map(({ text }) => text);
  const more = specs.length - named.length;
  return named.join(', ') + (more > 0 ? ` and ${String(more)} more` : '');
}

function textsOf(specs: readonly WrittenSpec[]): readonly string[] | undefined {
  return specs.length === 0 ? undefined : [...new Set(specs.map(({ text }) => text))].sort(compareText);
}

function readSpecs(flag: string, inputs: readonly SpecInput[] = []): readonly WrittenSpec[] {
  return inputs.map((input) => {
    const { text, from } = typeof input === 'string' ? { text: input, from: undefined } : input;
    try {
      return parseWrittenSpec(text);
    } catch (cause) {
      if (!isFerryError(cause)) throw cause;
      const where = from === undefined ? '' : ` in ${from}`;
      throw new FerryError('USAGE', `\`${flag}\`${where}: \`${text}\` is no match spec`, {
        cause,
        hint: cause.hint,
      });
    }
  });
}

function read(
  flag: string,
  text: string | undefined,
  parse: (text: string) => number | undefined,
  form: string,
): number | undefined {
  if (text === undefined) return undefined;
  const value = parse(text);
  if (value !== undefined) return value;
  throw new FerryError('USAGE', `\`${flag}\` cannot be \`${text}\``, { hint: `write ${form}` });
}

function parseCount(text: string): number | undefined {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : 0;
  return Number.isSafeInteger(value) && value >= 1 ? value : undefined;
}
