/** Raw JSON that rules look into. */
import { shorten } from '../../conda/archive/member-path.js';

/** A JSON object as parsed, of which nothing is known yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Tells whether a parsed JSON value is an object: no array, no null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value as an object; an empty one where it is none, since a schema has said so already. */
export function asJsonObject(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}

/** The strings in an array; none where it is no array, since a schema has said so already. */
export function stringsIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}

/** Writes a value that the document chose, for a finding: as JSON, cut where it is long. */
export function quote(value: unknown): string {
  return shorten(value === undefined ? 'nothing' : JSON.stringify(value));
}

/** Writes what the document chose as literals: `a`, `b`. */
export function literals(texts: readonly string[]): string {
  return shorten(texts.map((text) => `\`${text}\``).join(', '));
}

/**
 * Writes a place inside a document: `noarch/repodata.json#/info/subdir`.
 * @see RFC 6901
 */
export function pointTo(where: string, ...keys: readonly (string | number)[]): string {
  const path = keys.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
  return where.includes('#') ? `${where}${path}` : `${where}#${path}`;
}
