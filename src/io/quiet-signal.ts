import { setMaxListeners } from 'node:events';

/** The same signal for many listeners: every transfer under way has one, and many are no leak. */
export function quietSignal(signal: AbortSignal): AbortSignal {
  const own = AbortSignal.any([signal]);
  setMaxListeners(0, own);
  return own;
}
