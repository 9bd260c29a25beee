/** A part of a body: its first byte, and the byte behind its last one. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

// One range only: several would need a multipart body, which no client of ours asks for.
const SINGLE_RANGE = /^bytes=(\d*)-(\d*)$/i;

/**
 * Reads a `Range` header: the part it asks for; `'none'` where it asks for bytes that are not there; `undefined` where it is
 * to be ignored, as several ranges, other units and malformed ones are. Shapes: `bytes=0-499`, `bytes=500-`, `bytes=-500`.
 * @param size of the whole, in bytes
 * @see RFC 9110, sections 14.1.2 and 14.2
 */
export function parseRange(header: string, size: number): ByteRange | 'none' | undefined {
  const [, first, last] = SINGLE_RANGE.exec(header) ?? [];
  if (first === undefined || last === undefined) return undefined;
  if (first === '') return lastBytes(last, size);
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  if (last !== '' && Number(last) < start) return undefined;
  return start < size ? { start, end } : 'none';
}

/** The last `count` bytes, or all where there are fewer. */
function lastBytes(count: string, size: number): ByteRange | 'none' | undefined {
  if (count === '') return undefined;
  if (Number(count) === 0) return 'none';
  // Of nothing there is no part, so the whole of it is sent.
  return size === 0 ? undefined : { start: Math.max(0, size - Number(count)), end: size };
}
