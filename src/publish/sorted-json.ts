import { isJsonObject } from '../conformance/rules/json-value.js';
import { compareText } from '../io/compare-text.js';

/**
 * Writes JSON without white space, the keys of every object sorted: equal values are equal bytes. Not by way of sorted
 * objects, since JavaScript puts keys such as `10` before all others.
 * @param value parsed JSON that is not nested without end
 */
export function sortedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(sortedJson).join(',')}]`;
  if (!isJsonObject(value)) return JSON.stringify(value);
  return sortedMembers(Object.entries(value), sortedJson);
}

/**
 * As {@link sortedJson} of an object with these members, one by one, so that documents of any length can be written.
 * @param write writes a value
 */
export function sortedMembers<T>(
  entries: Iterable<readonly [string, T]>,
  write: (value: T) => string,
): string {
  const sorted = [...entries].sort(([a], [b]) => compareText(a, b));
  return `{${sorted.map(([key, value]) => `${JSON.stringify(key)}:${write(value)}`).join(',')}}`;
}
