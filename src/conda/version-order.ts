import { createRequire } from 'node:module';
import type * as rattler from '@conda-org/rattler';
import { compareText } from '../io/compare-text.js';

// Its ES module is for bundlers, and Node cannot load it.
const { Version } = createRequire(import.meta.url)('@conda-org/rattler') as typeof rattler;

/**
 * Orders versions, older ones first: `1.0a1` < `1.0` = `1` < `1.0.1` < `1!0.1`. A text that is no version comes before
 * all versions, and among its like by its characters, so that the order is total.
 * @see CEP 33
 */
export function compareVersions(a: string, b: string): number {
  if (a === b) return 0;
  const first = readVersion(a);
  const second = readVersion(b);
  try {
    if (first === undefined || second === undefined) {
      return Number(first !== undefined) - Number(second !== undefined) || compareText(a, b);
    }
    return first.compare(second);
  } finally {
    // They live outside of what the garbage collector sees.
    first?.free();
    second?.free();
  }
}

function readVersion(text: string): rattler.Version | undefined {
  try {
    return new Version(text);
  } catch {
    return undefined;
  }
}
