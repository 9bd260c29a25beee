import { describe, expect, test } from 'vitest';
import { reportDocument } from '#ferry/conformance/reports/json-report.js';
import { sampleClause, sampleFinding, sampleReport } from './sample-report.js';

describe('report as JSON', () => {
  test('is a plain document with a version', () => {
    const clause = sampleClause('v1/N3', { subject: 'Names' });
    const report = sampleReport({
      clauses: [clause],
      findings: [sampleFinding(clause, { hint: 'push it again' })],
      sample: { size: 10, of: 12, seed: '7f3a' },
      unchecked: [{ where: 'noarch/cjq:1.7-0', code: 'DENIED', message: 'the server refused' }],
    });
    expect(JSON.stringify(reportDocument(report), undefined, 2)).toMatchInlineSnapshot(`
      "{
        "report_version": 1,
        "target": "oci://ghcr.io/org/channel",
        "kind": "channel",
        "schema": "v1",
        "conforms": false,
        "counts": {
          "error": 1,
          "warning": 0,
          "info": 0
        },
        "checked": {
          "subdirs": 2,
          "repositories": 9,
          "artifacts": 10,
          "archives": 12,
          "records": 12
        },
        "sample": {
          "size": 10,
          "of": 12,
          "seed": "7f3a"
        },
        "unread": null,
        "clauses": [
          {
            "id": "v1/N3",
            "level": "MUST",
            "severity": "error",
            "area": "names",
            "subject": "Names",
            "checks": 13,
            "findings": 1
          }
        ],
        "findings": [
          {
            "clause": "v1/N3",
            "severity": "error",
            "where": "noarch/czlib:1.3.1-h4ab18f5_1",
            "found": "\`zlib\`",
            "expected": "\`czlib\`",
            "hint": "push it again"
          }
        ],
        "omitted": 0,
        "unchecked": [
          {
            "where": "noarch/cjq:1.7-0",
            "code": "DENIED",
            "message": "the server refused"
          }
        ]
      }"
    `);
  });

  test('says null where there is no schema and no sample, and leaves absent hints out', () => {
    const clause = sampleClause('cep36/a');
    const document = reportDocument(
      sampleReport({
        kind: 'archive',
        schema: undefined,
        clauses: [clause],
        findings: [sampleFinding(clause, { hint: undefined })],
      }),
    );
    expect(document).toMatchObject({ schema: null, sample: null });
    expect(document.findings[0]).not.toHaveProperty('hint');
  });

  test('keeps names as they were found', () => {
    const clause = sampleClause('v1/N3');
    const where = 'noarch/\u0000\u202e<script>';
    const { findings } = reportDocument(
      sampleReport({ clauses: [clause], findings: [sampleFinding(clause, { where })] }),
    );
    expect(findings[0]?.where).toBe(where);
  });
});
