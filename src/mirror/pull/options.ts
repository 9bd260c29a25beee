import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import type { FerryError } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import type { LockedArchives } from '../../provenance/lock-files/locked-archives.js';
import type { MirrorReporter } from '../report.js';
import type { PullStatus } from './fetch-archive.js';

/** Options of `pullArchives`. */
export interface PullOptions {
  readonly channel: ChannelSource;
  /** Match specs, file names or sha256 digests. */
  readonly specs: readonly string[];
  /** What lock files want, as far as it is of the `subdirs`. */
  readonly lock?: LockedArchives | undefined;
  /** Folder for the archives; made if absent. */
  readonly folder: string;
  readonly subdirs?: readonly string[] | undefined;
  /** Archives under way at once. @defaultValue 8 */
  readonly concurrency?: number | undefined;
  /** Whether to unpack each archive beside it, as in a package cache of conda. @defaultValue false */
  readonly extract?: boolean | undefined;
  /**
   * URL of the channel that the records of unpacked packages name, such as `https://conda.anaconda.org/conda-forge`.
   * @defaultValue what the lock file says, else the channel's own
   */
  readonly channelUrl?: string | undefined;
  readonly workers: WorkerPool;
  /** Hears of each archive as it is done with, in whatever order that is. */
  readonly reporter?: Pick<MirrorReporter, 'planned' | 'archive'> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An archive that is in the folder, its digest checked. */
export interface PulledArchive {
  readonly subdir: string;
  readonly filename: string;
  readonly path: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
  /** Whether it was there already, was gone on with where an earlier pull broke off, or was fetched whole. */
  readonly status: PullStatus;
  /** Where it is unpacked, if that was asked for. */
  readonly unpacked?: string | undefined;
}

/** An archive that could not be pulled; the others are. */
export interface PullFailure {
  readonly subdir: string;
  readonly filename: string;
  readonly error: FerryError;
}
