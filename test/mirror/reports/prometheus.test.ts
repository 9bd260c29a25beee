import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import { formatPrometheus } from '#ferry/mirror/reports/prometheus.js';
import { hostileText } from '../../conformance/reports/hostile.js';
import { readMetrics } from './exposition-format.js';
import { hostileRecord } from './hostile-record.js';
import { failedRecord, sampleRecord } from './sample-run.js';

const bad = { filename: 'bad-1-0.conda', code: 'ARCHIVE_ABSENT', message: 'it is not there' } as const;
const denied = new FerryError('DENIED', 'no');

function value(text: string, name: string, labels: Record<string, string> = {}): number | undefined {
  const found = readMetrics(text).series.filter(
    (one) =>
      one.name === `conda_ferry_mirror_${name}` &&
      Object.entries(labels).every(([label, wanted]) => one.labels[label] === wanted),
  );
  expect(found.length).toBeLessThan(2);
  return found[0]?.value;
}

describe('metrics', () => {
  test('are this file', () => {
    const record = sampleRecord(0, { failed: [bad] }, { accepted: new Set(['noarch/bad-1-0.conda']) });
    expect(formatPrometheus(record)).toMatchInlineSnapshot(`
      "# HELP conda_ferry_mirror_info What is mirrored where; always 1.
      # TYPE conda_ferry_mirror_info gauge
      conda_ferry_mirror_info{destination="registry.example.org/ch",source="https://conda.example.org/ch",schema="v0",version="1.2.3"} 1
      # HELP conda_ferry_mirror_last_run_timestamp_seconds When the last run ended, however it did.
      # TYPE conda_ferry_mirror_last_run_timestamp_seconds gauge
      conda_ferry_mirror_last_run_timestamp_seconds{destination="registry.example.org/ch"} 1777600860
      # HELP conda_ferry_mirror_last_success_timestamp_seconds When the last run ended in which all went well.
      # TYPE conda_ferry_mirror_last_success_timestamp_seconds gauge
      conda_ferry_mirror_last_success_timestamp_seconds{destination="registry.example.org/ch"} 1777600860
      # HELP conda_ferry_mirror_duration_seconds How long the last run took.
      # TYPE conda_ferry_mirror_duration_seconds gauge
      conda_ferry_mirror_duration_seconds{destination="registry.example.org/ch"} 60
      # HELP conda_ferry_mirror_outcome How the last run ended: 1 for that, 0 for the others.
      # TYPE conda_ferry_mirror_outcome gauge
      conda_ferry_mirror_outcome{destination="registry.example.org/ch",outcome="ok"} 1
      conda_ferry_mirror_outcome{destination="registry.example.org/ch",outcome="failures"} 0
      conda_ferry_mirror_outcome{destination="registry.example.org/ch",outcome="interrupted"} 0
      conda_ferry_mirror_outcome{destination="registry.example.org/ch",outcome="failed"} 0
      # HELP conda_ferry_mirror_interrupted Whether the last run was interrupted.
      # TYPE conda_ferry_mirror_interrupted gauge
      conda_ferry_mirror_interrupted{destination="registry.example.org/ch"} 0
      # HELP conda_ferry_mirror_requests Requests that the last run sent.
      # TYPE conda_ferry_mirror_requests gauge
      conda_ferry_mirror_requests{destination="registry.example.org/ch",side="source"} 4
      conda_ferry_mirror_requests{destination="registry.example.org/ch",side="destination"} 1021
      # HELP conda_ferry_mirror_source_lag_seconds How far the mirror was behind its source when the last run ended; missing where that is not known.
      # TYPE conda_ferry_mirror_source_lag_seconds gauge
      conda_ferry_mirror_source_lag_seconds{destination="registry.example.org/ch",subdir="noarch"} 960
      # HELP conda_ferry_mirror_source_changed_timestamp_seconds When the source changed its repodata last, as it says.
      # TYPE conda_ferry_mirror_source_changed_timestamp_seconds gauge
      conda_ferry_mirror_source_changed_timestamp_seconds{destination="registry.example.org/ch",subdir="noarch"} 1777599900
      # HELP conda_ferry_mirror_archives_listed Archives that the source lists.
      # TYPE conda_ferry_mirror_archives_listed gauge
      conda_ferry_mirror_archives_listed{destination="registry.example.org/ch",subdir="noarch"} 1200
      # HELP conda_ferry_mirror_archives_there Listed archives that were there before the last run.
      # TYPE conda_ferry_mirror_archives_there gauge
      conda_ferry_mirror_archives_there{destination="registry.example.org/ch",subdir="noarch"} 1197
      # HELP conda_ferry_mirror_archives_added_total Archives added by all runs.
      # TYPE conda_ferry_mirror_archives_added_total counter
      conda_ferry_mirror_archives_added_total{destination="registry.example.org/ch",subdir="noarch"} 3
      # HELP conda_ferry_mirror_bytes_added Bytes of archives that the last run added.
      # TYPE conda_ferry_mirror_bytes_added gauge
      conda_ferry_mirror_bytes_added{destination="registry.example.org/ch",subdir="noarch"} 3400000
      # HELP conda_ferry_mirror_bytes_added_total Bytes of archives added by all runs.
      # TYPE conda_ferry_mirror_bytes_added_total counter
      conda_ferry_mirror_bytes_added_total{destination="registry.example.org/ch",subdir="noarch"} 3400000
      # HELP conda_ferry_mirror_failed Archives that failed in the last run, by whether a list of known failures names them.
      # TYPE conda_ferry_mirror_failed gauge
      conda_ferry_mirror_failed{destination="registry.example.org/ch",subdir="noarch",accepted="false"} 0
      conda_ferry_mirror_failed{destination="registry.example.org/ch",subdir="noarch",accepted="true"} 1
      # HELP conda_ferry_mirror_withheld Records that the schema or the registry cannot hold.
      # TYPE conda_ferry_mirror_withheld gauge
      conda_ferry_mirror_withheld{destination="registry.example.org/ch",subdir="noarch"} 0
      "
    `);
  });

  test('of a second run go on from the first', () => {
    const first = formatPrometheus(sampleRecord(0));
    const other = formatPrometheus(sampleRecord(1, { subdir: 'linux-64', added: 5, addedBytes: 10 }), first);
    const third = formatPrometheus(sampleRecord(2, { added: 4, addedBytes: 100 }), other);
    expect(value(third, 'archives_added_total', { subdir: 'noarch' })).toBe(7);
    expect(value(third, 'bytes_added_total', { subdir: 'noarch' })).toBe(3_400_100);
    expect(value(third, 'archives_added_total', { subdir: 'linux-64' })).toBe(5);
    expect(value(third, 'bytes_added', { subdir: 'noarch' })).toBe(100);
    expect(value(third, 'bytes_added', { subdir: 'linux-64' })).toBeUndefined();
  });

  test('of a run that failed keep the last success and the counters, and tell nothing that it did not see', () => {
    const good = formatPrometheus(sampleRecord(0));
    const dead = formatPrometheus(failedRecord(1, denied), good);
    const deader = formatPrometheus(failedRecord(2, denied), dead);
    expect(value(deader, 'last_success_timestamp_seconds')).toBe(Date.parse('2026-05-01T02:01:00Z') / 1000);
    expect(value(deader, 'last_run_timestamp_seconds')).toBe(Date.parse('2026-05-03T02:01:00Z') / 1000);
    expect(value(deader, 'outcome', { outcome: 'failed' })).toBe(1);
    expect(value(deader, 'outcome', { outcome: 'ok' })).toBe(0);
    expect(value(deader, 'archives_added_total')).toBe(3);
    expect(value(deader, 'archives_listed')).toBeUndefined();
    expect(value(deader, 'source_lag_seconds')).toBeUndefined();
  });

  test('name no success where there was none, or where it was that of another mirror', () => {
    expect(
      value(formatPrometheus(failedRecord(0, denied)), 'last_success_timestamp_seconds'),
    ).toBeUndefined();
    const other = formatPrometheus(sampleRecord(0));
    const moved = sampleRecord(
      1,
      {},
      { report: undefined, error: denied, destination: 'elsewhere.example/ch' },
    );
    expect(value(formatPrometheus(moved, other), 'last_success_timestamp_seconds')).toBeUndefined();
    expect(value(formatPrometheus(moved, other), 'archives_added_total')).toBeUndefined();
  });

  test('of failures that nobody accepted are no success', () => {
    const text = formatPrometheus(sampleRecord(1, { failed: [bad] }), formatPrometheus(sampleRecord(0)));
    expect(value(text, 'last_success_timestamp_seconds')).toBe(Date.parse('2026-05-01T02:01:00Z') / 1000);
    expect(value(text, 'failed', { accepted: 'false' })).toBe(1);
  });

  test('keep to the format, whatever names hold and whatever lay there before', () => {
    fc.assert(
      fc.property(hostileRecord, hostileRecord, hostileText, (first, second, garbage) => {
        const before = formatPrometheus(first, garbage);
        readMetrics(before);
        const own = { ...second, destination: first.destination };
        const { series } = readMetrics(formatPrometheus(own, before));
        const total = series.find(({ name }) => name.endsWith('archives_added_total'));
        const subdir = total?.labels['subdir'];
        const sum = [...first.subdirs, ...second.subdirs]
          .filter((one) => one.subdir === subdir)
          .reduce((all, { added }) => all + added, 0);
        if (total !== undefined) expect(total.value).toBe(sum);
      }),
    );
  });

  test('escape labels', () => {
    const destination = 'a\\b"c\nd';
    const record = { ...sampleRecord(), destination };
    const info = readMetrics(formatPrometheus(record)).series.find(({ name }) => name.endsWith('_info'));
    expect(info?.labels['destination']).toBe('a\\b"c\\u{a}d');
  });
});
