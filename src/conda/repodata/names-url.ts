import { decodeJson } from './document-scanner.js';
import { BACKSLASH } from './json-bytes.js';
import type { ScannedRecord } from './scanned-record.js';

/** Whether a record has a `url` that is not `null`; the scanner does not see a key that is spelled with escapes. */
export function namesUrl(
  { namesUrl: isSeen, isPlain, valueStart, valueEnd }: ScannedRecord,
  bytes: Uint8Array,
): boolean {
  if (isSeen) return true;
  if (isPlain || !bytes.subarray(valueStart, valueEnd).includes(BACKSLASH)) return false;
  const value = decodeJson(bytes, valueStart, valueEnd) as { readonly url?: unknown } | null;
  return value?.url !== undefined && value.url !== null;
}
