import type { SchemaId } from '../artifact/schema.js';
import { compareText } from '../io/compare-text.js';
import type { CheckLog, ClauseResult, Finding } from './check-log.js';
import { AREAS, type Severity } from './clauses.js';

/** What was checked. */
export type TargetKind = 'archive' | 'artifact' | 'subdir' | 'channel';

/** Something that could not be looked at. */
export interface Unchecked {
  readonly where: string;
  readonly code: string;
  readonly message: string;
}

/** Which part of a large channel was looked at. */
export interface Sample {
  readonly size: number;
  readonly of: number;
  /** Gives the same choice again. */
  readonly seed: string;
}

/** What was looked at, counted. */
export interface CheckedCounts {
  readonly subdirs: number;
  readonly repositories: number;
  readonly artifacts: number;
  readonly archives: number;
  readonly records: number;
}

/** What a check came to. */
export interface CheckReport {
  /** As a person would write it, without secrets. */
  readonly target: string;
  readonly kind: TargetKind;
  /** How the channel is laid out; absent for archives and folders of files. */
  readonly schema?: SchemaId | undefined;
  readonly conforms: boolean;
  readonly counts: Readonly<Record<Severity, number>>;
  readonly checked: CheckedCounts;
  readonly sample?: Sample | undefined;
  /** What was left unread of the artifacts: all layers, or those that take most bytes. */
  readonly unread?: 'layers' | 'archives' | undefined;
  /** Clauses that were looked at, by area and id. */
  readonly clauses: readonly ClauseResult[];
  /** Errors first, then by place. */
  readonly findings: readonly Finding[];
  /** Findings that are counted but not kept. */
  readonly omitted: number;
  readonly unchecked: readonly Unchecked[];
}

/** What {@link makeReport} is told besides the log. */
export interface ReportInput extends Pick<
  CheckReport,
  'target' | 'kind' | 'schema' | 'checked' | 'sample' | 'unread' | 'unchecked'
> {
  readonly log: Pick<CheckLog, 'findings' | 'results'>;
  /** Whether warnings break conformance too. */
  readonly strict?: boolean | undefined;
}

const SEVERITY_ORDER: readonly Severity[] = ['error', 'warning', 'info'];

/** Makes the report of a check that has ended. */
export function makeReport({ log, strict = false, ...about }: ReportInput): CheckReport {
  const counts = { error: 0, warning: 0, info: 0 };
  for (const { clause, findings } of log.results) counts[clause.severity] += findings;
  const findings = log.findings.toSorted(
    (a, b) =>
      SEVERITY_ORDER.indexOf(a.severity) - SEVERITY_ORDER.indexOf(b.severity) ||
      compareText(a.where, b.where) ||
      compareText(a.clause, b.clause),
  );
  const clauses = log.results.toSorted(
    (a, b) =>
      AREAS.indexOf(a.clause.area) - AREAS.indexOf(b.clause.area) || compareText(a.clause.id, b.clause.id),
  );
  const total = counts.error + counts.warning + counts.info;
  return {
    ...about,
    conforms: counts.error === 0 && !(strict && counts.warning > 0),
    counts,
    clauses,
    findings,
    omitted: total - findings.length,
  };
}
