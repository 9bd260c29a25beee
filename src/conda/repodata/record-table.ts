import { FerryError } from '../../errors.js';
import { parseArchiveFilename, type ArchiveExtension } from '../names.js';
import type { RepodataRecord } from '../package-record.js';
import { BytesColumn, NumberColumn } from './columns.js';
import { SECTIONS, type Section } from './sections.js';
import { TextIndex } from './text-index.js';

/** A row that is none. */
export const NO_ROW = 0xffffffff;

// Flags of a row; the section takes the lowest two bits.
const SECTION_BITS = 0b11;
const INVALID = 1 << 2;
const HAS_SHA256 = 1 << 3;
const HAS_MD5 = 1 << 4;
const HAS_SUBDIR = 1 << 5;
const NAMES_URL = 1 << 6;
const IN_PLACE = 1 << 7;
const DISPLACED = 1 << 8;

/** Faults are kept in words up to this many; of further ones only that there is one. */
const MAX_KEPT_FAULTS = 10_000;

/** Where a record stands in the text, in bytes. */
export interface RecordSpan {
  /** The key's opening quote. */
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

/** What a file name is made of. */
export type RecordParts = Pick<RepodataRecord, 'name' | 'version' | 'build'>;

/**
 * The records of one subdir in columns: a row for each place where a record stands, in the order of the text, some 150 bytes
 * each. What few records have is in maps beside them.
 */
export class RecordTable {
  readonly filenames = new TextIndex();
  readonly names = new TextIndex();
  readonly #subdir: string;
  #count = 0;
  readonly #flags = new NumberColumn((length) => new Uint16Array(length));
  readonly #filename = new NumberColumn((length) => new Uint32Array(length));
  readonly #name = new NumberColumn((length) => new Uint32Array(length), NO_ROW);
  readonly #size = new NumberColumn((length) => new Float64Array(length), -1);
  readonly #indexedTimestamp = new NumberColumn((length) => new Float64Array(length), -1);
  readonly #start = new NumberColumn((length) => new Float64Array(length));
  readonly #valueOffset = new NumberColumn((length) => new Uint32Array(length));
  readonly #length = new NumberColumn((length) => new Uint32Array(length));
  readonly #sha256 = new BytesColumn(32);
  readonly #md5 = new BytesColumn(16);
  /** The row that counts, by id of the file name: one column for the classic sections, one for those of a revision. */
  readonly #classicRow = new NumberColumn((length) => new Uint32Array(length), NO_ROW);
  readonly #revisionRow = new NumberColumn((length) => new Uint32Array(length), NO_ROW);
  /** Of records whose parts are not those that the file name is split into. */
  readonly #parts = new Map<number, RecordParts>();
  readonly #subdirs = new Map<number, string>();
  readonly #urls = new Map<number, string>();
  readonly #attestations = new Map<number, string>();
  readonly #faults = new Map<number, string>();
  #hasDoubles = false;
  #namesUrls = false;
  #hasDisplaced = false;
  #recordCount = 0;

  constructor(subdir: string) {
    this.#subdir = subdir;
  }

  /** How many rows there are, those that do not count included. */
  get rowCount(): number {
    return this.#count;
  }

  /** How many file names have a row that counts; known once the table is settled. */
  get recordCount(): number {
    return this.#recordCount;
  }

  /** Whether a file name stands twice where it may stand once. */
  get hasDoubles(): boolean {
    return this.#hasDoubles;
  }

  /** Whether a record names a URL of its own. */
  get namesUrls(): boolean {
    return this.#namesUrls;
  }

  /** Whether a revision lists another archive under a name that a classic section lists as well. */
  get hasDisplaced(): boolean {
    return this.#hasDisplaced;
  }

