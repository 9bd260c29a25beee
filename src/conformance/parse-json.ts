/** What came of parsing: a value, or why there is none. */
export type ParsedJson =
  { readonly value: unknown } | { readonly fault: 'json' | 'limit'; readonly message: string };

/** Deeper than any document of conda is nested; what walks through a value by recursion is safe with it. */
const MAX_DEPTH = 100;

const [BRACE_OPEN, BRACE_CLOSE, BRACKET_OPEN, BRACKET_CLOSE, COMMA, QUOTE, BACKSLASH] =
  Buffer.from('{}[],"\\');

/**
 * Parses JSON in UTF-8 that a stranger wrote. What is nested too deeply, or has more than `maxValues` values, is not
 * parsed: in memory it takes a hundred times its bytes, and so does what is found in it.
 */
export function parseBoundedJson(bytes: Uint8Array, maxValues: number): ParsedJson {
  const limit = beyondLimit(bytes, maxValues);
  if (limit !== undefined) return { fault: 'limit', message: limit };
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) };
  } catch {
    return { fault: 'json', message: 'no JSON in UTF-8' };
  }
}

/** Says what of a text of JSON is more than may be parsed, or `undefined`. */
export function beyondLimit(bytes: Uint8Array, maxValues: number): string | undefined {
  let depth = 0;
  let values = 1;
  let inText = false;
  for (let at = 0; at < bytes.byteLength; at++) {
    const byte = bytes[at];
    if (inText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inText = false;
      continue;
    }
    if (byte === QUOTE) inText = true;
    else if (byte === BRACE_CLOSE || byte === BRACKET_CLOSE) depth--;
    else if (byte === COMMA) values++;
    else if (byte === BRACE_OPEN || byte === BRACKET_OPEN) {
      values++;
      depth++;
    }
    if (depth > MAX_DEPTH) return `values nested more than ${String(MAX_DEPTH)} deep`;
    if (values > maxValues) return `more than ${String(maxValues)} values`;
  }
  return undefined;
}
