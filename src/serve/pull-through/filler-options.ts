import type { ChannelStore } from '../../artifact/channel-store.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import type { FerryError, FerryErrorCode } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import type { MirrorOptions } from '../../mirror/mirror.js';
import type { Content } from '../content.js';
import type { FillableArchive } from './fill-list.js';

/** Time and chance of a store filler. */
export interface FillerClock {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Waits; rejects when the signal aborts. */
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  /** From 0 up to 1. */
  readonly random: () => number;
}

/** Why an archive cannot be mirrored. */
export interface Refusal {
  readonly code: FerryErrorCode;
  readonly message: string;
}

/** Hears what a store filler does. All methods may be missing. */
export interface FillerReporter {
  /** A run has put archives into the store. */
  filled?(run: {
    readonly subdirs: readonly string[];
    readonly archives: number;
    /** Of archives. */
    readonly bytes: number;
  }): void;
  /** A run failed; what it was to put waits. */
  runFailed?(run: {
    readonly subdirs: readonly string[];
    readonly error: FerryError;
    readonly retryInMs: number;
  }): void;
  /** An archive cannot be mirrored; it is not tried again for an hour. */
  refused?(archive: FillableArchive, why: Refusal): void;
  /** Somebody else's run has not ended in a subdir; it is waited for. */
  waitsForRun?(subdir: string, startedAt: string): void;
  /** So many of the archives that waited longest were forgotten; they are put when they are asked for again. */
  forgot?(count: number): void;
  warning?(message: string): void;
}

/** What a store filler works with. */
export interface StoreFillerOptions extends Pick<
  MirrorOptions,
  'concurrency' | 'lockFolder' | 'keepGenerations' | 'tempDir' | 'tempLimitBytes'
> {
  readonly upstream: ChannelSource;
  /** Of its own: what others read through the same object would be taken for what a run has read. */
  readonly store: ChannelStore;
  /** Content that the gateway has at hand: what was served need not be fetched again. */
  readonly content: (digest: Digest) => Promise<Content | undefined>;
  /** Worker threads to share with others. @defaultValue some of its own, which end with it */
  readonly workers?: WorkerPool | undefined;
  /** A run begins when nothing came for so long, in milliseconds. @defaultValue 5,000 */
  readonly quietMs?: number | undefined;
  /** And at most so long after the first archive, in milliseconds. @defaultValue 30,000 */
  readonly maxDelayMs?: number | undefined;
  /** Archives in one run. @defaultValue 200 */
  readonly maxBatch?: number | undefined;
  /** Archives that may wait. @defaultValue 10,000 */
  readonly maxWaiting?: number | undefined;
  /** How long what is under way may take when the filler is to stop, in milliseconds. @defaultValue 5,000 */
  readonly stopGraceMs?: number | undefined;
  readonly reporter?: FillerReporter | undefined;
  /** For tests. @defaultValue real time and chance */
  readonly clock?: FillerClock | undefined;
  /** Of ledgers and history tags, for tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
}

/** Figures of a store filler, counted since it was made. */
export interface FillerStats {
  /** Archives that wait now. */
  readonly waiting: number;
  /** Archives that were put into the store. */
  readonly put: number;
  /** Archives that could not be mirrored. */
  readonly failed: number;
  /** Runs that failed. */
  readonly failedRuns: number;
  /** Archives that were forgotten because too many waited. */
  readonly forgotten: number;
}
