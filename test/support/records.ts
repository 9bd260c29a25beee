import { parseArchiveFilename } from '#ferry/conda/names.js';
import { parseRepodataRecord } from '#ferry/conda/package-record.js';
import { withDetails, type JsonObject, type RecordDetails } from '#ferry/conda/record-details.js';
import { parseFilters, type FilterInput } from '#ferry/mirror/filters/filters.js';
import {
  selectRecords,
  type SelectableOptions,
  type SelectOptions,
} from '#ferry/mirror/filters/select-records.js';
import type { Selection } from '#ferry/mirror/filters/selection.js';

/** Fields of a record beside those that its file name tells. */
export type RecordFields = Readonly<Record<string, unknown>>;

/** The records of subdirs: subdir → file name without `.conda` → fields. */
export type Records = Readonly<Record<string, Readonly<Record<string, RecordFields>>>>;

/** Noon of a day on which all of this happens. */
export const NOW_MS = Date.parse('2025-06-15T12:00:00Z');
export const DAY_MS = 86_400_000;

/** Reads a record that has just these fields. */
export function makeDetails(subdir: string, stem: string, fields: RecordFields = {}): RecordDetails {
  const filename = `${stem}.conda`;
  const { name, version, build } = parseArchiveFilename(filename);
  return parseRecordDetails(filename, { name, version, build, subdir, ...fields }, subdir);
}

/** Selects out of records, and counts how often each subdir is read. */
export async function select(
  records: Records,
  input: FilterInput,
  options: Partial<SelectOptions> = {},
): Promise<{ readonly selections: ReadonlyMap<string, Selection>; readonly reads: Map<string, number> }> {
  const reads = new Map<string, number>();
  const subdirs = Object.entries(records).map(([subdir, entries]) => ({
    subdir,
    async *details({ needs }: SelectableOptions) {
      reads.set(subdir, (reads.get(subdir) ?? 0) + 1);
      for (const [stem, fields] of Object.entries(entries)) {
        const record = makeDetails(subdir, stem, fields);
        // As repodata does: of a record whose details nobody needs, they are not told.
        yield needs?.(record) === false ? withDetails(record, {}) : record;
      }
    },
  }));
  const history = { nowMs: NOW_MS, firstSeen: () => undefined, ...options };
  return { selections: await selectRecords(subdirs, parseFilters(input), history), reads };
}

/** What is wanted, as `subdir/name-version-build`, sorted. */
export async function wantedOf(
  records: Records,
  input: FilterInput,
  options?: Partial<SelectOptions>,
): Promise<string[]> {
  const { selections } = await select(records, input, options);
  return Object.entries(records)
    .flatMap(([subdir, entries]) =>
      Object.keys(entries)
        .filter((stem) => selections.get(subdir)?.wants(`${stem}.conda`))
        .map((stem) => `${subdir}/${stem}`),
    )
    .sort();
}

/** A record with its details, by the schema of single records. */
export function parseRecordDetails(filename: string, value: unknown, listedIn: string): RecordDetails {
  return withDetails(parseRepodataRecord(filename, value, listedIn), value as JsonObject);
}
