/**
 * The order of versions (CEP 33), by the `Version` of rattler. rattler is WebAssembly: it is loaded when the first
 * version is looked at, and what it parsed is kept, since parsing costs more than comparing.
 */
import { createRequire } from 'node:module';
import type * as Rattler from '@conda-org/rattler';

/**
 * Parsed versions that are kept at least, and half of what is kept at most; the whole of conda-forge has some eight times as
 * many. About 200 bytes each.
 */
const MIN_PARSED = 5_000;

/** What was asked for lately, and what was before that: when the first is full, what is left of the second goes. */
let recent = new Map<string, Rattler.Version | undefined>();
let earlier = new Map<string, Rattler.Version | undefined>();
let rattler: typeof Rattler | undefined;

/**
 * Compares two versions as conda orders them: `1.0rc1` < `1.0` = `1.0.0` < `1.0.post1` < `1!0.1`. What is no version
 * stands below all versions, and among itself in the order of its characters.
 * @returns a number below, at or above 0; 0 does not mean the same text
 * @see CEP 33, "Version ordering"
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parsedVersion(a), parsedVersion(b)];
  if (left !== undefined && right !== undefined) return left.compare(right);
  if (left !== undefined) return 1;
  if (right !== undefined) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Parses a version for keeping, or returns `undefined` where it is none.
 * @see CEP 33
 */
export function newVersion(text: string): Rattler.Version | undefined {
  // As CommonJS it is loaded in less than half the time of its ES module, and synchronously.
  rattler ??= createRequire(import.meta.url)('@conda-org/rattler') as typeof Rattler;
  try {
    return new rattler.Version(text);
  } catch {
    return undefined;
  }
}

/**
 * As {@link newVersion}, but out of the cache: good until the next call but one, since what leaves the cache gives its
 * memory back.
 */
export function parsedVersion(text: string): Rattler.Version | undefined {
  const known = recent.get(text);
  if (known !== undefined || recent.has(text)) return known;
  const version = earlier.has(text) ? earlier.get(text) : newVersion(text);
  earlier.delete(text);
  recent.set(text, version);
  if (recent.size > MIN_PARSED) {
    for (const old of earlier.values()) old?.free();
    earlier = recent;
    recent = new Map();
  }
  return version;
}
