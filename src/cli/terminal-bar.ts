import { SingleBar } from 'cli-progress';
import { setFoot, type Output } from './output.js';

/** A progress bar at the foot of a terminal. What is said while it stands there goes above it. */
export class TerminalBar {
  readonly #output: Output;
  readonly #bar: SingleBar;
  #state: { total: number; value: number; payload: object } | undefined;

  /** @param format as cli-progress has it, such as `{bar} {value}/{total} checked` */
  constructor(output: Output, format: string) {
    this.#output = output;
    this.#bar = new SingleBar({
      format,
      stream: output.stderr,
      clearOnComplete: true,
      hideCursor: true,
      barsize: 24,
    });
  }

  /** Shows the bar with nothing done yet, or makes it longer where it stands already; `0` shows nothing. */
  start(total: number, payload: object = {}): void {
    if (this.#state !== undefined) {
      this.#state.total = total;
      this.#bar.setTotal(total);
    } else if (total > 0) {
      this.#state = { total, value: 0, payload };
      this.#bar.start(total, 0, payload);
      // The bar goes back to where it began when it ends: lines in between would be drawn over.
      setFoot(this.#output, {
        hide: () => {
          this.#bar.stop();
        },
        show: () => {
          this.#show();
        },
      });
    }
  }

  /** One more is done with. */
  step(payload: object = {}): void {
    if (this.#state === undefined) return;
    this.#state.value += 1;
    this.#state.payload = payload;
    this.#bar.increment(1, payload);
  }

  /** Takes the bar away. */
  stop(): void {
    if (this.#state === undefined) return;
    this.#state = undefined;
    setFoot(this.#output, undefined);
    this.#bar.stop();
  }

  #show(): void {
    if (this.#state === undefined) return;
    const { total, value, payload } = this.#state;
    this.#bar.start(total, value, payload);
  }
}
