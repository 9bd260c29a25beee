import { isJsonObject } from '../conformance/rules/json-value.js';

/** Levels of objects and arrays. Records stand three levels deep in what is published, and writers of msgpack stop at 100. */
const MAX_DEPTH = 64;
/** Half of a character: JSON can spell it, but readers in other languages give up the whole document for it. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Tells whether parsed JSON can stand in a document that all clients read. What one package says must not make the
 * repodata of all others unreadable: nesting without end, half characters, and the key that readers of msgpack refuse.
 */
export function isPortableJson(value: unknown): boolean {
  const open: { readonly value: unknown; readonly depth: number }[] = [{ value, depth: 1 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, depth } = next;
    if (typeof value === 'string' && LONE_SURROGATE.test(value)) return false;
    if (typeof value !== 'object' || value === null) continue;
    if (depth > MAX_DEPTH) return false;
    for (const item of Object.values(value)) open.push({ value: item, depth: depth + 1 });
    if (Array.isArray(value)) continue;
    if (Object.keys(value).some((key) => key === '__proto__' || LONE_SURROGATE.test(key))) return false;
  }
  return true;
}

/** Parses a JSON object that {@link isPortableJson}; `undefined` where the bytes are none. */
export function parsePortableObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return isJsonObject(value) && isPortableJson(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
