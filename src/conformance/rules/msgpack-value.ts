/** Decoded msgpack that rules look into: as JSON, but for binaries and what else it has. */
import { isJsonObject, quote, type JsonObject } from './json-value.js';

/** Tells whether a decoded value is a map: no binary, no extension. */
export function isMap(value: unknown): value is JsonObject {
  return isJsonObject(value) && Object.getPrototypeOf(value) === Object.prototype;
}

/** The value as a map; an empty one where it is none, since a rule has said so already. */
export function asMap(value: unknown): JsonObject {
  return isMap(value) ? value : {};
}

/** Writes what msgpack held, for a finding. */
export function quoteValue(value: unknown): string {
  if (value instanceof Uint8Array) return `a binary of ${String(value.byteLength)} bytes`;
  if (isMap(value)) return 'a map';
  if (Array.isArray(value)) return 'a list';
  return isJsonObject(value) ? 'an extension' : quote(value);
}

/** Tells whether there is a binary in it, however deep. */
export function hasBinary(value: unknown): boolean {
  if (value instanceof Uint8Array) return true;
  if (Array.isArray(value)) return value.some(hasBinary);
  return isMap(value) && Object.values(value).some(hasBinary);
}

/** The same with binaries read as text. */
export function asText(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  if (Array.isArray(value)) return value.map(asText);
  if (!isMap(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asText(item)]));
}
