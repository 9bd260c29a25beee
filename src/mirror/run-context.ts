import type { ChannelStore } from '../artifact/channel-store.js';
import type { CheckpointOptions } from './checkpoints.js';
import type { Executor } from './executor.js';
import type { MirrorReporter } from './report.js';
import type { PrepareAllOptions } from './prepare.js';

/** What a run has at hand. */
export interface RunContext extends PrepareAllOptions, CheckpointOptions {
  readonly now: () => Date;
  /** Who carries the archives. @defaultValue this process */
  readonly executor?: Executor | undefined;
  readonly reporter: MirrorReporter;
  /** The source, where it is in the destination's registry, so that blobs can be mounted. */
  readonly mountSource: ChannelStore | undefined;
  /** Whether the uncompressed repodata is published too. */
  readonly plainJson: boolean;
  /** Whether repositories are made that today's clients ask for in vain. */
  readonly clientShims: boolean;
  /** Whether only a part of what is wanted is to be done this time. */
  readonly isPartial: boolean;
  /** Ends the run in order: what is under way is finished and published. */
  readonly stop?: AbortSignal | undefined;
  /** How long what is under way may take after that, in milliseconds. */
  readonly stopGraceMs: number;
}
