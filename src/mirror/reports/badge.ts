import { formatMoment } from '../../io/figures.js';
import type { Outcome, RunRecord } from './run-record.js';

/** What shields.io's endpoint badge reads. @see https://shields.io/badges/endpoint-badge */
export interface Badge {
  readonly schemaVersion: 1;
  readonly label: string;
  readonly message: string;
  readonly color: string;
  /** Whether the colour is not to be overridden. */
  readonly isError: boolean;
}

const COLORS: Readonly<Record<Outcome, string>> = {
  ok: 'brightgreen',
  failures: 'yellow',
  interrupted: 'orange',
  failed: 'red',
};

/**
 * Makes the badge of a mirror: `mirror | 2026-05-01 12:00 UTC`. It always tells the time, since a mirror that is not run
 * any more says nothing else of itself.
 */
export function makeBadge({ outcome, endedAt, totals }: RunRecord): Badge {
  const unknown = totals.failed - totals.acceptedFailures;
  const notes: Readonly<Record<Outcome, string>> = {
    ok: '',
    failures: `, ${String(unknown)} failed`,
    interrupted: ', interrupted',
    failed: ', failed',
  };
  return {
    schemaVersion: 1,
    label: 'mirror',
    message: `${formatMoment(endedAt)}${notes[outcome]}`,
    color: COLORS[outcome],
    isError: outcome === 'failed',
  };
}
