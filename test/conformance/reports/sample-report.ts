import type { ClauseResult, Finding } from '#ferry/conformance/check-log.js';
import type { Clause } from '#ferry/conformance/clauses.js';
import { makeReport, type CheckReport, type ReportInput } from '#ferry/conformance/report.js';

/** The draft for registries, as far as these tests need one. */
const DOCUMENT = {
  document: 'v1',
  title: 'CEP draft: conda channels in OCI registries',
  url: 'https://example.org/ceps/oci storage',
  revision: '2025-04-01',
} as const;

/** A clause, of which a test says only what it looks at. */
export function sampleClause(id: Clause['id'], about: Partial<Clause> = {}): Clause {
  return {
    id,
    level: 'MUST',
    basis: 'literal',
    area: 'names',
    subject: `subject of ${id}`,
    text: `The text of \`${id}\`.`,
    source: 'section "Names"',
    severity: 'error',
    document: DOCUMENT,
    ...about,
  };
}

/** What a rule found, of which a test says only what it looks at. */
export function sampleFinding(clause: Clause, about: Partial<Finding> = {}): Finding {
  return {
    clause: clause.id,
    severity: clause.severity,
    where: 'noarch/czlib:1.3.1-h4ab18f5_1',
    found: '`zlib`',
    expected: '`czlib`',
    ...about,
  };
}

/** What a report is made of. */
export interface SampleInput extends Partial<Omit<ReportInput, 'log'>> {
  readonly findings?: readonly Finding[];
  /** All clauses that were looked at, in any order. */
  readonly clauses?: readonly Clause[];
  /** Findings of the first clause that are counted but not kept. */
  readonly omitted?: number;
}

/** A report of a channel, checked twelve times per clause. */
export function sampleReport({
  findings = [],
  clauses = [],
  omitted = 0,
  ...about
}: SampleInput = {}): CheckReport {
  const results: readonly ClauseResult[] = clauses.map((clause, index) => {
    const found = findings.filter((finding) => finding.clause === clause.id).length;
    return { clause, checks: 12 + found, findings: found + (index === 0 ? omitted : 0) };
  });
  return makeReport({
    target: 'oci://ghcr.io/org/channel',
    kind: 'channel',
    schema: 'v1',
    checked: { subdirs: 2, repositories: 9, artifacts: 10, archives: 12, records: 12 },
    unchecked: [],
    ...about,
    // Clauses made by hand are in no file, where a log would look for them.
    log: { findings, results },
  });
}
