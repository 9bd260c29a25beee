import { compareText } from '../../io/compare-text.js';
import type { LockedArchive } from '../../provenance/lock-files/locked-archives.js';

/** Why a record is not wanted; of several reasons the first of this order counts. */
export type LeftOutReason =
  | 'undistributable'
  | 'excluded'
  | 'too-large'
  | 'not-locked'
  | 'not-included'
  | 'before-since'
  | 'too-young'
  | 'older-than-latest';

/** A dependency of wanted records that none of the channel's records meets, as far as they may be taken. */
export interface UnmetDependency {
  /** As the records write it, such as `libfoo >=2`. */
  readonly spec: string;
  /** File name of a record that asks for it, the first by name. */
  readonly neededBy: string;
  /** How many records ask for it in these words. */
  readonly count: number;
}

/** A locked archive that the source has with other bytes. */
export interface LockMismatch {
  readonly locked: LockedArchive;
  /** What the record tells instead, such as `sha256:…`; `undefined` where it tells no hash. */
  readonly found: string | undefined;
}

/** What is wanted of one subdir, and why the rest is not. */
export interface Selection {
  /** Tells whether a record is wanted; of a file name that no record had, it is not. */
  readonly wants: (filename: string) => boolean;
  readonly wantedCount: number;
  /** How many of the wanted are there only because others depend on them. */
  readonly dependencyCount: number;
  readonly leftOut: ReadonlyMap<LeftOutReason, number>;
  /** Some file names for each reason, at most {@link MAX_EXAMPLES}. */
  readonly examples: ReadonlyMap<LeftOutReason, readonly string[]>;
  /** When the first of the records that are too young becomes old enough, in milliseconds since 1970. */
  readonly ripensAtMs: number | undefined;
  /**
   * Records that are too young and do not say since when they are at the source: file name to when they were first seen,
   * in milliseconds since 1970. Who keeps this for the next run, and drops all else, has what `firstSeen` is to tell.
   */
  readonly waiting: ReadonlyMap<string, number>;
  /** Dependencies that nobody provides on this platform; by spec. Of `noarch` only where it is selected alone. */
  readonly unmet: readonly UnmetDependency[];
  /** Locked archives of this subdir that the source does not list. */
  readonly lockMissing: readonly LockedArchive[];
  readonly lockMismatches: readonly LockMismatch[];
}

/** So many examples are kept for each reason. */
export const MAX_EXAMPLES = 20;

/** A {@link Selection} in the making. */
export class SelectionDraft {
  readonly wanted = new Set<string>();
  readonly #leftOut = new Map<LeftOutReason, number>();
  readonly #examples = new Map<LeftOutReason, string[]>();
  readonly #waiting = new Map<string, number>();
  readonly #unmet = new Map<string, UnmetDependency>();
  #ripensAtMs: number | undefined;
  #dependencyCount = 0;

  /** Counts a record that is not wanted. */
  leaveOut(reason: LeftOutReason, filename: string): void {
    this.#leftOut.set(reason, (this.#leftOut.get(reason) ?? 0) + 1);
    const examples = this.#examples.get(reason);
    if (examples === undefined) this.#examples.set(reason, [filename]);
    else if (examples.length < MAX_EXAMPLES) examples.push(filename);
  }

  /** Takes a record after all that was left out before, because others depend on it. */
  bringIn(reason: LeftOutReason, filename: string): void {
    this.wanted.add(filename);
    this.#dependencyCount += 1;
    const count = (this.#leftOut.get(reason) ?? 0) - 1;
    const examples = this.#examples.get(reason)?.filter((example) => example !== filename) ?? [];
    if (count <= 0) {
      this.#leftOut.delete(reason);
      this.#examples.delete(reason);
    } else {
      this.#leftOut.set(reason, count);
      this.#examples.set(reason, examples);
    }
  }

  /** Remembers when a record becomes old enough. @param firstSeenMs where only we know since when it is there */
  wait(filename: string, ripensAtMs: number, firstSeenMs: number | undefined): void {
    if (firstSeenMs !== undefined) this.#waiting.set(filename, firstSeenMs);
    this.#ripensAtMs = Math.min(this.#ripensAtMs ?? ripensAtMs, ripensAtMs);
  }

  /** Notes that nobody provides what a record asks for. */
  miss(spec: string, neededBy: string): void {
    const known = this.#unmet.get(spec);
    const isFirst = known === undefined || compareText(neededBy, known.neededBy) < 0;
    this.#unmet.set(spec, {
      spec,
      neededBy: isFirst ? neededBy : known.neededBy,
      count: (known?.count ?? 0) + 1,
    });
  }

  finish(lock: Pick<Selection, 'lockMissing' | 'lockMismatches'>): Selection {
    const { wanted } = this;
    return {
      wants: (filename) => wanted.has(filename),
      wantedCount: wanted.size,
      dependencyCount: this.#dependencyCount,
      leftOut: this.#leftOut,
      examples: this.#examples,
      ripensAtMs: this.#ripensAtMs,
      waiting: this.#waiting,
      unmet: [...this.#unmet.values()].sort((a, b) => compareText(a.spec, b.spec)),
      ...lock,
    };
  }
}
