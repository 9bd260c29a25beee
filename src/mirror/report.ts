import type { FerryErrorCode } from '../errors.js';
import type { Refused, SubdirPlan } from './plan.js';

/** An archive that could not be mirrored. */
export interface Failure {
  readonly filename: string;
  readonly code: FerryErrorCode;
  readonly message: string;
}

/**
 * What is published of a subdir. `unchanged`: the source's bytes; `spliced`: records out of them; `kept`: nothing was
 * written, all was as it should be; `nothing`: the source has no such subdir.
 */
export type PublishedAs = 'unchanged' | 'spliced' | 'kept' | 'nothing';

/** What a run did in one subdir. Bytes count archives. */
export interface SubdirReport {
  readonly subdir: string;
  readonly publishedAs: PublishedAs;
  /** Records the source lists; `undefined` where it has no such subdir. */
  readonly listed: number | undefined;
  /** Archives that were there before. */
  readonly there: number;
  readonly added: number;
  readonly addedBytes: number;
  /** Artifacts they went into; twins share one. */
  readonly artifacts: number;
  readonly failed: readonly Failure[];
  readonly withheld: readonly Refused[];
  /** Archives kept though the source no longer lists them. */
  readonly kept: number;
  readonly warnings: readonly string[];
}

/** What a run did. */
export interface MirrorReport {
  readonly source: string;
  readonly destination: string;
  readonly schema: string;
  readonly subdirs: readonly SubdirReport[];
}

/** What a run would do. */
export interface MirrorPlan {
  readonly source: string;
  readonly destination: string;
  readonly schema: string;
  readonly subdirs: readonly PlannedSubdir[];
}

/** The plan of one subdir, or that there is nothing to do, or that only quarantined archives are tried again. */
export type PlannedSubdir =
  | { readonly subdir: string; readonly status: 'current' | 'absent' }
  | { readonly subdir: string; readonly status: 'retry'; readonly quarantined: readonly string[] }
  | { readonly subdir: string; readonly status: 'planned'; readonly plan: SubdirPlan };

/** Hears what a run does while it does it. All methods may be missing. */
export interface MirrorReporter {
  /** All subdirs are planned; so many archives of so many bytes are to move. */
  planned?(total: { readonly archives: number; readonly bytes: number }): void;
  /** An archive is done with, well or badly. */
  archive?(archive: {
    readonly subdir: string;
    readonly filename: string;
    readonly bytes: number;
    readonly failure?: Failure;
  }): void;
  warning?(message: string): void;
  /** A subdir was published. */
  published?(subdir: string, as: PublishedAs): void;
}
