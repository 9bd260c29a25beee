import { createHash } from 'node:crypto';

/**
 * Chooses at random, the same for the same seed and the same items in the same order.
 * @param seed any text
 * @returns `size` of the items, or all where there are no more, in their order
 */
export function chooseSample<T>(items: readonly T[], size: number, seed: string): readonly T[] {
  if (items.length <= size) return items;
  const random = randomOf(seed);
  // Each item in turn with the chance that is still to be given away.
  const chosen: T[] = [];
  items.forEach((item, i) => {
    if (random() * (items.length - i) < size - chosen.length) chosen.push(item);
  });
  return chosen;
}

/** Numbers from 0 up to 1, by mulberry32: enough for a sample, and the same on every machine. */
function randomOf(seed: string): () => number {
  let state = createHash('sha256').update(seed).digest().readUInt32LE(0);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
