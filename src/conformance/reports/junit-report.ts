import { escapeMarkup } from '../../io/escape-markup.js';
import { count, formatNumber } from '../../io/figures.js';
import type { Finding } from '../check-log.js';
import type { CheckReport, Unchecked } from '../report.js';
import {
  groupByClause,
  severityName,
  summarizeAreas,
  type AreaSummary,
  type ClauseFindings,
} from './summary.js';

/** How {@link formatJunitReport} writes. */
export interface JunitReportOptions {
  /** Whether warnings are failures too. @defaultValue false */
  readonly strict?: boolean | undefined;
  /** Findings written of each clause, and places that could not be checked. @defaultValue 100 */
  readonly maxPerClause?: number | undefined;
}

/** One page of a CI system shows the text of a test case whole. */
const DEFAULT_MAX_PER_CLAUSE = 100;

/** Counts as a suite states them. */
interface Tally {
  readonly tests: number;
  readonly failures: number;
  readonly errors: number;
}

interface Suite extends Tally {
  readonly lines: readonly string[];
}

interface Settings {
  readonly strict: boolean;
  readonly max: number;
}

/**
 * Writes a report as JUnit XML: one suite per area, one test case per clause, and a suite `unchecked` with an error for
 * each place that could not be looked at. A clause whose breach does not break conformance passes and says what was
 * found in its `system-out`.
 */
export function formatJunitReport(
  report: CheckReport,
  { strict = false, maxPerClause = DEFAULT_MAX_PER_CLAUSE }: JunitReportOptions = {},
): string {
  const settings = { strict, max: maxPerClause };
  const groups = new Map(groupByClause(report).map((group) => [group.clause.id as string, group]));
  const suites = summarizeAreas(report).map((area) => areaSuite(area, groups, settings));
  if (report.unchecked.length > 0) suites.push(uncheckedSuite(report.unchecked, settings));
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${escapeMarkup(`conda-ferry check ${report.target}`)}" ${formatTally(total(suites))} time="0">`,
    ...suites.flatMap((suite) => suite.lines),
    '</testsuites>',
  ];
  return `${lines.join('\n')}\n`;
}

function areaSuite(
  { area, clauses }: AreaSummary,
  groups: ReadonlyMap<string, ClauseFindings>,
  settings: Settings,
): Suite {
  const cases: string[] = [];
  let failures = 0;
  for (const { clause, checks } of clauses) {
    const name = `${clause.id} ${clause.subject}`;
    const open = `<testcase classname="${escapeMarkup(`conda-ferry.${area}`)}" name="${escapeMarkup(name)}" assertions="${String(checks)}" time="0"`;
    const group = groups.get(clause.id);
    if (group === undefined) {
      cases.push(`    ${open}/>`);
      continue;
    }
    const fails = clause.severity === 'error' || (settings.strict && clause.severity === 'warning');
    if (fails) failures += 1;
    cases.push(
      `    ${open}>`,
      fails ? failure(group, settings) : systemOut(group, settings),
      '    </testcase>',
    );
  }
  return suiteOf(area, { tests: clauses.length, failures, errors: 0 }, cases);
}

function uncheckedSuite(unchecked: readonly Unchecked[], { max }: Settings): Suite {
  const shown = unchecked.slice(0, max);
  const cases = shown.map(({ where, code, message }) =>
    [
      `    <testcase classname="conda-ferry.unchecked" name="${escapeMarkup(where)}" time="0">`,
      `      <error type="${escapeMarkup(code)}" message="${escapeMarkup(message)}"/>`,
      '    </testcase>',
    ].join('\n'),
  );
  const rest = unchecked.length - shown.length;
  if (rest > 0) cases.push(`    <system-out>and ${formatNumber(rest)} more</system-out>`);
  return suiteOf('unchecked', { tests: shown.length, failures: 0, errors: shown.length }, cases);
}

function suiteOf(name: string, tally: Tally, cases: readonly string[]): Suite {
  const lines = [
    `  <testsuite name="${escapeMarkup(name)}" ${formatTally(tally)} skipped="0" time="0">`,
    ...cases,
    '  </testsuite>',
  ];
  return { ...tally, lines };
}

function failure(group: ClauseFindings, settings: Settings): string {
  const message = `${count(group.findings, 'finding')} in ${count(group.checks, 'check')}: ${group.clause.subject}`;
  return `      <failure type="${escapeMarkup(group.clause.id)}" message="${escapeMarkup(message)}">${listing(group, settings)}</failure>`;
}

function systemOut(group: ClauseFindings, settings: Settings): string {
  const title = count(group.findings, severityName(group.clause.severity));
  return `      <system-out>${title}\n${listing(group, settings)}</system-out>`;
}

function listing({ kept, findings }: ClauseFindings, { max }: Settings): string {
  const shown = kept.slice(0, max);
  const lines = shown.map(formatFinding);
  if (findings > shown.length) lines.push(`and ${formatNumber(findings - shown.length)} more`);
  return lines.join('\n');
}

/** Escaped part by part, since the line ends between them are meant. */
function formatFinding({ where, found, expected, hint }: Finding): string {
  const lines = [
    escapeMarkup(where),
    `  found ${escapeMarkup(found)}`,
    `  expected ${escapeMarkup(expected)}`,
  ];
  if (hint !== undefined) lines.push(`  hint: ${escapeMarkup(hint)}`);
  return lines.join('\n');
}

function formatTally({ tests, failures, errors }: Tally): string {
  return `tests="${String(tests)}" failures="${String(failures)}" errors="${String(errors)}"`;
}

function total(suites: readonly Tally[]): Tally {
  const sum = (key: keyof Tally) => suites.reduce((before, suite) => before + suite[key], 0);
  return { tests: sum('tests'), failures: sum('failures'), errors: sum('errors') };
}
