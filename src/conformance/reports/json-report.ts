import type { Finding } from '../check-log.js';
import type { Area, Clause, ClauseId, Severity } from '../clauses.js';
import type { CheckedCounts, CheckReport, Sample, TargetKind, Unchecked } from '../report.js';

/** One clause that was looked at. */
export interface ReportedClause {
  readonly id: ClauseId;
  readonly level: Clause['level'];
  readonly severity: Severity;
  readonly area: Area;
  readonly subject: string;
  /** How often it was looked at. */
  readonly checks: number;
  /** How often it was broken. */
  readonly findings: number;
}

/** A report as a plain document, for programs: keys are added only; other changes raise `report_version`. */
export interface ReportDocument {
  readonly report_version: 1;
  readonly target: string;
  readonly kind: TargetKind;
  /** `null` where the target is not laid out in a registry. */
  readonly schema: string | null;
  readonly conforms: boolean;
  /** Findings, the omitted ones too. */
  readonly counts: Readonly<Record<Severity, number>>;
  readonly checked: CheckedCounts;
  /** `null` where everything was looked at. */
  readonly sample: Sample | null;
  /** What was left unread of the artifacts, or `null`. */
  readonly unread: string | null;
  /** By area and id. */
  readonly clauses: readonly ReportedClause[];
  /** Errors first, then by place. */
  readonly findings: readonly Finding[];
  /** Findings that are counted but not listed. */
  readonly omitted: number;
  readonly unchecked: readonly Unchecked[];
}

/** Makes the document: the same keys in the same order always, names as they were found. */
export function reportDocument(report: CheckReport): ReportDocument {
  const { target, kind, schema, conforms, counts, checked, sample, omitted } = report;
  return {
    report_version: 1,
    target,
    kind,
    schema: schema ?? null,
    conforms,
    counts: { error: counts.error, warning: counts.warning, info: counts.info },
    checked: {
      subdirs: checked.subdirs,
      repositories: checked.repositories,
      artifacts: checked.artifacts,
      archives: checked.archives,
      records: checked.records,
    },
    sample: sample === undefined ? null : { size: sample.size, of: sample.of, seed: sample.seed },
    unread: report.unread ?? null,
    clauses: report.clauses.map(({ clause: { id, level, severity, area, subject }, checks, findings }) => ({
      id,
      level,
      severity,
      area,
      subject,
      checks,
      findings,
    })),
    findings: report.findings.map(({ clause, severity, where, found, expected, hint }) => ({
      clause,
      severity,
      where,
      found,
      expected,
      ...(hint === undefined ? {} : { hint }),
    })),
    omitted,
    unchecked: report.unchecked.map(({ where, code, message }) => ({ where, code, message })),
  };
}
