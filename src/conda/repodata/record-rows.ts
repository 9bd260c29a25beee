import { compareText } from '../../io/compare-text.js';
import type { RepodataRecord } from '../package-record.js';
import { NO_ROW, type RecordTable } from './record-table.js';

const [OTHER, LETTER_OR_DIGIT, POINT, UNDERSCORE, DASH] = [0, 1, 2, 3, 4] as const;
/** What each byte is. */
const KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  if (/[0-9A-Za-z]/.test(character)) return LETTER_OR_DIGIT;
  return { '.': POINT, _: UNDERSCORE, '-': DASH }[character] ?? OTHER;
});
const CONDA = Buffer.from('.conda');
const TAR_BZ2 = Buffer.from('.tar.bz2');
/** Longest file name that {@link RecordRows.isPlain} calls so; tags may have 128 characters. */
const MAX_PLAIN_BYTES = 120;

/** The rows of one package, as places in {@link RecordRows.order}. */
export interface PackageRows {
  readonly name: string;
  readonly start: number;
  /** Behind the last one. */
  readonly end: number;
}

/** Readable records as rows, ordered by package name and within that as they stand: nothing is made of a record but its row. */
export class RecordRows {
  /** The rows in their order. */
  readonly order: Uint32Array;
  readonly #table: RecordTable;
  readonly #record: (row: number) => RepodataRecord;
  readonly #scratch = Buffer.alloc(1024);

  /** Use `Repodata.rows`. */
  constructor(table: RecordTable, valid: Iterable<number>, record: (row: number) => RepodataRecord) {
    this.#table = table;
    this.#record = record;
    this.order = orderByName(table, valid);
  }

  /** The packages in order. */
  *packages(): Generator<PackageRows, void> {
    let start = 0;
    while (start < this.order.length) {
      const id = this.nameId(this.order[start] as number);
      let end = start + 1;
      while (end < this.order.length && this.nameId(this.order[end] as number) === id) end += 1;
      yield { name: this.#table.names.text(id), start, end };
      start = end;
    }
  }

  /** Rows have numbers below it. */
  get rowCount(): number {
    return this.#table.rowCount;
  }

  /** Package names have numbers below it. */
  get nameCount(): number {
    return this.#table.names.count;
  }

  record(row: number): RepodataRecord {
    return this.#record(row);
  }

  filename(row: number): string {
    return this.#table.filename(row);
  }

  /** A number for the package name, the same for all records of the package. */
  nameId(row: number): number {
    return this.#table.nameId(row);
  }

  /** Name of a package by its number. */
  packageName(nameId: number): string {
    return this.#table.names.text(nameId);
  }

  /** In bytes, 0 where the record does not tell. */
  size(row: number): number {
    return Math.max(0, this.#table.size(row));
  }

  /** Whether the record tells any digest of its archive. */
  hasIdentity(row: number): boolean {
    return this.#table.hasIdentity(row);
  }

  /** The row of a file name; `undefined` where there is none. */
  rowOf(filename: string): number | undefined {
    const id = this.#table.filenames.find(filename);
    return id === undefined ? undefined : this.#rowOfId(id);
  }

  /** The row that other rows have for the file name of one of these. */
  rowIn(other: RecordRows, row: number): number | undefined {
    const id = this.#table.filenames.findIn(other.#table.filenames, this.#table.filenameId(row));
    return id === undefined ? undefined : other.#rowOfId(id);
  }

  /** Whether a row of other rows is of an archive with the same bytes, as far as the digests tell. */
  hasSameIdentity(row: number, other: RecordRows, otherRow: number): boolean {
    return this.#table.hasSameIdentity(row, other.#table, otherRow);
  }

  isTarBz2(row: number): boolean {
    return this.#table.sectionOf(row).extension === 'tar.bz2';
  }

  /** The row of the other archive of the same name, version and build. */
  twinOf(row: number): number | undefined {
    const { chunk, start, end } = this.#table.filenames.placeOf(this.#table.filenameId(row));
    const [own, other] = this.isTarBz2(row) ? [TAR_BZ2, CONDA] : [CONDA, TAR_BZ2];
    const stem = end - start - own.length;
    if (stem + other.length > this.#scratch.length) return undefined;
    chunk.copy(this.#scratch, 0, start, start + stem);
    other.copy(this.#scratch, stem);
    const id = this.#table.filenames.findBytes(this.#scratch, 0, stem + other.length);
    return id === undefined ? undefined : this.#rowOfId(id);
  }

  /**
   * Whether version and build string are of letters, digits, points and single underscores, and short: then every schema
   * can hold them.
   */
  isPlain(row: number): boolean {
    const { chunk, start, end } = this.#table.filenames.placeOf(this.#table.filenameId(row));
    if (end - start > MAX_PLAIN_BYTES) return false;
    let dashes = 0;
    let before: number = OTHER;
    for (let at = end - 1; at >= start; at -= 1) {
      const kind = KINDS[chunk[at] as number] as number;
      if (kind === OTHER) return false;
      if (kind === UNDERSCORE && before === UNDERSCORE) return false;
      if (kind === DASH) {
        // What is behind is the first character of the build string, then of the version.
        if (before !== LETTER_OR_DIGIT) return false;
        dashes += 1;
        if (dashes === 2) return true;
      }
      before = kind;
    }
    return false;
  }

  #rowOfId(id: number): number | undefined {
    const row = this.#table.rowOf(id);
    return row === NO_ROW ? undefined : row;
  }
}

/** A counting sort: where each name's rows begin, then the rows. */
function orderByName(table: RecordTable, valid: Iterable<number>): Uint32Array {
  const names = Array.from({ length: table.names.count }, (_, id) => table.names.text(id));
  const byName = names.map((_, id) => id).sort((a, b) => compareText(names[a] as string, names[b] as string));
  const places = new Uint32Array(names.length);
  for (const [place, id] of byName.entries()) places[id] = place;
  const rows = Uint32Array.from(valid);
  const starts = new Uint32Array(names.length + 1);
  for (const row of rows) {
    const place = (places[table.nameId(row)] as number) + 1;
    starts[place] = (starts[place] as number) + 1;
  }
  for (let i = 1; i < starts.length; i += 1) starts[i] = (starts[i] as number) + (starts[i - 1] as number);
  const order = new Uint32Array(rows.length);
  for (const row of rows) {
    const place = places[table.nameId(row)] as number;
    const at = starts[place] as number;
    order[at] = row;
    starts[place] = at + 1;
  }
  return order;
}
