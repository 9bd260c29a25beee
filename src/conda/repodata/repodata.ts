/**
 * Repodata of any size, in one pass over its bytes: each record as a row of a table, its text left where it lies, and a filtered
 * copy spliced out of the original bytes in a second pass, so that what nobody asked to change arrives as the source wrote it.
 */
import { FerryError } from '../../errors.js';
import type { Bytes, OpenBytes } from '../../io/bytes.js';
import { compareText } from '../../io/compare-text.js';
import type { Digest } from '../../io/digest.js';
import type { RepodataRecord } from '../package-record.js';
import { withDetails, type JsonObject, type RecordDetails } from '../record-details.js';
import { archiveUrl } from './archive-url.js';
import { decodeJson } from './document-scanner.js';
import { readRepodata, type ReadRepodataOptions, type RepodataContents } from './read-repodata.js';
import { RecordRows } from './record-rows.js';
import { NO_ROW, type RecordTable } from './record-table.js';
import { KNOWN_REVISION } from './sections.js';
import { SpanReader } from './span-reader.js';
import { spliceRepodata } from './splice.js';

export type { ReadRepodataOptions } from './read-repodata.js';

/** What a record turned out to be: readable, or not and why. */
export type ReadRecord =
  | { readonly filename: string; readonly record: RepodataRecord }
  | { readonly filename: string; readonly error: FerryError };

/** Of a record whose details nobody asks for. */
const NOTHING_TOLD: JsonObject = {};

/** Options of {@link Repodata.details}. */
export interface DetailsOptions {
  /** Whether to look at the record of a file name. @defaultValue all */
  readonly wants?: ((filename: string) => boolean) | undefined;
  /**
   * Whether anybody will ask what a record tells besides its {@link RepodataRecord}; of others it is not read, which takes
   * most of the time. @defaultValue all
   */
  readonly needs?: ((record: RepodataRecord) => boolean) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A record as it stands in the text. */
export interface RecordDocument {
  readonly filename: string;
  readonly document: JsonObject;
}

/** All readable records of one package name, in the order of their file names. */
export interface PackageRecords {
  readonly name: string;
  readonly records: readonly RepodataRecord[];
}

/** A record of a format that OCI has no media type for. */
export interface WithheldRecord {
  /** Such as `requests-2.32.3-py3_none_any_0.whl`; the key, and the extension where the key has none. */
  readonly filename: string;
  /** Such as `packages.whl` or `v3.whl`. */
  readonly section: string;
}

/** One subdir's repodata. @see CEP 36, CEP 48 */
export class Repodata {
  readonly #contents: RepodataContents;
  readonly #table: RecordTable;

  private constructor(contents: RepodataContents) {
    this.#contents = contents;
    this.#table = contents.table;
  }

  /**
   * Reads repodata. `open` must give the same bytes each time: {@link details} and {@link splice} read them again.
   * @param subdir the folder the file was found in
   * @throws ParseError `REPODATA_INVALID`, position = offset in bytes; IntegrityError `SIZE_EXCEEDED`
   */
  static async read(open: OpenBytes, subdir: string, options?: ReadRepodataOptions): Promise<Repodata> {
    return new Repodata(await readRepodata(open, subdir, options));
  }

  get subdir(): string {
    return this.#contents.subdir;
  }

  /** Of the plain text that was read. */
  get digest(): Digest {
    return this.#contents.digest;
  }

  /** Of the plain text, in bytes. */
  get size(): number {
    return this.#contents.size;
  }

  /** How many archives it lists; one that a revision lists as well counts once. */
  get recordCount(): number {
    return this.#table.recordCount;
  }

