import { setImmediate as tick } from 'node:timers/promises';
import type { Clock } from '#ferry/http/clock.js';

interface Timer {
  readonly at: number;
  readonly go: () => void;
}

/** Time that passes only when the test says so. */
export interface VirtualClock extends Clock {
  /** Timers that are set. */
  readonly timers: readonly Timer[];
  /** Lets time pass, from timer to timer, and what follows from each happen. */
  advance(ms: number): Promise<void>;
  /** Lets time pass from timer to timer until `promise` is settled. */
  run<T>(promise: Promise<T>): Promise<T>;
}

/** Makes a clock that stands at `start`, in ms; chance is always `chance`. */
export function createVirtualClock({ start = 1000, chance = 0.5 } = {}): VirtualClock {
  let now = start;
  let timers: Timer[] = [];
  const next = (): Timer | undefined => timers.reduce<Timer | undefined>(earlier, undefined);
  const fire = async (timer: Timer): Promise<void> => {
    timers = timers.filter((other) => other !== timer);
    now = Math.max(now, timer.at);
    timer.go();
    await tick();
  };
  return {
    now: () => now,
    random: () => chance,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const timer = { at: now + ms, go: resolve };
        timers.push(timer);
        signal?.addEventListener('abort', () => {
          timers = timers.filter((other) => other !== timer);
          reject(signal.reason as Error);
        });
      }),
    get timers() {
      return timers;
    },
    advance: async (ms) => {
      const until = now + ms;
      await tick();
      for (let timer = next(); timer !== undefined && timer.at <= until; timer = next()) await fire(timer);
      now = until;
    },
    run: async (promise) => {
      const state = { isSettled: false };
      const note = (): void => {
        state.isSettled = true;
      };
      promise.then(note, note);
      await tick();
      while (!state.isSettled) {
        const timer = next();
        // Nothing to wait for but sockets.
        if (timer === undefined) await tick();
        else await fire(timer);
      }
      return promise;
    },
  };
}

function earlier(a: Timer | undefined, b: Timer): Timer {
  return a === undefined || b.at < a.at ? b : a;
}
