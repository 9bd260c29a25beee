/** The first checkpoint of a subdir comes after so long. */
const FIRST_AFTER_MS = 10 * 60 * 1000;
/** Each waits this much longer than the one before: what a kill loses grows with what is done already. */
const GROWTH = 2;
const LONGEST_MS = 4 * 60 * 60 * 1000;

/** What {@link Checkpoints} are told. */
export interface CheckpointOptions {
  /** Time before the first one, in milliseconds; doubles each time. @defaultValue ten minutes */
  readonly checkpointMs?: number | undefined;
  readonly now: () => Date;
}

/** Publishes what is there from time to time while a long run lasts, at growing intervals. */
export class Checkpoints {
  readonly #publish: () => Promise<void>;
  readonly #now: () => Date;
  #intervalMs: number;
  #lastMs: number;
  #isPublishing = false;

  constructor(publish: () => Promise<void>, options: CheckpointOptions) {
    this.#publish = publish;
    this.#now = options.now;
    this.#intervalMs = options.checkpointMs ?? FIRST_AFTER_MS;
    this.#lastMs = this.#now().getTime();
  }

  /** To be called when something is done; publishes if it is time. Other work goes on meanwhile. */
  async afterItem(): Promise<void> {
    if (this.#isPublishing || this.#now().getTime() - this.#lastMs < this.#intervalMs) return;
    this.#isPublishing = true;
    try {
      await this.#publish();
    } finally {
      this.#isPublishing = false;
      this.#intervalMs = Math.min(LONGEST_MS, this.#intervalMs * GROWTH);
      this.#lastMs = this.#now().getTime();
    }
  }
}
