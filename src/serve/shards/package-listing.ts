import { parseRepodataRecord } from '../../conda/package-record.js';
import { archiveUrl } from '../../conda/repodata/archive-url.js';
import { KNOWN_REVISION, SECTIONS } from '../../conda/repodata/sections.js';
import { isFerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import type { NamedRecord, PackageListing } from '../channels/served-channel.js';

type Json = Readonly<Record<string, unknown>>;

/** What a listing is read with. */
export interface ListingOptions {
  readonly name: string;
  readonly subdir: string;
  /** Where archives lie, if not beside the repodata. @see CEP 15 */
  readonly baseUrl: string | undefined;
}

/**
 * Reads what the repodata says of one package. Where an archive is listed twice, a classic section comes before a revision; a
 * record under a section of another format cannot be used.
 * @param text repodata of that package alone, as `splitRepodataStream` gives it
 */
export function parseListing(text: Uint8Array, { name, subdir, baseUrl }: ListingOptions): PackageListing {
  const repodata = JSON.parse(Buffer.from(text).toString('utf8')) as Json;
  const records = new Map<string, NamedRecord>();
  const invalid = new Set<string>();
  for (const { filename, isInPlace, value } of membersOf(repodata)) {
    if (records.has(filename) || (isInPlace && invalid.has(filename))) continue;
    const named = isInPlace ? readRecord(filename, value, subdir, baseUrl) : undefined;
    if (named === undefined) invalid.add(filename);
    else records.set(filename, named);
  }
  return {
    name,
    records: [...records.values()].sort((a, b) => compareText(a.filename, b.filename)),
    invalid: [...invalid].filter((filename) => !records.has(filename)).sort(compareText),
    removed: [...new Set(repodata['removed'] as readonly string[])].sort(compareText),
  };
}

interface Member {
  readonly filename: string;
  readonly isInPlace: boolean;
  readonly value: unknown;
}

/** All records, those in their right places first, of these the classic ones. */
function membersOf(repodata: Json): readonly Member[] {
  const inPlace: Member[] = [];
  const elsewhere: Member[] = [];
  const revision = repodata[KNOWN_REVISION] as Json;
  for (const { name, extension, isRevision } of SECTIONS) {
    const section = (isRevision ? revision[extension] : repodata[name]) as Json | undefined;
    for (const [key, value] of Object.entries(section ?? {})) {
      const filename = isRevision ? `${key}.${extension}` : key;
      const isInPlace = filename.endsWith(`.${extension}`);
      (isInPlace ? inPlace : elsewhere).push({ filename, isInPlace, value });
    }
  }
  for (const [extension, section] of Object.entries(revision)) {
    if (SECTIONS.some((known) => known.isRevision && known.extension === extension)) continue;
    for (const [stem, value] of Object.entries(section as Json))
      elsewhere.push({ filename: `${stem}.${extension}`, isInPlace: false, value });
  }
  return [...inPlace, ...elsewhere];
}

function readRecord(
  filename: string,
  value: unknown,
  subdir: string,
  baseUrl: string | undefined,
): NamedRecord | undefined {
  try {
    const record = parseRepodataRecord(filename, value, subdir);
    const url = baseUrl === undefined ? record.url : archiveUrl(baseUrl, filename, record.url);
    return { filename, record: { ...record, url }, document: value as Json };
  } catch (error) {
    if (isFerryError(error, 'RECORD_INVALID')) return undefined;
    throw error;
  }
}
