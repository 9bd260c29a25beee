import { JsonCursor } from '../../conda/json-cursor.js';

/** A record that names an attestation sidecar. */
export interface AttestedRecord {
  /** Such as `zlib-1.2.11-h7b6447c_3.conda`. */
  readonly filename: string;
  /** `attestations_sha256` as it stands: 64 lower-case hex digits, or what its writer took for that. */
  readonly attestationsSha256: string;
  /** Where the archive lies if not beside the repodata. */
  readonly url?: string | undefined;
}

const KEY = 'attestations_sha256';
/** Nobody writes plain letters, digits and `_` so, but a key may hide behind them. */
const ESCAPES = ['\\u003', '\\u005', '\\u006', '\\u007'] as const;
const SECTIONS: ReadonlySet<string> = new Set(['packages', 'packages.conda']);

/**
 * Finds the records of a repodata that name a sidecar. Where none does, which is nearly every channel, that is seen without
 * reading any.
 * @throws ParseError `REPODATA_INVALID`
 * @see CEP draft, conda/ceps pull 142
 */
export function attestedRecords(bytes: Uint8Array): readonly AttestedRecord[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!mayName(text)) return [];
  const found = new Map<string, AttestedRecord>();
  const cursor = new JsonCursor(bytes);
  cursor.readObject((section) => {
    if (!SECTIONS.has(section)) {
      cursor.skipValue();
      return;
    }
    cursor.readObject((filename) => {
      const span = cursor.skipValue();
      const isNamed = mayName(text.subarray(span.start, span.end));
      const record = isNamed ? attested(filename, cursor.decode(span)) : undefined;
      // Of a key that stands twice the last one counts.
      found.delete(filename);
      if (record !== undefined) found.set(filename, record);
    });
  });
  return [...found.values()];
}

function mayName(text: Buffer): boolean {
  return text.includes(KEY) || ESCAPES.some((escape) => text.includes(escape));
}

function attested(filename: string, value: unknown): AttestedRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { [KEY]: named, url } = value as Record<string, unknown>;
  if (named === undefined || named === null) return undefined;
  return {
    filename,
    attestationsSha256: typeof named === 'string' ? named : JSON.stringify(named),
    url: typeof url === 'string' ? url : undefined,
  };
}
