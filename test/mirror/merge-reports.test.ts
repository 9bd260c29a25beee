import { describe, expect, test } from 'vitest';
import { mergeReports } from '#ferry/mirror/merge-reports.js';
import type { MirrorReport, SubdirReport } from '#ferry/mirror/report.js';

const NOTHING: SubdirReport = {
  ...{ subdir: 'noarch', publishedAs: 'kept', listed: 10, there: 10, added: 0, addedBytes: 0, artifacts: 0 },
  ...{ replaced: [], displaced: [], packages: [], failed: [], withheld: [], kept: 0, gone: 0, untried: 0 },
  ...{ leftOut: {}, warnings: [] },
};

function reportOf(hour: number, ...subdirs: Partial<SubdirReport>[]): MirrorReport {
  return {
    ...{ source: 'https://conda.example/ch', destination: 'ghcr.io/me/ch', schema: 'v0' },
    startedAt: `2026-05-01T${String(hour)}:00:00.000Z`,
    endedAt: `2026-05-01T${String(hour)}:30:00.000Z`,
    isInterrupted: false,
    subdirs: subdirs.map((subdir) => ({ ...NOTHING, ...subdir })),
  };
}

const FAILURE = { filename: 'a-1-0.conda', code: 'NOT_FOUND', message: 'gone' } as const;

describe('reports of runs that followed each other', () => {
  test('where the second had nothing to do are as the first, with what still fails', () => {
    const first = { there: 2, added: 7, addedBytes: 70, artifacts: 6, publishedAs: 'spliced' } as const;
    const warnings = ['noarch: something'];
    const merged = mergeReports(
      reportOf(10, { ...first, failed: [FAILURE], gone: 3, leftOut: { size: 1 }, warnings }),
      reportOf(11, { there: 9, failed: [{ ...FAILURE, message: 'still gone' }] }),
    );
    expect(merged).toMatchObject({
      startedAt: '2026-05-01T10:00:00.000Z',
      endedAt: '2026-05-01T11:30:00.000Z',
    });
    expect(merged.subdirs).toEqual([
      {
        ...{ ...NOTHING, ...first, gone: 3, leftOut: { size: 1 }, warnings },
        failed: [{ ...FAILURE, message: 'still gone' }],
      },
    ]);
  });

  test('that both did something add up', () => {
    const [one, two] = [
      { name: 'a', archives: 1, bytes: 5 },
      { name: 'b', archives: 2, bytes: 9 },
    ] as const;
    const merged = mergeReports(
      reportOf(10, {
        ...{ there: 1, added: 3, addedBytes: 14, artifacts: 2, publishedAs: 'unchanged', untried: 2 },
        ...{ packages: [two, one], replaced: ['b-1-0.conda'], failed: [FAILURE], warnings: ['x'] },
      }),
      reportOf(11, {
        ...{ there: 4, added: 1, addedBytes: 5, artifacts: 1, publishedAs: 'spliced', listed: 11 },
        ...{ packages: [one], replaced: ['a-1-0.conda', 'b-1-0.conda'], warnings: ['x', 'y'] },
      }),
    );
    expect(merged.subdirs).toEqual([
      {
        ...NOTHING,
        ...{ listed: 11, there: 1, added: 4, addedBytes: 19, artifacts: 3, publishedAs: 'spliced' },
        packages: [{ name: 'a', archives: 2, bytes: 10 }, two],
        ...{ replaced: ['a-1-0.conda', 'b-1-0.conda'], warnings: ['x', 'y'] },
      },
    ]);
  });

  test('hold subdirs that only one of them knows', () => {
    const merged = mergeReports(
      reportOf(10, { subdir: 'noarch', added: 1, untried: 4 }),
      reportOf(11, { subdir: 'linux-64', added: 2 }),
    );
    expect(merged.subdirs.map(({ subdir, added, untried }) => [subdir, added, untried])).toEqual([
      ['noarch', 1, 4],
      ['linux-64', 2, 0],
    ]);
  });
});
