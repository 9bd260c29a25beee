import { quietSignal } from '../io/quiet-signal.js';

/** What {@link StopGrace} is told. */
export interface StopGraceOptions {
  /** Ends a run in order. */
  readonly stop?: AbortSignal | undefined;
  readonly stopGraceMs: number;
  /** Ends a run at once. */
  readonly signal?: AbortSignal | undefined;
}

/** The time that is left for what is under way when a run is asked to stop: its signal aborts when that is over. */
export class StopGrace implements AsyncDisposable {
  readonly signal: AbortSignal;
  readonly #own = new AbortController();
  readonly #hard: AbortSignal | undefined;
  readonly #stop: AbortSignal | undefined;
  readonly #begin: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor({ stop, stopGraceMs, signal }: StopGraceOptions) {
    this.#hard = signal;
    this.#stop = stop;
    this.signal = quietSignal(
      signal === undefined ? this.#own.signal : AbortSignal.any([signal, this.#own.signal]),
    );
    this.#begin = () => {
      this.#timer ??= setTimeout(() => {
        this.#own.abort(stop?.reason);
      }, stopGraceMs);
    };
    if (stop?.aborted === true) this.#begin();
    else stop?.addEventListener('abort', this.#begin, { once: true });
  }

  /** Whether the time is over, and nothing else ended the run. */
  get isOver(): boolean {
    return this.#own.signal.aborted && this.#hard?.aborted !== true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop?.removeEventListener('abort', this.#begin);
    clearTimeout(this.#timer);
    return Promise.resolve();
  }
}
