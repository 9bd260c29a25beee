/**
 * Time that nobody waits for: it jumps from one end of a pause to the next, in their order. Chance comes from a seed, so
 * that the same simulation gives the same numbers.
 */
import { nextTick } from 'node:process';

/**
 * A pause; one that was given up stays where it is, and counts as none.
 * @typedef {{ at: number, order: number, isOver: boolean, wake: () => void }} Pause
 */

/** Random numbers from a seed, the same everywhere. @param {number} seed */
export function chanceOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A clock as the limiter takes one, in virtual milliseconds since 1970. */
export class SimulatedClock {
  /** @readonly @type {Pause[]} */
  #heap = [];
  #order = 0;
  #now;
  /** @type {() => number} */
  random;

  /** @param {{ startMs?: number, seed?: number }} [options] */
  constructor({ startMs = 0, seed = 1 } = {}) {
    this.#now = startMs;
    this.random = chanceOf(seed);
  }

  now = () => this.#now;

  /**
   * @param {number} ms
   * @param {AbortSignal} [signal]
   * @returns {Promise<void>}
   */
  sleep = (ms, signal) =>
    new Promise((resolve, reject) => {
      const pause = {
        at: this.#now + Math.max(0, ms),
        order: (this.#order += 1),
        isOver: false,
        wake: resolve,
      };
      this.#push(pause);
      signal?.addEventListener(
        'abort',
        () => {
          if (pause.isOver) return;
          pause.isOver = true;
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
          reject(signal.reason);
        },
        { once: true },
      );
    });

  /**
   * Lets time pass until the promise is settled.
   * @template T
   * @param {Promise<T>} promise
   * @returns {Promise<T>}
   */
  async run(promise) {
    let isSettled = false;
    const note = () => {
      isSettled = true;
    };
    promise.then(note, note);
    await new Promise((resolve, reject) => {
      const step = () => {
        if (isSettled) {
          resolve(undefined);
          return;
        }
        const pause = this.#pop();
        if (pause === undefined) {
          reject(new Error('nothing is under way, and yet it has not come to its end'));
          return;
        }
        this.#now = pause.at;
        pause.isOver = true;
        pause.wake();
        // Ticks come when no microtask is left: all that follows from the pause has happened by then.
        queueMicrotask(() => nextTick(step));
      };
      queueMicrotask(() => nextTick(step));
    });
    return promise;
  }

  /** @param {Pause} pause */
  #push(pause) {
    const heap = this.#heap;
    let place = heap.length;
    heap.push(pause);
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = /** @type {Pause} */ (heap[above]);
      if (!isBefore(pause, parent)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = pause;
  }

  /** @returns {Pause | undefined} */
  #pop() {
    for (;;) {
      const first = this.#popFirst();
      if (first === undefined || !first.isOver) return first;
    }
  }

  /** @returns {Pause | undefined} */
  #popFirst() {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      const right = heap[child + 1];
      let smaller = heap[child];
      if (smaller === undefined) break;
      if (right !== undefined && isBefore(right, smaller)) {
        child += 1;
        smaller = right;
      }
      if (!isBefore(smaller, last)) break;
      heap[place] = smaller;
      place = child;
    }
    heap[place] = last;
    return first;
  }
}

/**
 * @param {Pause} a
 * @param {Pause} b
 */
function isBefore(a, b) {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
