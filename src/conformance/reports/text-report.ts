import { count, formatNumber } from '../../io/figures.js';
import { visibleText } from '../../io/visible-text.js';
import type { Finding } from '../check-log.js';
import type { CheckReport } from '../report.js';
import { formatSample, groupByClause, severityName, verdictOf, type ClauseFindings } from './summary.js';

/** How {@link formatTextReport} writes. */
export interface TextReportOptions {
  /** Findings shown of each clause. @defaultValue 10 */
  readonly maxPerClause?: number | undefined;
}

const DEFAULT_MAX_PER_CLAUSE = 10;
/** Columns of a terminal. */
const WIDTH = 80;
/** A space at which no line breaks. */
const GLUE = '\u00a0';
/** Text longer than this is cut: `--json` has it whole. */
const MAX_LENGTH = 400;

/**
 * Writes a report for a terminal of 80 columns: what was checked, the findings by clause with errors first, what could
 * not be checked, and the verdict as the last line:
 * `conforms to schema v1: 12 archives in 10 artifacts, 118 clauses checked, 0 errors, 2 warnings`.
 * @returns lines without control characters; only the verdict, and words longer than a line, are wider
 */
export function formatTextReport(
  report: CheckReport,
  { maxPerClause = DEFAULT_MAX_PER_CLAUSE }: TextReportOptions = {},
): readonly string[] {
  const { headline, details } = verdictOf(report);
  return [
    ...aboutTarget(report),
    ...groupByClause(report).flatMap((group) => formatGroup(group, maxPerClause)),
    ...formatUnchecked(report, maxPerClause),
    `${headline}: ${details}`,
  ];
}

function aboutTarget({ kind, target, sample }: CheckReport): readonly string[] {
  return [
    ...wrap(`${kind} ${visibleText(target, MAX_LENGTH)}`, '', '  '),
    ...(sample === undefined
      ? []
      : wrap(`sample: ${visibleText(formatSample(sample), MAX_LENGTH)}`, '', '  ')),
    '',
  ];
}

function formatGroup({ clause, checks, findings, kept }: ClauseFindings, max: number): readonly string[] {
  const shown = kept.slice(0, max);
  const title = `${severityName(clause.severity)} ${clause.id}: ${clause.subject}`;
  const times = `(${formatNumber(findings)} of ${count(checks, 'check')})`;
  const expected = shared(shown.map((finding) => finding.expected));
  const hint = shared(shown.map((finding) => finding.hint));
  return [
    ...wrap(`${title} ${times.replaceAll(' ', GLUE)}`, '', '  '),
    ...formatExpected(expected, '  '),
    ...shown.flatMap((finding) => formatFinding(finding, expected, hint)),
    ...formatRest(findings - shown.length, findings - kept.length),
    ...formatHint(hint, '  '),
    '',
  ];
}

/** What is the same for all of several findings, so that it is said once. */
function shared(texts: readonly (string | undefined)[]): string | undefined {
  const [first, ...others] = texts;
  return others.length > 0 && others.every((text) => text === first) ? first : undefined;
}

/** Leaves out what was said of all. */
function formatFinding(
  { where, found, expected, hint }: Finding,
  sharedExpected: string | undefined,
  sharedHint: string | undefined,
): readonly string[] {
  const have = `found: ${visibleText(found, MAX_LENGTH)}`;
  const both = `    ${have}, expected: ${visibleText(expected, MAX_LENGTH)}`;
  const separate = [
    ...wrap(have, '    ', '      '),
    ...(sharedExpected === undefined ? formatExpected(expected, '    ') : []),
  ];
  return [
    ...wrap(visibleText(where, MAX_LENGTH), '  ', '    '),
    ...(sharedExpected === undefined && both.length <= WIDTH ? [both] : separate),
    ...(sharedHint === undefined ? formatHint(hint, '    ') : []),
  ];
}

function formatExpected(expected: string | undefined, indent: string): readonly string[] {
  return expected === undefined
    ? []
    : wrap(`expected: ${visibleText(expected, MAX_LENGTH)}`, indent, `${indent}  `);
}

function formatHint(hint: string | undefined, indent: string): readonly string[] {
  return hint === undefined ? [] : wrap(`hint: ${visibleText(hint, MAX_LENGTH)}`, indent, `${indent}  `);
}

/** @param omitted how many of the rest no report has, being counted only */
function formatRest(rest: number, omitted: number): readonly string[] {
  if (rest <= 0) return [];
  if (omitted <= 0) return [`  and ${formatNumber(rest)} more; --json has all`];
  if (omitted >= rest) return [`  and ${formatNumber(rest)} more, counted only`];
  return [`  and ${formatNumber(rest)} more; --json has ${formatNumber(rest - omitted)} of them`];
}

function formatUnchecked({ unchecked }: CheckReport, max: number): readonly string[] {
  if (unchecked.length === 0) return [];
  const lines = [`could not be checked: ${count(unchecked.length, 'place')}`];
  for (const { where, code, message } of unchecked.slice(0, max)) {
    lines.push(...wrap(visibleText(where, MAX_LENGTH), '  ', '    '));
    lines.push(...wrap(visibleText(`${message} [${code}]`, MAX_LENGTH), '    ', '      '));
  }
  return [...lines, ...formatRest(unchecked.length - max, 0), ''];
}

/** Breaks at spaces only: a place or a digest that is cut in two cannot be copied. */
function wrap(text: string, first: string, next: string): string[] {
  const lines: string[] = [];
  let line = first;
  let empty = true;
  for (const word of text.split(' ')) {
    if (!empty && line.length + 1 + word.length > WIDTH) {
      lines.push(line.trimEnd());
      line = next;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  return [...lines, line.trimEnd()].map((each) => each.replaceAll(GLUE, ' '));
}
