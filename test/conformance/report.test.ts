import { describe, expect, test } from 'vitest';
import { CheckLog } from '#ferry/conformance/check-log.js';
import { makeReport, type CheckReport } from '#ferry/conformance/report.js';

const CHECKED = { subdirs: 0, repositories: 0, artifacts: 0, archives: 0, records: 0 };

function report(log: CheckLog, strict = false): CheckReport {
  return makeReport({ log, target: 'x', kind: 'channel', checked: CHECKED, unchecked: [], strict });
}

function breach(where: string) {
  return { where, found: 'this', expected: 'that' };
}

describe('a report', () => {
  test('has errors first, then goes by place and clause', () => {
    const log = new CheckLog();
    log.report('v1/P8', breach('a'));
    log.report('v0/X6', breach('a'));
    log.report('v1/P5', breach('b'));
    log.report('v1/P1', breach('b'));
    log.report('v1/P5', breach('a'));
    const { findings, counts } = report(log);
    expect(findings.map(({ severity, clause, where }) => `${severity} ${clause} ${where}`)).toEqual([
      'error v1/P5 a',
      'error v1/P1 b',
      'error v1/P5 b',
      'warning v0/X6 a',
      'info v1/P8 a',
    ]);
    expect(counts).toEqual({ error: 3, warning: 1, info: 1 });
  });

  test('lists clauses by area and id, with how often they were looked at', () => {
    const log = new CheckLog();
    log.expect('v1/P5', true, () => breach('a'));
    log.expect('v1/P5', false, () => breach('a'));
    log.expect('v1/P1', true, () => breach('a'));
    log.expect('v1/G1', true, () => breach('a'));
    expect(report(log).clauses.map(({ clause, checks, findings }) => [clause.id, checks, findings])).toEqual([
      ['v1/G1', 1, 0],
      ['v1/P1', 1, 0],
      ['v1/P5', 2, 1],
    ]);
  });

  test('errors break conformance, warnings only if strict, notes never', () => {
    const log = new CheckLog();
    log.report('v1/P8', breach('a'));
    expect(report(log, true).conforms).toBe(true);
    log.report('v0/X6', breach('a'));
    expect(report(log).conforms).toBe(true);
    expect(report(log, true).conforms).toBe(false);
    log.report('v1/P5', breach('a'));
    expect(report(log).conforms).toBe(false);
  });

  test('counts findings that are too many to keep', () => {
    const log = new CheckLog();
    for (let i = 0; i < 100_003; i++) log.report('v0/X6', breach('a'));
    const { findings, omitted, counts } = report(log);
    expect(findings).toHaveLength(100_000);
    expect(omitted).toBe(3);
    expect(counts.warning).toBe(100_003);
  });
});
