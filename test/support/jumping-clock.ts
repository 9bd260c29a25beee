import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '#ferry/http/clock.js';
import { mulberry32 } from './double/faults.js';

/** Turns of the event loop in which connections of this process get on before time is moved. */
const TURNS = 4;

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/** Time that nobody waits for, and chance that is the same for the same seed. */
export interface JumpingClock extends Clock {
  /** All that was slept, in ms of this clock, one after the other or at once. */
  readonly sleptMs: number;
}

/**
 * A clock that runs as the real one does (or, with `runs: false`, stands still between pauses), and jumps to the next end of a pause whenever there is one. Pauses at the
 * same time are at the same time here too, so that what depends on their order and length stays what it is.
 */
export function jumpingClock(seed = 1, options: { readonly runs?: boolean } = {}): JumpingClock {
  const sleepers: Sleeper[] = [];
  const random = mulberry32(seed);
  let skippedMs = 0;
  let sleptMs = 0;
  let isMoving = false;
  const { runs = true } = options;
  const now = (): number => (runs ? performance.now() : 0) + skippedMs;

  const move = async (): Promise<void> => {
    isMoving = true;
    while (sleepers.length > 0) {
      for (let i = 0; i < TURNS; i += 1) await turn();
      sleepers.sort((a, b) => a.at - b.at);
      const next = sleepers[0];
      if (next === undefined) break;
      skippedMs += Math.max(0, next.at - now());
      while (sleepers[0] !== undefined && sleepers[0].at <= now()) sleepers.shift()?.wake();
    }
    isMoving = false;
  };

  return {
    now,
    random,
    get sleptMs() {
      return sleptMs;
    },
    sleep: (ms, signal) => {
      signal?.throwIfAborted();
      sleptMs += ms;
      return new Promise<void>((resolve, reject) => {
        const abort = (): void => {
          const place = sleepers.indexOf(sleeper);
          if (place !== -1) sleepers.splice(place, 1);
          reject(signal?.reason as Error);
        };
        const sleeper: Sleeper = {
          at: now() + ms,
          wake: () => {
            signal?.removeEventListener('abort', abort);
            resolve();
          },
        };
        signal?.addEventListener('abort', abort, { once: true });
        sleepers.push(sleeper);
        if (!isMoving) void move();
      });
    },
  };
}
