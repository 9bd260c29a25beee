import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatJunitReport } from '#ferry/conformance/reports/junit-report.js';
import { hostileReport } from './hostile.js';
import { expectBalanced, tagsOf, textOf, tokenize } from './markup.js';
import { sampleClause, sampleFinding, sampleReport } from './sample-report.js';

const PROLOGUE = '<?xml version="1.0" encoding="UTF-8"?>\n';
const named = sampleClause('v1/N3', { subject: 'Names' });
const advised = sampleClause('v1/A2', { area: 'annotations', severity: 'warning', subject: 'Titles' });
const kept = sampleClause('v1/N4', { subject: 'Tags' });

function read(xml: string) {
  expect(xml.startsWith(PROLOGUE)).toBe(true);
  const tokens = tokenize(xml.slice(PROLOGUE.length));
  expectBalanced(tokens);
  return tokens;
}

describe('report as JUnit XML', () => {
  const report = sampleReport({
    clauses: [named, advised, kept],
    findings: [sampleFinding(named, { hint: 'push it again' }), sampleFinding(advised)],
    unchecked: [{ where: 'noarch/cjq:1.7-0', code: 'DENIED', message: 'the server refused' }],
  });

  test('has a suite per area and a case per clause', () => {
    expect(formatJunitReport(report)).toMatchInlineSnapshot(`
      "<?xml version="1.0" encoding="UTF-8"?>
      <testsuites name="conda-ferry check oci://ghcr.io/org/channel" tests="4" failures="1" errors="1" time="0">
        <testsuite name="names" tests="2" failures="1" errors="0" skipped="0" time="0">
          <testcase classname="conda-ferry.names" name="v1/N3 Names" assertions="13" time="0">
            <failure type="v1/N3" message="1 finding in 13 checks: Names">noarch/czlib:1.3.1-h4ab18f5_1
        found \`zlib\`
        expected \`czlib\`
        hint: push it again</failure>
          </testcase>
          <testcase classname="conda-ferry.names" name="v1/N4 Tags" assertions="12" time="0"/>
        </testsuite>
        <testsuite name="annotations" tests="1" failures="0" errors="0" skipped="0" time="0">
          <testcase classname="conda-ferry.annotations" name="v1/A2 Titles" assertions="13" time="0">
            <system-out>1 warning
      noarch/czlib:1.3.1-h4ab18f5_1
        found \`zlib\`
        expected \`czlib\`</system-out>
          </testcase>
        </testsuite>
        <testsuite name="unchecked" tests="1" failures="0" errors="1" skipped="0" time="0">
          <testcase classname="conda-ferry.unchecked" name="noarch/cjq:1.7-0" time="0">
            <error type="DENIED" message="the server refused"/>
          </testcase>
        </testsuite>
      </testsuites>
      "
    `);
  });

  test('warnings are failures only where they break conformance', () => {
    const failures = (strict: boolean) =>
      tagsOf(read(formatJunitReport(report, { strict })), 'failure').map((tag) => tag.get('type'));
    expect(failures(false)).toEqual(['v1/N3']);
    expect(failures(true)).toEqual(['v1/N3', 'v1/A2']);
  });

  test('the counts of the suites are those of the elements', () => {
    const tokens = read(formatJunitReport(report, { strict: true }));
    const all = tagsOf(tokens, 'testsuites')[0];
    const sum = (key: string) =>
      tagsOf(tokens, 'testsuite').reduce((before, suite) => before + Number(suite.get(key)), 0);
    for (const [key, tag] of [
      ['tests', 'testcase'],
      ['failures', 'failure'],
      ['errors', 'error'],
    ] as const) {
      expect([key, Number(all?.get(key)), sum(key)]).toEqual([
        key,
        tagsOf(tokens, tag).length,
        tagsOf(tokens, tag).length,
      ]);
    }
  });

  test('lists a bounded number of findings and of places that could not be checked', () => {
    const many = sampleReport({
      clauses: [named],
      findings: Array.from({ length: 500 }, (_, i) => sampleFinding(named, { where: `noarch/p:${i}-0` })),
      unchecked: Array.from({ length: 300 }, (_, i) => ({
        where: `noarch/q:${i}`,
        code: 'DENIED',
        message: 'no',
      })),
    });
    const tokens = read(formatJunitReport(many));
    expect(textOf(tokens).match(/noarch\/p:/g)).toHaveLength(100);
    expect(textOf(tokens)).toContain('and 400 more');
    expect(tagsOf(tokens, 'error')).toHaveLength(100);
    expect(textOf(tokens)).toContain('and 200 more');
  });

  test('is well-formed whatever names hold', () => {
    fc.assert(
      fc.property(hostileReport, fc.boolean(), (hostile, strict) => {
        const tokens = read(formatJunitReport(hostile, { strict }));
        expect(tagsOf(tokens, 'testcase')).toHaveLength(3);
        expect(new Set(tokens.flatMap((token) => (token.kind === 'text' ? [] : [token.name])))).toSatisfy(
          (names: ReadonlySet<string>) =>
            [...names].every((name) =>
              ['testsuites', 'testsuite', 'testcase', 'failure', 'error', 'system-out'].includes(name),
            ),
        );
      }),
    );
  });
});
