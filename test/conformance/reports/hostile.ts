import fc from 'fast-check';
import type { CheckReport } from '#ferry/conformance/report.js';
import { sampleClause, sampleFinding, sampleReport } from './sample-report.js';

const FRAGMENTS = [
  '<script>alert(1)</script>',
  '</style>',
  '</title>',
  '" onmouseover="alert(1)',
  "' x='",
  ']]>',
  '<!--',
  '-->',
  '<![CDATA[',
  '&amp;',
  '&#0;',
  '&',
  '`',
  '\0',
  '\u001b[2J',
  '\u0085',
  '\u202e',
  '\u2028',
  '\ud800',
  '\udc00',
  '\ufffe',
  '\u{1ffff}',
  '\ufeff',
  '\n',
  'javascript:alert(1)',
  '../',
  '{0}',
  '[text](https://example.org)',
  '%',
  '%2e',
  '\\',
  '😀',
];

/** Text that someone who means harm would choose as a name. */
export const hostileText = fc.oneof(
  fc.array(fc.constantFrom(...FRAGMENTS), { maxLength: 6 }).map((parts) => parts.join('')),
  fc.string({ unit: 'binary', maxLength: 30 }),
  // Lone surrogates too.
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
    .map((units) => String.fromCharCode(...units)),
);

/** A report in which nothing is what it should be. */
export const hostileReport: fc.Arbitrary<CheckReport> = fc
  .record({
    target: hostileText,
    seed: hostileText,
    where: hostileText,
    found: hostileText,
    expected: hostileText,
    hint: fc.option(hostileText, { nil: undefined }),
    clauseText: hostileText,
    url: hostileText,
    severity: fc.constantFrom('error' as const, 'warning' as const, 'info' as const),
  })
  .map(({ target, seed, where, found, expected, hint, clauseText, url, severity }) => {
    const clause = sampleClause('v1/N3', {
      severity,
      subject: clauseText,
      text: clauseText,
      source: clauseText,
      document: { document: 'v1', title: clauseText, url, revision: clauseText },
    });
    const kept = sampleClause('v1/N4', { area: 'tags', subject: clauseText });
    return sampleReport({
      target,
      sample: { size: 1, of: 2, seed },
      clauses: [clause, kept],
      findings: [sampleFinding(clause, { where, found, expected, hint })],
      unchecked: [{ where, code: 'DENIED', message: found }],
    });
  });
