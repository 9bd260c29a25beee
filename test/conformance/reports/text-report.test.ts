import { describe, expect, test } from 'vitest';
import { formatTextReport } from '#ferry/conformance/reports/text-report.js';
import { sampleClause, sampleFinding, sampleReport } from './sample-report.js';

const named = sampleClause('v1/N3', { subject: 'A repository is named after its package' });
const advised = sampleClause('v1/A2', {
  area: 'annotations',
  level: 'SHOULD',
  severity: 'warning',
  subject: 'A title',
});

describe('report as text', () => {
  test('ends with the verdict in one line', () => {
    const report = sampleReport({ clauses: [named, advised] });
    expect(formatTextReport(report).join('\n')).toMatchInlineSnapshot(`
      "channel oci://ghcr.io/org/channel

      conforms to schema v1: 12 archives in 10 artifacts, 2 clauses checked, 0 errors, 0 warnings"
    `);
  });

  test('groups findings by clause, errors first, and says once what all of a clause share', () => {
    const hint = 'push the package again with `--schema v1`';
    const report = sampleReport({
      clauses: [advised, named],
      findings: [
        sampleFinding(advised, {
          where: 'noarch/repodata.json',
          found: 'no title',
          expected: '`repodata.json`',
        }),
        sampleFinding(named, { hint }),
        sampleFinding(named, { where: 'noarch/cbzip2:1.0-0', found: '`bzip2`', hint }),
      ],
      sample: { size: 10, of: 25_012, seed: '7f3a' },
    });
    expect(formatTextReport(report).join('\n')).toMatchInlineSnapshot(`
      "channel oci://ghcr.io/org/channel
      sample: 10 of 25 012, seed 7f3a

      error v1/N3: A repository is named after its package (2 of 14 checks)
        expected: \`czlib\`
        noarch/cbzip2:1.0-0
          found: \`bzip2\`
        noarch/czlib:1.3.1-h4ab18f5_1
          found: \`zlib\`
        hint: push the package again with \`--schema v1\`

      warning v1/A2: A title (1 of 13 checks)
        noarch/repodata.json
          found: no title, expected: \`repodata.json\`

      does not conform to schema v1: 12 archives in 10 artifacts, 2 clauses checked, 2 errors, 1 warning"
    `);
  });

  test('breaks long lines, but never a place', () => {
    const where = `noarch/repodata.json#/packages.conda/${'long-'.repeat(20)}1.0-0.conda`;
    const report = sampleReport({
      clauses: [named],
      findings: [
        sampleFinding(named, {
          where,
          found: 'a layer of 123456 bytes with the media type `application/vnd.conda.package.v2`',
          expected: 'the media type `application/vnd.conda.package.v1`, since the file name says so',
          hint: 'pack the archive again, and give the result a new build number so that clients see it',
        }),
      ],
    });
    const lines = formatTextReport(report);
    expect(lines).toContain(`  ${where}`);
    expect(lines.filter((line) => !line.includes(where)).slice(0, -1)).toSatisfy((short: readonly string[]) =>
      short.every((line) => line.length <= 80),
    );
    expect(lines.slice(2, -1).join('\n')).toMatchInlineSnapshot(`
      "error v1/N3: A repository is named after its package (1 of 13 checks)
        noarch/repodata.json#/packages.conda/long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-1.0-0.conda
          found: a layer of 123456 bytes with the media type
            \`application/vnd.conda.package.v2\`
          expected: the media type \`application/vnd.conda.package.v1\`, since the file
            name says so
          hint: pack the archive again, and give the result a new build number so that
            clients see it
      "
    `);
  });

  test('sums up what is more than the limit', () => {
    const findings = Array.from({ length: 1244 }, (_, i) =>
      sampleFinding(named, { where: `noarch/p:${i}-0` }),
    );
    const rest = (omitted: number) =>
      formatTextReport(sampleReport({ clauses: [named], findings, omitted })).filter((line) =>
        line.startsWith('  and'),
      );
    expect(rest(0)).toEqual(['  and 1 234 more; --json has all']);
    expect(rest(1000)).toEqual(['  and 2 234 more; --json has 1 234 of them']);
    expect(
      formatTextReport(sampleReport({ clauses: [named], findings, omitted: 7 }), { maxPerClause: 2000 }),
    ).toContain('  and 7 more, counted only');
  });

  test('says what could not be checked, and vouches for the rest only', () => {
    const unchecked = [{ where: 'noarch/cjq:1.7-0', code: 'DENIED', message: 'the server refused' }];
    expect(formatTextReport(sampleReport({ clauses: [named], unchecked })).join('\n')).toMatchInlineSnapshot(`
      "channel oci://ghcr.io/org/channel

      could not be checked: 1 place
        noarch/cjq:1.7-0
          the server refused [DENIED]

      conforms to schema v1, as far as could be checked: 12 archives in 10 artifacts, 1 clause checked, 0 errors, 0 warnings, 1 place not checked"
    `);
  });

  test('names the standard where there is no registry, and counts one thing as one', () => {
    const report = sampleReport({
      kind: 'archive',
      target: './jq-1.7-0.conda',
      schema: undefined,
      checked: { subdirs: 0, repositories: 0, artifacts: 0, archives: 1, records: 0 },
      clauses: [sampleClause('cep34/a', { severity: 'info' })],
      findings: [sampleFinding(sampleClause('cep34/a', { severity: 'info' }))],
    });
    expect(formatTextReport(report).at(-1)).toBe(
      'conforms to the conda standards: 1 archive, 1 clause checked, 0 errors, 0 warnings, 1 note',
    );
  });

  test('shows what would steer a terminal as its number', () => {
    const findings = [sampleFinding(named, { where: 'noarch/\u001b[2J', found: 'a\nb', expected: '\u202e' })];
    const text = formatTextReport(sampleReport({ clauses: [named], findings, target: 'oci://x\u0007' })).join(
      '',
    );
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(text).toContain('noarch/\\u{1b}[2J');
  });
});
