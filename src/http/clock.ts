import { setTimeout as delay } from 'node:timers/promises';

/** Time and chance, replaceable for tests and simulations. */
export interface ClockOptions {
  /** Monotonic milliseconds. @defaultValue `performance.now` */
  readonly now?: (() => number) | undefined;
  /** Waits; rejects when the signal aborts. @defaultValue a timer */
  readonly sleep?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined;
  /** From 0 up to 1. @defaultValue `Math.random` */
  readonly random?: (() => number) | undefined;
}

/** {@link ClockOptions} with nothing left open. */
export interface Clock {
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  readonly random: () => number;
}

/** Fills in the real time and chance. */
export function clockOf(options: ClockOptions): Clock {
  return {
    now: options.now ?? (() => performance.now()),
    sleep: options.sleep ?? sleep,
    random: options.random ?? Math.random,
  };
}

async function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    // The timer rejects with an error of its own.
    signal?.throwIfAborted();
    throw error;
  }
}
