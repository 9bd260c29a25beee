import type { FerryErrorCode } from '../../errors.js';
import type { Finding } from './findings.js';

/**
 * How closely an audit looks. `manifests`: the manifest of each artifact; `full`: that each blob is there as well;
 * `deep`: all bytes.
 */
export type VerifyDepth = 'manifests' | 'full' | 'deep';

/** What a repair could not bring back, with why. */
export interface Unrepaired {
  readonly filename: string;
  readonly code: FerryErrorCode;
  readonly message: string;
}

/** What an audit came to in one subdir. */
export interface SubdirAudit {
  readonly subdir: string;
  /** Records that the published repodata lists. */
  readonly listed: number;
  /** Archives that were looked at: fewer than are listed where a sample was taken. */
  readonly checked: number;
  /** Artifacts they are in; twins share one. Of ordinary channels as {@link checked}. */
  readonly artifacts: number;
  /** What is wrong now, after a repair if there was one, and what is worth knowing. */
  readonly findings: readonly Finding[];
  /** What was wrong and is no longer. */
  readonly repaired: readonly Finding[];
  /** What the repair could not have. */
  readonly unrepaired: readonly Unrepaired[];
  /** File names that are no longer listed, since they are not to be had. */
  readonly dropped: readonly string[];
}

/** What an audit came to. */
export interface VerifyReport {
  readonly channel: string;
  /** `undefined` for ordinary channels. */
  readonly schema: string | undefined;
  /** The source it was compared with. */
  readonly against: string | undefined;
  readonly depth: VerifyDepth;
  readonly sample: VerifySample | undefined;
  readonly subdirs: readonly SubdirAudit[];
  /** Of the channel's own files, and of whole subdirs. */
  readonly findings: readonly Finding[];
}

/** Only so many artifacts of each subdir, chosen at random; the same seed chooses the same. */
export interface VerifySample {
  readonly size: number;
  readonly seed: string;
}

/** Hears what an audit does while it does it. All methods may be missing. */
export interface VerifyReporter {
  /** So many artifacts are to be looked at, as far as is known by now. */
  planned?(artifacts: number): void;
  /** One of them was. */
  checked?(): void;
  /** So many artifacts of the subdir are to be written again, out of that source. */
  repairing?(subdir: string, artifacts: number, source: string): void;
  /** A subdir is done with. */
  done?(audit: SubdirAudit): void;
}

/** Tells whether all is well: notes do not count. */
export function isWell(report: VerifyReport): boolean {
  return faultsOf(report).length === 0;
}

/** All faults that are left. */
export function faultsOf(report: VerifyReport): readonly Finding[] {
  return [...report.findings, ...report.subdirs.flatMap(({ findings }) => findings)].filter(
    ({ severity }) => severity === 'fault',
  );
}
