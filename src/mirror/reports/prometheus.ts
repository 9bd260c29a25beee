import { visibleText } from '../../io/visible-text.js';
import { OUTCOMES, type RecordedSubdir, type RunRecord } from './run-record.js';
import { secondsOf } from './run-state.js';

/** All metrics of a mirror begin so. */
const PREFIX = 'conda_ferry_mirror_';
/** Characters of a label's value. */
const MAX_LABEL = 1000;

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [Labels, number | undefined];

/** A metric with its series. */
interface Family {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: readonly Sample[];
}

/**
 * Writes a record for Prometheus, as node_exporter's textfile collector reads it: one file per mirror.
 * @param previous the file as the run before left it: counters go on from there, and the time of the last success stays
 * where this run was none. What is not of this destination, or not ours, is left out
 * @see https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md, text format 0.0.4
 */
export function formatPrometheus(record: RunRecord, previous = ''): string {
  const before = readSeries(previous);
  const lines = [...runFamilies(record, before), ...subdirFamilies(record, before)].flatMap(formatFamily);
  return `${lines.join('\n')}\n`;
}

function runFamilies(record: RunRecord, before: ReadonlyMap<string, number>): readonly Family[] {
  const { destination, source, schema, outcome, requests, toolVersion = '' } = record;
  const own = { destination };
  const endedAt = Date.parse(record.endedAt) / 1000;
  const success = outcome === 'ok' ? endedAt : before.get(seriesKey('last_success_timestamp_seconds', own));
  return [
    gauge('info', 'What is mirrored where; always 1.', [
      [{ destination, source, schema, version: toolVersion }, 1],
    ]),
    gauge('last_run_timestamp_seconds', 'When the last run ended, however it did.', [[own, endedAt]]),
    gauge('last_success_timestamp_seconds', 'When the last run ended in which all went well.', [
      [own, success],
    ]),
    gauge('duration_seconds', 'How long the last run took.', [[own, secondsOf(record)]]),
    gauge(
      'outcome',
      'How the last run ended: 1 for that, 0 for the others.',
      OUTCOMES.map((one): Sample => [{ ...own, outcome: one }, Number(one === outcome)]),
    ),
    gauge('interrupted', 'Whether the last run was interrupted.', [[own, Number(record.isInterrupted)]]),
    gauge(
      'requests',
      'Requests that the last run sent.',
      (['source', 'destination'] as const).map((side): Sample => [{ ...own, side }, requests?.[side]]),
    ),
  ];
}

function subdirFamilies(record: RunRecord, before: ReadonlyMap<string, number>): readonly Family[] {
  const { destination } = record;
  const each = (of: (subdir: RecordedSubdir) => number | undefined): readonly Sample[] =>
    record.subdirs.map((subdir) => [{ destination, subdir: subdir.subdir }, of(subdir)]);
  const counter = (name: string, help: string, of: (subdir: RecordedSubdir) => number): Family => {
    const sums = new Map<string, number>();
    // Also of subdirs that this run did not come to: a counter that comes and goes is none.
    for (const [key, value] of before) {
      const subdir = subdirOfSeries(key, name, destination);
      if (subdir !== undefined) sums.set(subdir, value);
    }
    for (const subdir of record.subdirs) sums.set(subdir.subdir, (sums.get(subdir.subdir) ?? 0) + of(subdir));
    const samples = [...sums].map(([subdir, sum]): Sample => [{ destination, subdir }, sum]);
    return { name, type: 'counter', help, samples };
  };
  return [
    gauge(
      'source_lag_seconds',
      'How far the mirror was behind its source when the last run ended; missing where that is not known.',
      each(({ lagSeconds }) => lagSeconds),
    ),
    gauge(
      'source_changed_timestamp_seconds',
      'When the source changed its repodata last, as it says.',
      each(({ sourceChangedAt }) =>
        sourceChangedAt === undefined ? undefined : Date.parse(sourceChangedAt) / 1000,
      ),
    ),
    gauge(
      'archives_listed',
      'Archives that the source lists.',
      each(({ listed }) => listed),
    ),
    gauge(
      'archives_there',
      'Listed archives that were there before the last run.',
      each(({ there }) => there),
    ),
    counter('archives_added_total', 'Archives added by all runs.', ({ added }) => added),
    gauge(
      'bytes_added',
      'Bytes of archives that the last run added.',
      each(({ addedBytes }) => addedBytes),
    ),
    counter('bytes_added_total', 'Bytes of archives added by all runs.', ({ addedBytes }) => addedBytes),
    gauge(
      'failed',
      'Archives that failed in the last run, by whether a list of known failures names them.',
      record.subdirs.flatMap(({ subdir, failed, unknownFailures }): readonly Sample[] => [
        [{ destination, subdir, accepted: 'false' }, unknownFailures],
        [{ destination, subdir, accepted: 'true' }, failed - unknownFailures],
      ]),
    ),
    gauge(
      'withheld',
      'Records that the schema or the registry cannot hold.',
      each(({ withheld }) => withheld),
    ),
  ];
}

function gauge(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: 'gauge', help, samples };
}

function formatFamily({ name, type, help, samples }: Family): readonly string[] {
  // A series twice makes the collector refuse the file.
  const series = new Map<string, number>();
  for (const [labels, value] of samples)
    if (value !== undefined && Number.isFinite(value)) series.set(seriesKey(name, labels), value);
  if (series.size === 0) return [];
  return [
    `# HELP ${PREFIX}${name} ${help}`,
    `# TYPE ${PREFIX}${name} ${type}`,
    ...[...series].map(([key, value]) => `${key} ${String(value)}`),
  ];
}

/** A series as it stands in the file: `conda_ferry_mirror_withheld{destination="…",subdir="noarch"}`. */
function seriesKey(name: string, labels: Labels): string {
  const parts = Object.entries(labels).map(([label, value]) => `${label}="${escapeLabel(value)}"`);
  return `${PREFIX}${name}{${parts.join(',')}}`;
}

/** The subdir of a series with nothing but that and the destination. */
function subdirOfSeries(key: string, name: string, destination: string): string | undefined {
  const start = `${PREFIX}${name}{destination="${escapeLabel(destination)}",subdir="`;
  return key.startsWith(start) ? /^([^"\\]*)"\}$/.exec(key.slice(start.length))?.[1] : undefined;
}

/** Series of a file that {@link formatPrometheus} wrote; other lines do not count. */
function readSeries(text: string): ReadonlyMap<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    const { key, value } = /^(?<key>[a-z_]+\{.*\}) (?<value>\d+(?:\.\d+)?)$/.exec(line)?.groups ?? {};
    if (key?.startsWith(PREFIX) === true) series.set(key, Number(value));
  }
  return series;
}

function escapeLabel(value: string): string {
  return visibleText(value, MAX_LABEL).replace(/\\/g, '\\\\').replace(/"/g, '\\"');
}
