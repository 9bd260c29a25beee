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
  #count = 0;
  /** Items since the last one. */
  #items = 0;

  constructor(publish: () => Promise<void>, options: CheckpointOptions) {
    this.#publish = publish;
    this.#now = options.now;
    this.#intervalMs = options.checkpointMs ?? FIRST_AFTER_MS;
    this.#lastMs = this.#now().getTime();
  }

  /** To be called when something is done; publishes if it is time. Other work goes on meanwhile. */
  async afterItem(): Promise<void> {
    this.#items += 1;
    if (this.#isPublishing || this.#now().getTime() - this.#lastMs < this.#intervalMs) return;
    await this.#take();
  }

  /**
   * To be called when all is done. A run that lasted for long may do so for long elsewhere: what it came to here since the last
   * checkpoint is published now.
   */
  async atEnd(): Promise<void> {
    if (this.#count > 0 && this.#items > 0) await this.#take();
  }

  async #take(): Promise<void> {
    this.#isPublishing = true;
    this.#items = 0;
    try {
      await this.#publish();
      this.#count += 1;
    } finally {
      this.#isPublishing = false;
      this.#intervalMs = Math.min(LONGEST_MS, this.#intervalMs * GROWTH);
      this.#lastMs = this.#now().getTime();
    }
  }
}
