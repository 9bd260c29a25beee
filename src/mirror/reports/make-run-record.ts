import { isFerryError, messageOf } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { redactText } from '../../io/redact.js';
import { visibleText } from '../../io/visible-text.js';
import { unknownFailures, type FailureList } from '../failure-list.js';
import type { MirrorReport, PackageTotal, SubdirReport } from '../report.js';
import type { Outcome, RecordedSubdir, RunRecord, RunTotals } from './run-record.js';

/** Packages that a record names; what was added of the others is one sum. */
const MAX_PACKAGES = 100;
/** Failures that a record names, of each subdir: a source that is down would fill the disk otherwise. */
const MAX_FAILURES = 1000;
const MAX_WARNINGS = 100;
/** Characters of a message; a registry may answer with a page. */
const MAX_MESSAGE = 500;

/** What is known of a run. */
export interface RunFacts {
  /** As it may be shown, for a run without a report. */
  readonly source: string;
  readonly destination: string;
  /** Such as `v0`. */
  readonly schema: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  /** What it did; `undefined` where it threw. */
  readonly report?: MirrorReport | undefined;
  /** What it threw, maybe after its report was made. */
  readonly error?: unknown;
  /** Whether it was asked to stop. */
  readonly isStopped?: boolean | undefined;
  /** Archives that are known to fail, as `--accept` lists them. @defaultValue none */
  readonly accepted?: FailureList | undefined;
  /** Requests sent, by side. */
  readonly requests?: { readonly source: number; readonly destination: number } | undefined;
  readonly toolVersion?: string | undefined;
  /** What the program knows to do about an error of that code. */
  readonly hintOf?: ((code: string) => string | undefined) | undefined;
}

/** Makes the record of a run that has ended, in whatever way. */
export function makeRunRecord(facts: RunFacts): RunRecord {
  const { report, accepted = new Set() } = facts;
  const outcome = outcomeOf(facts);
  const endedAt = report?.endedAt ?? facts.endedAt.toISOString();
  const subdirs = (report?.subdirs ?? []).map((subdir) => recordSubdir(subdir, accepted, endedAt));
  const lagSeconds = outcome === 'ok' ? lagOfAll(subdirs) : undefined;
  return {
    report_version: 1,
    ...(facts.toolVersion === undefined ? {} : { toolVersion: facts.toolVersion }),
    source: redactText(report?.source ?? facts.source),
    destination: redactText(report?.destination ?? facts.destination),
    schema: report?.schema ?? facts.schema,
    startedAt: report?.startedAt ?? facts.startedAt.toISOString(),
    endedAt,
    outcome,
    isInterrupted: outcome === 'interrupted',
    ...errorOf(facts),
    ...(facts.requests === undefined ? {} : { requests: { ...facts.requests } }),
    ...(lagSeconds === undefined ? {} : { lagSeconds }),
    totals: totalsOf(subdirs),
    ...recordPackages(report?.subdirs ?? []),
    subdirs,
  };
}

function outcomeOf({ report, error, isStopped, accepted = new Set() }: RunFacts): Outcome {
  // An interrupted run ends as one, whatever broke while it stopped.
  if (error !== undefined || report === undefined) return isStopped === true ? 'interrupted' : 'failed';
  if (report.isInterrupted) return 'interrupted';
  return unknownFailures(report.subdirs, accepted) > 0 ? 'failures' : 'ok';
}

function errorOf({ error, hintOf, isStopped }: RunFacts): Pick<RunRecord, 'error'> {
  // What an interruption throws is its own reason, and no fault.
  if (error === undefined || (isStopped === true && !isFerryError(error))) return {};
  if (!isFerryError(error)) {
    const code = systemCode(error) ?? 'INTERNAL';
    return { error: { code, message: short(error instanceof Error ? error.message : 'no error was given') } };
  }
  const hint = hintOf?.(error.code) ?? error.hint;
  return {
    error: {
      code: error.code,
      message: short(messageOf(error)),
      ...(hint === undefined ? {} : { hint: short(hint) }),
    },
  };
}

/** Such as `EACCES`. */
function systemCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

