/** What several runs say together. Records are given newest first. */
import type { PackageTotal } from '../report.js';
import { sumPackages } from './make-run-record.js';
import type { RecordedFailure, RecordedSubdir, RunRecord } from './run-record.js';

/** A subdir as the last run that came to it left it. */
export interface SubdirState {
  readonly record: RunRecord;
  readonly subdir: RecordedSubdir;
}

/** An archive that failed in the last run that came to its subdir. */
export interface OngoingFailure extends RecordedFailure {
  readonly subdir: string;
  /** Runs in a row in which it failed, the last one included; those that did not come to its subdir do not count. */
  readonly runs: number;
  /** When the first of them ended. */
  readonly since: string;
}

/** The newest run that ended as `ok`, and how many runs there were since. */
export interface LastSuccess {
  /** `undefined` where no run was one. */
  readonly record: RunRecord | undefined;
  /** All runs, where none was one. */
  readonly runsSince: number;
}

/** Each subdir by the newest run that came to it: runs may be of some subdirs only, or break off. */
export function newestSubdirs(records: readonly RunRecord[]): readonly SubdirState[] {
  const newest = new Map<string, SubdirState>();
  for (const record of records)
    for (const subdir of record.subdirs)
      if (!newest.has(subdir.subdir)) newest.set(subdir.subdir, { record, subdir });
  return [...newest.values()].sort((a, b) => (a.subdir.subdir < b.subdir.subdir ? -1 : 1));
}

/** What fails, and for how long: what nobody accepted first, then the longest standing. */
export function ongoingFailures(records: readonly RunRecord[]): readonly OngoingFailure[] {
  const ongoing: OngoingFailure[] = [];
  for (const { subdir: newest } of newestSubdirs(records)) {
    const runs = records.flatMap(({ endedAt, subdirs }) => {
      const failures = subdirs.find(({ subdir }) => subdir === newest.subdir)?.failures;
      return failures === undefined
        ? []
        : [{ endedAt, failed: new Set(failures.map(({ filename }) => filename)) }];
    });
    for (const failure of newest.failures) {
      const end = runs.findIndex(({ failed }) => !failed.has(failure.filename));
      const count = end === -1 ? runs.length : end;
      ongoing.push({
        ...failure,
        subdir: newest.subdir,
        runs: count,
        since: runs[count - 1]?.endedAt ?? '',
      });
    }
  }
  const rank = ({ accepted }: OngoingFailure): number => (accepted === true ? 1 : 0);
  return ongoing.sort((a, b) => rank(a) - rank(b) || b.runs - a.runs);
}

/** The newest run in which all went well. */
export function lastSuccess(records: readonly RunRecord[]): LastSuccess {
  const index = records.findIndex(({ outcome }) => outcome === 'ok');
  return index === -1
    ? { record: undefined, runsSince: records.length }
    : { record: records[index], runsSince: index };
}

/** What was added of each package in all these runs, largest first. */
export function largestPackages(records: readonly RunRecord[]): readonly PackageTotal[] {
  return sumPackages(records.flatMap(({ packages }) => packages));
}
