/** What all reports for people have in common: the verdict in words, and findings grouped by clause and by area. */
import { count, formatNumber } from '../../io/figures.js';
import type { ClauseResult, Finding } from '../check-log.js';
import { AREAS, type Area, type ClauseId, type Severity } from '../clauses.js';
import type { CheckReport, Sample } from '../report.js';

/** From what matters most to what matters least. */
export const SEVERITIES = ['error', 'warning', 'info'] as const;

/** The findings of one clause. */
export interface ClauseFindings extends ClauseResult {
  /** Those that were kept; `findings` counts all. */
  readonly kept: readonly Finding[];
}

/** What came of the clauses of one area. */
export interface AreaSummary {
  readonly area: Area;
  readonly clauses: readonly ClauseResult[];
  /** Findings. */
  readonly counts: Readonly<Record<Severity, number>>;
}

/** A report in one line. */
export interface Verdict {
  /** `does not conform to schema v1` */
  readonly headline: string;
  /** `12 archives in 10 artifacts, 118 clauses checked, 0 errors, 2 warnings` */
  readonly details: string;
}

/** The clauses that were broken, errors first, then by area and id. */
export function groupByClause(report: CheckReport): readonly ClauseFindings[] {
  const kept = new Map<ClauseId, Finding[]>();
  for (const finding of report.findings) {
    const others = kept.get(finding.clause);
    if (others === undefined) kept.set(finding.clause, [finding]);
    else others.push(finding);
  }
  return report.clauses
    .filter(({ findings }) => findings > 0)
    .map((result) => ({ ...result, kept: kept.get(result.clause.id) ?? [] }))
    .toSorted((a, b) => SEVERITIES.indexOf(a.clause.severity) - SEVERITIES.indexOf(b.clause.severity));
}

/** The areas that were looked at. */
export function summarizeAreas(report: CheckReport): readonly AreaSummary[] {
  return AREAS.map((area) => summarizeArea(report, area)).filter(({ clauses }) => clauses.length > 0);
}

function summarizeArea(report: CheckReport, area: Area): AreaSummary {
  const clauses = report.clauses.filter(({ clause }) => clause.area === area);
  const counts = { error: 0, warning: 0, info: 0 };
  for (const { clause, findings } of clauses) counts[clause.severity] += findings;
  return { area, clauses, counts };
}

/** Says what a check came to. */
export function verdictOf(report: CheckReport): Verdict {
  const { conforms, schema, counts, unread, unchecked, sample } = report;
  const standard = schema === undefined ? 'the conda standards' : `schema ${schema}`;
  // Nothing is vouched for that was not seen.
  const isPart = sample !== undefined && sample.size < sample.of;
  const limits = [
    ...(isPart ? [', as far as a sample shows'] : []),
    ...(unchecked.length > 0 ? [', as far as could be checked'] : []),
  ];
  const limit = conforms ? limits.join('') : '';
  const details = [
    formatChecked(report),
    `${count(report.clauses.length, 'clause')} checked`,
    count(counts.error, 'error'),
    count(counts.warning, 'warning'),
    ...(counts.info > 0 ? [count(counts.info, 'note')] : []),
    ...(unread === undefined ? [] : [`${unread} not read`]),
    ...(unchecked.length > 0 ? [`${count(unchecked.length, 'place')} not checked`] : []),
  ];
  return {
    headline: `${conforms ? 'conforms' : 'does not conform'} to ${standard}${limit}`,
    details: details.join(', '),
  };
}

function formatChecked({ checked: { archives, artifacts, records, subdirs } }: CheckReport): string {
  if (archives > 0 && artifacts > 0)
    return `${count(archives, 'archive')} in ${count(artifacts, 'artifact')}`;
  if (archives > 0) return count(archives, 'archive');
  if (artifacts > 0) return count(artifacts, 'artifact');
  return `${count(records, 'record')} in ${count(subdirs, 'subdir')}`;
}

/** `50 of 1 234, seed 7f3a` */
export function formatSample({ size, of, seed }: Sample): string {
  return `${formatNumber(size)} of ${formatNumber(of)}, seed ${seed}`;
}

/** What a severity is called: `error`, `warning`, `note`. */
export function severityName(severity: Severity): 'error' | 'warning' | 'note' {
  return severity === 'info' ? 'note' : severity;
}
