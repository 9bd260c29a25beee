import { count, formatBytes, formatMoment, formatSeconds } from '../../io/figures.js';
import { capitalize } from '../../io/html.js';
import { lastSuccess } from './history.js';
import type { RunRecord } from './run-record.js';

/** How a mirror stands, in words. */
export interface RunState {
  readonly look: 'good' | 'partly' | 'bad';
  /** `Mirrored 2026-05-01 12:00 UTC, but 3 archives failed` */
  readonly headline: string;
  /** `12 archives (3.4 MB) added in 45 s; level with the source.`; messages of errors have code in backticks. */
  readonly details: string;
}

/**
 * Says how a mirror stands after its last run.
 * @param records newest first, at least one
 */
export function describeState(records: readonly [RunRecord, ...RunRecord[]]): RunState {
  const [record] = records;
  const when = formatMoment(record.endedAt);
  const { outcome, error, totals } = record;
  const unknown = totals.failed - totals.acceptedFailures;
  switch (outcome) {
    case 'ok':
      return { look: 'good', headline: `Mirrored ${when}`, details: sentence(describeWork(record)) };
    case 'failures':
      return {
        look: 'partly',
        headline: `Mirrored ${when}, but ${count(unknown, 'archive')} failed`,
        details: sentence(describeWork(record), describeSuccess(records)),
      };
    case 'interrupted':
      return {
        look: 'partly',
        headline: `Interrupted ${when}`,
        details: sentence(
          describeWork(record),
          error && describeError(error),
          'the next run goes on from there',
          describeSuccess(records),
        ),
      };
    case 'failed':
      return {
        look: 'bad',
        headline: `The run of ${when} failed`,
        details: sentence(
          error === undefined ? 'it does not say why' : describeError(error),
          error?.hint,
          describeSuccess(records),
        ),
      };
  }
}

/** `20 min behind the source`, `level with the source`; `undefined` where it is not known. */
function describeLag(lagSeconds: number | undefined): string | undefined {
  if (lagSeconds === undefined) return undefined;
  return lagSeconds === 0 ? 'level with the source' : `${formatSeconds(lagSeconds)} behind the source`;
}

/** How long a run took, in seconds. */
export function secondsOf({ startedAt, endedAt }: Pick<RunRecord, 'startedAt' | 'endedAt'>): number {
  return Math.max(0, (Date.parse(endedAt) - Date.parse(startedAt)) / 1000);
}

function describeWork(record: RunRecord): string | undefined {
  if (record.subdirs.length === 0) return undefined;
  const { added, addedBytes, acceptedFailures } = record.totals;
  const work = added === 0 ? 'nothing new' : `${count(added, 'archive')} (${formatBytes(addedBytes)}) added`;
  const parts = [`${work} in ${formatSeconds(secondsOf(record))}`, describeLag(record.lagSeconds)];
  if (acceptedFailures > 0)
    parts.push(
      `${count(acceptedFailures, 'archive')} failed that ${acceptedFailures === 1 ? 'is' : 'are'} known to fail`,
    );
  return parts.filter((part) => part !== undefined).join(', ');
}

function describeError({ code, message }: NonNullable<RunRecord['error']>): string {
  return `${message} [${code}]`;
}

function describeSuccess(records: readonly RunRecord[]): string | undefined {
  const { record, runsSince } = lastSuccess(records);
  if (record !== undefined)
    return `last complete ${formatMoment(record.endedAt)}, ${count(runsSince, 'run')} ago`;
  // One run alone knows nothing of others.
  return runsSince === 1 ? undefined : `none of the last ${count(runsSince, 'run')} was complete`;
}

/** Sentences out of parts. */
function sentence(...parts: readonly (string | undefined)[]): string {
  return parts
    .filter((part): part is string => part !== undefined && part !== '')
    .map((part) => `${capitalize(part)}.`)
    .join(' ');
}
