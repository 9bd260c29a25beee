import { FerryError } from '../errors.js';
import { untilAborted } from './single-flight.js';

/**
 * Does work that somebody waits for so many milliseconds at most. The signal that it is given ends when theirs does, or the time
 * is over; what does not heed it is left alone. Nothing is left of the time limit when the work ends first: with thousands of
 * answers a second, timers that run on would be the most of what there is.
 * @throws FerryError `TIMEOUT`; the reason of `signal`; what the work throws
 */
export async function withDeadline<T>(
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const ends = new AbortController();
  const leave = (): void => {
    ends.abort(signal.reason);
  };
  signal.addEventListener('abort', leave, { once: true });
  const timer = setTimeout(() => {
    ends.abort(new FerryError('TIMEOUT', `it was not there within ${String(Math.ceil(ms / 1000))} s`));
  }, ms);
  try {
    return await untilAborted(work(ends.signal), ends.signal);
  } catch (error) {
    // Whatever the work made of the end.
    throw ends.signal.aborted ? ends.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', leave);
  }
}
