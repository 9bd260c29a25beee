import type { MirrorReport, SubdirReport } from '#ferry/mirror/report.js';
import { makeRunRecord, type RunFacts } from '#ferry/mirror/reports/make-run-record.js';
import type { RunRecord } from '#ferry/mirror/reports/run-record.js';

const DAY_MS = 86_400_000;
const START = Date.parse('2026-05-01T02:00:00Z');

/** What a run did in a subdir; everything went well unless something else is given. */
export function sampleSubdir(more: Partial<SubdirReport> = {}): SubdirReport {
  return {
    subdir: 'noarch',
    publishedAs: 'unchanged',
    listed: 1200,
    there: 1197,
    added: 3,
    addedBytes: 3_400_000,
    artifacts: 2,
    replaced: [],
    displaced: [],
    packages: [
      { name: 'zlib', archives: 2, bytes: 3_000_000 },
      { name: 'jq', archives: 1, bytes: 400_000 },
    ],
    failed: [],
    withheld: [],
    kept: 0,
    gone: 0,
    untried: 0,
    leftOut: {},
    sourceChangedAt: '2026-05-01T01:45:00.000Z',
    warnings: [],
    ...more,
  };
}

/** A run of one minute. */
export function sampleReport(more: Partial<MirrorReport> = {}): MirrorReport {
  return {
    source: 'https://conda.example.org/ch',
    destination: 'registry.example.org/ch',
    schema: 'v0',
    startedAt: new Date(START).toISOString(),
    endedAt: new Date(START + 60_000).toISOString(),
    isInterrupted: false,
    subdirs: [sampleSubdir()],
    ...more,
  };
}

/** What is known of a run that did what {@link sampleReport} says. */
export function sampleFacts(more: Partial<RunFacts> = {}): RunFacts {
  return {
    source: 'https://conda.example.org/ch',
    destination: 'registry.example.org/ch',
    schema: 'v0',
    startedAt: new Date(START),
    endedAt: new Date(START + 60_000),
    report: sampleReport(),
    requests: { source: 4, destination: 1021 },
    toolVersion: '1.2.3',
    ...more,
  };
}

/** The record of a run some days later than the first. */
export function sampleRecord(
  day = 0,
  more: Partial<SubdirReport> = {},
  facts: Partial<RunFacts> = {},
): RunRecord {
  const startedAt = new Date(START + day * DAY_MS);
  const endedAt = new Date(startedAt.getTime() + 60_000);
  const report = sampleReport({
    startedAt: startedAt.toISOString(),
    endedAt: endedAt.toISOString(),
    subdirs: [sampleSubdir(more)],
  });
  return makeRunRecord(sampleFacts({ startedAt, endedAt, report, ...facts }));
}

/** The record of a run that could not go on. */
export function failedRecord(day: number, error: unknown): RunRecord {
  return sampleRecord(day, {}, { report: undefined, error });
}