function recordSubdir(subdir: SubdirReport, accepted: FailureList, endedAt: string): RecordedSubdir {
  const { failed, withheld, listed, warnings } = subdir;
  // A server may claim a year that ISO 8601 has no plain form for.
  const sourceChangedAt = /^\d{4}-/.test(subdir.sourceChangedAt ?? '') ? subdir.sourceChangedAt : undefined;
  const unknown = unknownFailures([subdir], accepted);
  const isAccepted = (filename: string): boolean => accepted.has(`${subdir.subdir}/${filename}`);
  // Those that nobody knows of come first, and are named before all others.
  const failures = failed
    .map(({ filename, code, message }) => ({
      filename: visibleText(filename, MAX_MESSAGE),
      code,
      message: short(message),
      ...(isAccepted(filename) ? { accepted: true } : {}),
    }))
    .toSorted((a, b) => Number(a.accepted ?? false) - Number(b.accepted ?? false));
  const lagSeconds = lagOf({ ...subdir, sourceChangedAt }, unknown, endedAt);
  return {
    subdir: subdir.subdir,
    publishedAs: subdir.publishedAs,
    ...(listed === undefined ? {} : { listed }),
    there: subdir.there,
    added: subdir.added,
    addedBytes: subdir.addedBytes,
    artifacts: subdir.artifacts,
    kept: subdir.kept,
    gone: subdir.gone,
    untried: subdir.untried,
    failed: failed.length,
    unknownFailures: unknown,
    failures: failures.slice(0, MAX_FAILURES),
    withheld: withheld.length,
    withheldByCode: countBy(withheld.map(({ code }) => code)),
    leftOut: { ...subdir.leftOut },
    ...(sourceChangedAt === undefined ? {} : { sourceChangedAt }),
    ...(lagSeconds === undefined ? {} : { lagSeconds }),
    warnings: warnings.slice(0, MAX_WARNINGS).map(short),
  };
}

/**
 * Seconds that a subdir is behind its source. 0 where the run found that nothing had changed there; where it published a
 * change, the time from that change until now. Not known where something is still missing that nobody accepted to miss,
 * or where the source does not say when it changed.
 */
function lagOf(
  { publishedAs, sourceChangedAt, untried }: SubdirReport,
  unknown: number,
  endedAt: string,
): number | undefined {
  if (publishedAs === 'nothing' || untried > 0 || unknown > 0) return undefined;
  if (publishedAs === 'kept') return 0;
  if (sourceChangedAt === undefined) return undefined;
  // Clocks differ.
  return Math.max(0, Math.round((Date.parse(endedAt) - Date.parse(sourceChangedAt)) / 1000));
}

/** The largest lag, where that of all subdirs is known. */
function lagOfAll(subdirs: readonly RecordedSubdir[]): number | undefined {
  const lags = subdirs.filter(({ publishedAs }) => publishedAs !== 'nothing').map((one) => one.lagSeconds);
  if (lags.length === 0 || lags.includes(undefined)) return undefined;
  return Math.max(...lags.map((lag) => lag ?? 0));
}

function totalsOf(subdirs: readonly RecordedSubdir[]): RunTotals {
  const total = (of: (subdir: RecordedSubdir) => number): number =>
    subdirs.reduce((sum, subdir) => sum + of(subdir), 0);
  return {
    listed: total(({ listed }) => listed ?? 0),
    there: total(({ there }) => there),
    added: total(({ added }) => added),
    addedBytes: total(({ addedBytes }) => addedBytes),
    artifacts: total(({ artifacts }) => artifacts),
    kept: total(({ kept }) => kept),
    gone: total(({ gone }) => gone),
    untried: total(({ untried }) => untried),
    failed: total(({ failed }) => failed),
    acceptedFailures: total(({ failed, unknownFailures: unknown }) => failed - unknown),
    withheld: total(({ withheld }) => withheld),
    leftOut: total(({ leftOut }) => Object.values(leftOut).reduce((sum, part) => sum + part, 0)),
  };
}

function recordPackages(subdirs: readonly SubdirReport[]): Pick<RunRecord, 'packages' | 'otherPackages'> {
  const all = sumPackages(subdirs.flatMap(({ packages }) => packages));
  const others = all.slice(MAX_PACKAGES);
  return {
    packages: all.slice(0, MAX_PACKAGES).map((total) => ({ ...total })),
    otherPackages: {
      packages: others.length,
      archives: others.reduce((sum, { archives }) => sum + archives, 0),
      bytes: others.reduce((sum, { bytes }) => sum + bytes, 0),
    },
  };
}

/** Sums archives and bytes by package, largest first. */
export function sumPackages(totals: readonly PackageTotal[]): PackageTotal[] {
  const sums = new Map<string, PackageTotal>();
  for (const { name, archives, bytes } of totals) {
    const before = sums.get(name);
    sums.set(name, {
      name,
      archives: (before?.archives ?? 0) + archives,
      bytes: (before?.bytes ?? 0) + bytes,
    });
  }
  return [...sums.values()].sort((a, b) => b.bytes - a.bytes || compareText(a.name, b.name));
}

function countBy(keys: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a], [b]) => compareText(a, b)));
}

/** Of messages the start says most; what others wrote into them may hold URLs. */
function short(text: string): string {
  return visibleText(redactText(text), MAX_MESSAGE);
}
