import type { CheckpointOptions } from './checkpoints.js';
import type { MirrorReporter } from './report.js';
import type { PrepareAllOptions } from './prepare.js';

/** What a run has at hand. */
export interface RunContext extends PrepareAllOptions, CheckpointOptions {
  readonly now: () => Date;
  readonly reporter: MirrorReporter;
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