  /**
   * Adds a row; the numbers tell where it stands, as in {@link RecordSpan}. Of a file name that stands twice the last one counts, unless only
   * the first is in its right section.
   */
  add(
    filename: number,
    section: number,
    isInPlace: boolean,
    start: number,
    valueOffset: number,
    length: number,
  ): number {
    const row = this.#count;
    this.#count += 1;
    this.#filename.set(row, filename);
    this.#flags.set(row, section | (isInPlace ? IN_PLACE : 0));
    this.#start.set(row, start);
    this.#valueOffset.set(row, valueOffset);
    this.#length.set(row, length);
    const column = SECTIONS[section]?.isRevision === true ? this.#revisionRow : this.#classicRow;
    const known = column.get(filename);
    if (known !== NO_ROW) {
      this.#hasDoubles = true;
      if ((this.#flags.get(known) & SECTION_BITS) !== section && !isInPlace) return row;
    }
    column.set(filename, row);
    return row;
  }

  /** Forgets the rows of a section that stands a second time. */
  dropSection(section: number): void {
    for (let row = 0; row < this.#count; row += 1) {
      if ((this.#flags.get(row) & SECTION_BITS) !== section) continue;
      const filename = this.#filename.get(row);
      for (const column of [this.#classicRow, this.#revisionRow])
        if (column.get(filename) === row) column.set(filename, NO_ROW);
    }
  }

  /** Notes the id of the package name, as all valid rows have it. */
  setName(row: number, name: number): void {
    this.#name.set(row, name);
  }

  /** Notes what a file name is made of, as its record has it; where nothing is noted, the file name itself is split. */
  setParts(row: number, { name, version, build }: RecordParts): void {
    const split = parseArchiveFilename(this.filename(row));
    if (split.version === version && split.build === build) return;
    this.#parts.set(row, { name, version, build });
  }

  /** @param size in bytes */
  setSize(row: number, size: number): void {
    this.#size.set(row, size);
  }

  /** @param time as the record has it, milliseconds by CEP 47 */
  setIndexedTimestamp(row: number, time: number): void {
    this.#indexedTimestamp.set(row, time);
  }

  setSubdir(row: number, subdir: string): void {
    this.#flag(row, HAS_SUBDIR);
    if (subdir !== this.#subdir) this.#subdirs.set(row, subdir);
  }

  setUrl(row: number, url: string): void {
    this.#urls.set(row, url);
  }

  setAttestations(row: number, sha256: string): void {
    this.#attestations.set(row, sha256);
  }

  setSha256(row: number, digest: Uint8Array): void {
    this.#sha256.chunkFor(row).set(digest, this.#sha256.offsetOf(row));
    this.#flag(row, HAS_SHA256);
  }

  setMd5(row: number, digest: Uint8Array): void {
    this.#md5.chunkFor(row).set(digest, this.#md5.offsetOf(row));
    this.#flag(row, HAS_MD5);
  }

  setNamesUrl(row: number): void {
    this.#namesUrls = true;
    this.#flag(row, NAMES_URL);
  }

  setInvalid(row: number, why: string): void {
    this.#flag(row, INVALID);
    if (this.#faults.size < MAX_KEPT_FAULTS) this.#faults.set(row, why);
  }

  /** To be called once all rows are there: finds those of a revision that contradict a classic section. */
  settle(): void {
    for (let id = 0; id < this.filenames.count; id += 1)
      if (this.rowOf(id) !== NO_ROW) this.#recordCount += 1;
    for (let row = 0; row < this.#count; row += 1) {
      if (!this.sectionOf(row).isRevision) continue;
      const filename = this.#filename.get(row);
      const classic = this.#classicRow.get(filename);
      if (this.#revisionRow.get(filename) !== row || classic === NO_ROW || !this.isInPlace(classic)) continue;
      if (!this.#contradict(row, classic)) continue;
      this.#flag(row, DISPLACED);
      this.#hasDisplaced = true;
    }
  }

  /** Whether two rows cannot be of one archive. */
  #contradict(a: number, b: number): boolean {
    const common = this.#flags.get(a) & this.#flags.get(b);
    if ((common & HAS_SHA256) !== 0) return this.#sha256.hex(a) !== this.#sha256.hex(b);
    return (common & HAS_MD5) !== 0 && this.#md5.hex(a) !== this.#md5.hex(b);
  }

  /** The row that counts for a file name; a classic section comes before a revision. */
  rowOf(filename: number): number {
    const row = this.#classicRow.get(filename);
    const revision = this.#revisionRow.get(filename);
    return row === NO_ROW || (revision !== NO_ROW && !this.isInPlace(row)) ? revision : row;
  }

  /** Whether the row is written when its file name is: in its right section, and not outdone by another row. */
  isPublished(row: number): boolean {
    const flags = this.#flags.get(row);
    if ((flags & IN_PLACE) === 0 || (flags & DISPLACED) !== 0) return false;
    const column = this.sectionOf(row).isRevision ? this.#revisionRow : this.#classicRow;
    return column.get(this.#filename.get(row)) === row;
  }

  isInPlace(row: number): boolean {
    return (this.#flags.get(row) & IN_PLACE) !== 0;
  }

  isInvalid(row: number): boolean {
    return (this.#flags.get(row) & INVALID) !== 0;
  }

  namesUrl(row: number): boolean {
    return (this.#flags.get(row) & NAMES_URL) !== 0;
  }

  sectionOf(row: number): Section {
    return SECTIONS[this.#flags.get(row) & SECTION_BITS] as Section;
  }

  filenameId(row: number): number {
    return this.#filename.get(row);
  }

  filename(row: number): string {
    return this.filenames.text(this.#filename.get(row));
  }

  /** Id of the package name. Of a valid row. */
  nameId(row: number): number {
    return this.#name.get(row);
  }

  spanOf(row: number): RecordSpan {
    const start = this.#start.get(row);
    return { start, valueStart: start + this.#valueOffset.get(row), end: start + this.#length.get(row) };
  }

  /** In milliseconds, -1 where there is none. */
  indexedTimestamp(row: number): number {
    return this.#indexedTimestamp.get(row);
  }

  attestations(row: number): string | undefined {
    return this.#attestations.get(row);
  }

  /** `sha256:…`, or `md5:…` where old repodata has no more. */
  identity(row: number): string | undefined {
    const flags = this.#flags.get(row);
    if ((flags & HAS_SHA256) !== 0) return `sha256:${this.#sha256.hex(row)}`;
    return (flags & HAS_MD5) === 0 ? undefined : `md5:${this.#md5.hex(row)}`;
  }

  /** Whether a row tells any digest of its archive. */
  hasIdentity(row: number): boolean {
    return (this.#flags.get(row) & (HAS_SHA256 | HAS_MD5)) !== 0;
  }

  /** Whether a row of another table has the same {@link identity}. */
  hasSameIdentity(row: number, other: RecordTable, otherRow: number): boolean {
    const [flags, otherFlags] = [this.#flags.get(row), other.#flags.get(otherRow)];
    if (((flags ^ otherFlags) & HAS_SHA256) !== 0) return false;
    if ((flags & HAS_SHA256) !== 0) return this.#sha256.isSame(row, other.#sha256, otherRow);
    return (flags & otherFlags & HAS_MD5) !== 0 && this.#md5.isSame(row, other.#md5, otherRow);
  }

  /** In bytes, -1 where the record does not tell. */
  size(row: number): number {
    return this.#size.get(row);
  }

  /** The record of a row that is valid. */
  record(row: number): RepodataRecord {
    const flags = this.#flags.get(row);
    const filename = this.filename(row);
    const size = this.#size.get(row);
    const subdir = this.#subdirs.get(row) ?? this.#subdir;
    const { extension } = this.sectionOf(row);
    const { name, version, build } = this.#parts.get(row) ?? splitFilename(filename, extension);
    return {
      filename,
      extension,
      listedIn: this.#subdir,
      name,
      version,
      build,
      sha256: (flags & HAS_SHA256) === 0 ? undefined : this.#sha256.hex(row),
      md5: (flags & HAS_MD5) === 0 ? undefined : this.#md5.hex(row),
      size: size < 0 ? undefined : size,
      subdir: (flags & HAS_SUBDIR) === 0 ? undefined : subdir,
      url: this.#urls.get(row),
    };
  }

  /** Why a row cannot be used; `undefined` for one that can. */
  fault(row: number): FerryError | undefined {
    if (this.isInvalid(row)) {
      const why = this.#faults.get(row) ?? 'a record of the repodata is not valid';
      return new FerryError('RECORD_INVALID', why);
    }
    if (this.isInPlace(row)) return undefined;
    const where = this.sectionOf(row).name;
    return new FerryError('RECORD_INVALID', `\`${this.filename(row)}\` stands under \`${where}\``);
  }

  #flag(row: number, flag: number): void {
    this.#flags.set(row, this.#flags.get(row) | flag);
  }
}

/** The parts of a file name that was checked before. */
function splitFilename(filename: string, extension: ArchiveExtension): RecordParts {
  const end = filename.length - extension.length - 1;
  const buildDash = filename.lastIndexOf('-', end);
  const versionDash = filename.lastIndexOf('-', buildDash - 1);
  return {
    name: filename.slice(0, versionDash),
    version: filename.slice(versionDash + 1, buildDash),
    build: filename.slice(buildDash + 1, end),
  };
}
