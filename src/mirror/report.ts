import type { FerryErrorCode } from '../errors.js';
import type { Digest } from '../io/digest.js';
import type { SubdirPlan } from './plan.js';
import type { RequestEstimate } from './request-estimate.js';
import type { Refused } from './wanted-records.js';

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

/** Archives of one package, and their bytes. */
export interface PackageTotal {
  readonly name: string;
  readonly archives: number;
  readonly bytes: number;
}

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
  /** Of the added ones, those whose bytes took the place of others under the same name: the source replaced them. */
  readonly replaced: readonly string[];
  /** Archives that were there and made room for their twins, where the schema holds one archive of a build. */
  readonly displaced: readonly string[];
  /** What was added of each package, largest first. */
  readonly packages: readonly PackageTotal[];
  readonly failed: readonly Failure[];
  readonly withheld: readonly Refused[];
  /** Archives kept though they are not wanted any more. */
  readonly kept: number;
  /** Records that were listed and that the source lists no more. */
  readonly gone: number;
  /** Artifacts that an interrupted run did not come to. */
  readonly untried: number;
  /** Records that filters left out, by why. */
  readonly leftOut: Readonly<Record<string, number>>;
  /** When the source changed its repodata last, as it says: ISO 8601, in UTC. */
  readonly sourceChangedAt?: string | undefined;
  readonly warnings: readonly string[];
}

/** What a run did. */
export interface MirrorReport {
  readonly source: string;
  readonly destination: string;
  readonly schema: string;
  /** Whether both ends are in one registry, which takes blobs over where it can, so that archives need not move. */
  readonly mounts?: boolean | undefined;
  /** ISO 8601, in UTC. */
  readonly startedAt: string;
  readonly endedAt: string;
  /** Whether it was asked to stop before all was done; what was done is published. */
  readonly isInterrupted: boolean;
  readonly subdirs: readonly SubdirReport[];
}

/** What a run would do. */
export interface MirrorPlan {
  readonly source: string;
  readonly destination: string;
  readonly schema: string;
  /** As in a {@link MirrorReport}. */
  readonly mounts?: boolean | undefined;
  /** Digest of what decides which records are wanted. */
  readonly filters: Digest;
  readonly subdirs: readonly PlannedSubdir[];
  /** For the channel as a whole, beside those of its subdirs. */
  readonly requests: RequestEstimate;
}

/** The plan of one subdir, or that there is nothing to do, or that only quarantined archives are tried again. */
export type PlannedSubdir = { readonly subdir: string; readonly requests: RequestEstimate } & (
  | { readonly status: 'current' | 'absent' }
  | { readonly status: 'retry'; readonly quarantined: readonly string[] }
  | {
      readonly status: 'planned';
      readonly plan: SubdirPlan;
      /** Manifest that the repodata's `latest` names. */
      readonly latest: Digest | undefined;
      /** Records that are listed and that the source lists no more. */
      readonly gone: readonly string[];
      /** Records that filters leave out, by why. */
      readonly leftOut: Readonly<Record<string, number>>;
      readonly warnings: readonly string[];
    }
);

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

/** The field of a report that tells when the source changed, from what its server said. */
export function changedAt(lastModified: string | undefined): Pick<SubdirReport, 'sourceChangedAt'> {
  const ms = lastModified === undefined ? Number.NaN : Date.parse(lastModified);
  return Number.isNaN(ms) ? {} : { sourceChangedAt: new Date(ms).toISOString() };
}
