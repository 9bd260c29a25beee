/** A way to Redis and back within one network, in ms. */
const TRAVEL_MS = 0.6;

/**
 * The fleet's pace at one credential, as Redis would keep it; told apart from there by taking no memory and no processor.
 * @param {import('./clock.mjs').SimulatedClock} clock
 */
export function sharedMemory(clock) {
  /** @type {string | undefined} */
  let text;
  const memory = {
    /** How often it was asked. */
    updates: 0,
    /** @type {import('#ferry/io/shared-state.js').SharedState['update']} */
    update: async (change, signal) => {
      signal?.throwIfAborted();
      await clock.sleep(TRAVEL_MS);
      const { next, result } = change(text, clock.now());
      text = next ?? text;
      memory.updates += 1;
      return result;
    },
  };
  return memory;
}
