import type { SharedState } from '#ferry/io/shared-state.js';

/** A state in memory, for limiters of one process that stand for several. */
export interface SharedMemory extends SharedState {
  /** What is kept. */
  readonly text: string | undefined;
  /** Changes so far, those that left all as it was included. */
  readonly updates: number;
  /** From now on changes fail with this error; `undefined`: no more. */
  fail(error: Error | undefined): void;
}

/** Options of {@link createSharedMemory}. */
export interface SharedMemoryOptions {
  /** The clock that all share, in ms. */
  readonly now: () => number;
  /** Waits for as long as a way to the state takes, each way. @defaultValue nothing */
  readonly travel?: (() => Promise<void>) | undefined;
}

/** Keeps a text in memory. */
export function createSharedMemory({ now, travel }: SharedMemoryOptions): SharedMemory {
  let text: string | undefined;
  let updates = 0;
  let failure: Error | undefined;
  return {
    get text() {
      return text;
    },
    get updates() {
      return updates;
    },
    fail: (error) => {
      failure = error;
    },
    update: async (change, signal) => {
      signal?.throwIfAborted();
      await travel?.();
      if (failure !== undefined) throw failure;
      const { next, result } = change(text, now());
      text = next ?? text;
      updates += 1;
      await travel?.();
      return result;
    },
  };
}
