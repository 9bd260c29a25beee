import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import { formatJobSummary } from '#ferry/mirror/reports/job-summary.js';
import { hostileRecord } from './hostile-record.js';
import { failedRecord, sampleRecord } from './sample-run.js';

const bad = { filename: 'bad-1-0.conda', code: 'ARCHIVE_ABSENT', message: 'it is not there' } as const;

describe("a job's summary", () => {
  test('is this Markdown', () => {
    const record = sampleRecord(0, { failed: [bad] }, { accepted: new Set(['noarch/bad-1-0.conda']) });
    expect(formatJobSummary(record)).toMatchInlineSnapshot(`
      "### Mirrored 2026-05-01 02&#58;01 UTC

      <code>https&#58;//conda.example.org/ch</code> → <code>registry.example.org/ch</code>

      3 archives (3.4 MB) added in 60 s, 16 min behind the source, 1 archive failed that is known to fail.

      | subdir | listed | there | added | size | failed | withheld | behind | repodata |
      | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |
      | <code>noarch</code> | 1 200 | 1 197 | 3 | 3.4 MB | 1 | 0 | 16 min | the source's |

      **1 archive failed**

      - <code>noarch/bad-1-0.conda</code>: it is not there <code>ARCHIVE&#95;ABSENT</code> (known to fail)

      | added | archives | size |
      | --- | ---: | ---: |
      | <code>zlib</code> | 2 | 3.0 MB |
      | <code>jq</code> | 1 | 400 kB |

      "
    `);
  });

  test('names twenty failures', () => {
    const failed = Array.from({ length: 1234 }, (_, i) => ({ ...bad, filename: `p${i}-1-0.conda` }));
    const lines = formatJobSummary(sampleRecord(0, { failed })).split('\n');
    expect(lines.filter((line) => line.startsWith('- <code>'))).toHaveLength(20);
    expect(lines).toContain('- and 1 214 more');
    expect(lines).toContain('**1 234 archives failed**');
  });

  test('of a run that failed says why', () => {
    const error = new FerryError('DENIED', 'no uploads', { hint: 'log in' });
    expect(formatJobSummary(failedRecord(0, error))).toContain('No uploads &#91;DENIED&#93;. Log in.');
  });

  test('has no markup but its own, whatever names hold, and stays small', () => {
    fc.assert(
      fc.property(hostileRecord, (record) => {
        const text = formatJobSummary(record);
        expect(text.length).toBeLessThan(100_000);
        const bare = text
          .replaceAll(/<code>|<\/code>:?/g, '')
          .replaceAll(/&#\d+;/g, '')
          .replaceAll(/^(?:### |- |\*\*[\d ]+archives? failed\*\*$)/gm, '')
          .replaceAll(/^\|[-: |]+\|$/gm, '')
          .replaceAll(/^\|.*\|$/gm, (row) => `x${row.replaceAll('|', '')}`);
        expect(bare).not.toMatch(/[<>&|`*_[\]~#\\:@!]|\bwww\.|^\s*(?:[-+]|\d+[.)]) /im);
        const columns = text.split('\n').filter((line) => line.startsWith('|'));
        for (const row of columns) expect([4, 10]).toContain(row.split('|').length - 1);
      }),
    );
  });
});