  /** File names of all records, in the order they first stand. */
  *filenames(): Generator<string, void> {
    for (const row of this.#rows()) yield this.#table.filename(row);
  }

  /** Tells whether a record of that file name is listed. */
  has(filename: string): boolean {
    return this.#rowOf(filename) !== NO_ROW;
  }

  /** The record of that file name, or why it cannot be used. */
  get(filename: string): ReadRecord | undefined {
    const row = this.#rowOf(filename);
    return row === NO_ROW ? undefined : this.#read(row);
  }

  /** `sha256:…` of the archive, or `md5:…` where old repodata has no more. */
  identity(filename: string): string | undefined {
    const row = this.#rowOf(filename);
    return row === NO_ROW ? undefined : this.#table.identity(row);
  }

  /** File name and {@link identity} of each record that can be used and has one. */
  *identities(): Generator<readonly [string, string], void> {
    for (const row of this.#rows()) {
      const identity = this.#table.fault(row) === undefined ? this.#table.identity(row) : undefined;
      if (identity !== undefined) yield [this.#table.filename(row), identity];
    }
  }

  /** All records, one at a time; one that cannot be used comes as its error. */
  *records(): Generator<ReadRecord, void> {
    for (const row of this.#rows()) yield this.#read(row);
  }

  /** Records that cannot be used. */
  *invalid(): Generator<{ readonly filename: string; readonly error: FerryError }, void> {
    for (const row of this.#rows()) {
      const error = this.#table.fault(row);
      if (error !== undefined) yield { filename: this.#table.filename(row), error };
    }
  }

  /**
   * Readable records by package name, names and the file names of each in order; only one name's records exist at a time.
   * Shape: `{ name: 'zlib', records: [{ filename: 'zlib-1.2.11-0.conda', … }] }`.
   */
  *packages(): Generator<PackageRecords, void> {
    const rows = this.rows();
    for (const { name, start, end } of rows.packages()) {
      const records = Array.from(rows.order.subarray(start, end), (row) => this.#record(row));
      records.sort((a, b) => compareText(a.filename, b.filename));
      yield { name, records };
    }
  }

  /** The readable records as rows of a table, by package name: for what looks at each of a million and keeps few. */
  rows(): RecordRows {
    return new RecordRows(this.#table, this.#validRows(), (row) => this.#record(row));
  }

  /** Records with an attestation sidecar: its digest as it stands. @see CEP draft, conda/ceps pull 142 */
  *attestations(): Generator<{ readonly filename: string; readonly sha256: string }, void> {
    for (const row of this.#rows()) {
      const sha256 = this.#table.attestations(row);
      if (sha256 !== undefined) yield { filename: this.#table.filename(row), sha256 };
    }
  }

  /** Records that are not mirrored: wheels, and whatever else has no media type. */
  *withheld(): Generator<WithheldRecord, void> {
    for (const { name, filenames } of this.#contents.withheld) {
      const extension = name.startsWith(`${KNOWN_REVISION}.`) ? name.slice(KNOWN_REVISION.length) : '';
      for (let id = 0; id < filenames.count; id += 1)
        yield { filename: `${filenames.text(id)}${extension}`, section: name };
    }
  }

  /** Names of all sections that {@link splice} leaves out, also those whose records cannot be named, such as `v4`. */
  withheldSections(): readonly string[] {
    return this.#contents.withheld.map(({ name }) => name);
  }

  /** File names that another repodata does not have. */
  *filenamesNotIn(other: Repodata): Generator<string, void> {
    const theirs = other.#table;
    for (const row of this.#rows()) {
      const id = this.#table.filenames.findIn(theirs.filenames, this.#table.filenameId(row));
      if (id === undefined || theirs.rowOf(id) === NO_ROW) yield this.#table.filename(row);
    }
  }

  /** Names of all packages that have a readable record. */
  packageNames(): Iterable<string> {
    return Array.from({ length: this.#table.names.count }, (_, id) => this.#table.names.text(id));
  }

  /** File names in `removed`: gone from the index on purpose. */
  removed(): ReadonlySet<string> {
    return this.#contents.removed;
  }

  /** The member `info`, empty where there is none. */
  get info(): Readonly<Record<string, unknown>> {
    return this.#contents.info;
  }

  /** Where archives lie, if not beside the file. @see CEP 15 */
  get baseUrl(): string | undefined {
    const value = this.info['base_url'];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  /**
   * Why it cannot be published as it stands, in words: it would send clients past the mirror, names what is not
   * mirrored, or does not say the same to every reader.
   */
  neededChanges(): readonly string[] {
    const changes: string[] = [];
    if ('base_url' in this.info) changes.push('`info.base_url` goes: clients would bypass the mirror');
    if ('channel_relations' in this.info)
      changes.push('`info.channel_relations` goes: its neighbours are not mirrored');
    if (this.#table.namesUrls) changes.push('`url` of records goes: clients would bypass the mirror');
    const withheld = this.#contents.withheld.map(({ name }) => `\`${name}\``);
    if (withheld.length > 0)
      changes.push(`${withheld.join(', ')} go: OCI has no media type for their records`);
    if (this.#table.hasDisplaced)
      changes.push(`records of \`${KNOWN_REVISION}\` go that contradict those of the same archive elsewhere`);
    if (this.#contents.hasDoubles) changes.push('of keys that stand twice the last one stays');
    return changes;
  }

  /**
   * Reads the text a second time for what filters ask about; records that cannot be used are skipped.
   * @throws FerryError `REPODATA_INVALID` if the text is not what it was
   */
  async *details({ wants, needs, signal }: DetailsOptions = {}): AsyncGenerator<RecordDetails, void> {
    await using reader = new SpanReader(this.#contents.open, signal);
    for (const row of this.#rowsOfText(wants)) {
      const record = this.#record(row);
      if (needs?.(record) === false) {
        yield withDetails(record, NOTHING_TOLD);
        continue;
      }
      const { valueStart, end } = this.#table.spanOf(row);
      const bytes = reader.peek(valueStart, end) ?? (await reader.read(valueStart, end));
      yield withDetails(record, readDocument(record, bytes));
    }
  }

  /**
   * Reads the text a second time for records as they stand, with all of their members; those that cannot be used are skipped.
   * @throws FerryError `REPODATA_INVALID` if the text is not what it was
   */
  async *documents({ wants, signal }: Omit<DetailsOptions, 'needs'> = {}): AsyncGenerator<
    RecordDocument,
    void
  > {
    await using reader = new SpanReader(this.#contents.open, signal);
    for (const row of this.#rowsOfText(wants)) {
      const { valueStart, end } = this.#table.spanOf(row);
      const record = this.#record(row);
      const bytes = reader.peek(valueStart, end) ?? (await reader.read(valueStart, end));
      yield { filename: record.filename, document: readDocument(record, bytes) };
    }
  }

  /**
   * Writes a copy with only the records that `keep` wants, out of the original bytes, and without what
   * {@link neededChanges} names. Other members stay as they are; `info.repodata_revisions` counts what is left.
   * @param also records of another repodata to list as well, as they stand there
   * @throws FerryError `REPODATA_INVALID` if the text is not what it was
   */
  splice(
    keep: (filename: string) => boolean,
    also?: { readonly repodata: Repodata; readonly filenames: ReadonlySet<string> },
  ): Bytes {
    const other = also && { repodata: also.repodata.#contents, filenames: also.filenames };
    return spliceRepodata(this.#contents, keep, other, (filename) => this.has(filename));
  }

  #rowOf(filename: string): number {
    const id = this.#table.filenames.find(filename);
    return id === undefined ? NO_ROW : this.#table.rowOf(id);
  }

  /** The rows that count, in the order their file names first stand. */
  *#rows(): Generator<number, void> {
    for (let id = 0; id < this.#table.filenames.count; id += 1) {
      const row = this.#table.rowOf(id);
      if (row !== NO_ROW) yield row;
    }
  }

  /** The rows that count and can be used, in the order of the text, which is read forwards only. */
  *#rowsOfText(wants: DetailsOptions['wants']): Generator<number, void> {
    const table = this.#table;
    for (let row = 0; row < table.rowCount; row += 1) {
      if (table.rowOf(table.filenameId(row)) !== row || table.isInvalid(row) || !table.isInPlace(row))
        continue;
      if (wants?.(table.filename(row)) !== false) yield row;
    }
  }

  *#validRows(): Generator<number, void> {
    for (const row of this.#rows()) if (!this.#table.isInvalid(row) && this.#table.isInPlace(row)) yield row;
  }

  #read(row: number): ReadRecord {
    const error = this.#table.fault(row);
    if (error !== undefined) return { filename: this.#table.filename(row), error };
    const record = this.#record(row);
    return { filename: record.filename, record };
  }

  #record(row: number): RepodataRecord {
    const record = this.#table.record(row);
    return this.baseUrl === undefined ? record : { ...record, url: this.#url(record.filename, record.url) };
  }

  /** CEP 15: the base stands in front of the file name; where a record has a place of its own, in front of that. */
  #url(filename: string, url: string | undefined): string | undefined {
    return this.baseUrl === undefined ? url : archiveUrl(this.baseUrl, filename, url);
  }
}

function readDocument(record: RepodataRecord, bytes: Uint8Array): JsonObject {
  const { name, version, build } = record;
  const value = decodeAgain(bytes);
  // It was good when it was read first.
  const isSame = value?.['name'] === name && value['version'] === version && value['build'] === build;
  if (!isSame) throw changedMeanwhile();
  return value;
}

function decodeAgain(bytes: Uint8Array): JsonObject | null {
  try {
    return decodeJson(bytes) as JsonObject | null;
  } catch (cause) {
    throw changedMeanwhile(cause);
  }
}

function changedMeanwhile(cause?: unknown): FerryError {
  return new FerryError('REPODATA_INVALID', 'the repodata is not what it was when it was read first', {
    cause,
  });
}
