import { isFerryError } from '../../errors.js';
import { FILENAME_PARTS, MAX_FILENAME_LENGTH } from '../names.js';
import { parseRepodataRecord, type RepodataRecord } from '../package-record.js';
import { decodeJson } from './document-scanner.js';
import { BACKSLASH, LETTER_N, OPEN_BRACE, table } from './json-bytes.js';
import { membersOf } from './json-members.js';
import { namesUrl } from './names-url.js';
import type { RecordTable } from './record-table.js';
import type { ScannedRecord } from './scanned-record.js';
import { SECTIONS } from './sections.js';

const DASH = 0x2d;

// 1 for the bytes that `parseArchiveFilename` takes in a part of a file name.
const FIRST_OF_NAME = table((byte) => FILENAME_PARTS.name.test(String.fromCharCode(byte)));
const IN_NAME = table((byte) => FILENAME_PARTS.name.test(`a${String.fromCharCode(byte)}`));
const IN_VERSION = table((byte) => FILENAME_PARTS.version.test(String.fromCharCode(byte)));
const IN_BUILD = table((byte) => FILENAME_PARTS.build.test(String.fromCharCode(byte)));

/** What follows the build string in the keys of each section, with the dot. */
const ENDINGS = SECTIONS.map(({ extension }) => Buffer.from(`.${extension}`));

/**
 * Fills the table from scanned records. Nearly all of them are proven good on their bytes; the others are decoded and judged
 * by `parseRepodataRecord`, so that what counts as good, and what is said of the rest, is decided in one place.
 */
export class RecordReader {
  readonly #table: RecordTable;
  readonly #subdir: string;
  readonly #subdirBytes: Uint8Array;
  /** A key with its extension, where the text has it without. */
  #scratch = Buffer.allocUnsafeSlow(512);
  #lastName = -1;
  #lastNameBytes: Uint8Array = new Uint8Array();

  constructor(records: RecordTable, subdir: string) {
    this.#table = records;
    this.#subdir = subdir;
    this.#subdirBytes = Buffer.from(subdir);
  }

  /** Adds a record of that section. @param base offset in the text of `bytes[0]` */
  read(record: ScannedRecord, section: number, bytes: Uint8Array, base: number): void {
    const { keyStart, keyEnd, valueStart } = record;
    const ending = ENDINGS[section] as Buffer;
    const isRevision = SECTIONS[section]?.isRevision === true;
    const isEscaped = !record.isPlain && includes(bytes, BACKSLASH, keyStart, keyEnd);
    let filename: number;
    let isInPlace = true;
    if (isRevision || isEscaped) {
      const key = isEscaped
        ? Buffer.from(decodeJson(bytes, keyStart - 1, keyEnd + 1) as string)
        : bytes.subarray(keyStart, keyEnd);
      const length = this.#withEnding(key, isRevision ? ending : undefined);
      isInPlace = endsWith(this.#scratch, 0, length, ending);
      filename = this.#table.filenames.intern(this.#scratch, 0, length);
    } else {
      isInPlace = endsWith(bytes, keyStart, keyEnd, ending);
      filename = this.#table.filenames.intern(bytes, keyStart, keyEnd);
    }
    const start = keyStart - 1;
    const row = this.#table.add(
      filename,
      section,
      isInPlace,
      base + start,
      valueStart - start,
      record.valueEnd - start,
    );
    if (namesUrl(record, bytes)) this.#table.setNamesUrl(row);
    if (record.isPlain && isInPlace) {
      const stemEnd = isRevision ? keyEnd : keyEnd - ending.length;
      if (isSaid(record, bytes, stemEnd, ending.length)) {
        this.#takePlain(record, bytes, row);
        return;
      }
    }
    this.#takeDecoded(record, bytes, row);
  }

  /** Notes the fields as they stand. */
  #takePlain(record: ScannedRecord, bytes: Uint8Array, row: number): void {
    const records = this.#table;
    if (record.hasSha256) records.setSha256(row, record.sha256);
    if (record.hasMd5) records.setMd5(row, record.md5);
    records.setName(row, this.#nameId(bytes, record.nameStart, record.nameEnd));
    if (record.size >= 0) records.setSize(row, record.size);
    if (record.indexedTimestamp >= 0) records.setIndexedTimestamp(row, record.indexedTimestamp);
    if (record.subdirEnd > 0) {
      const isUsual = equals(bytes, record.subdirStart, record.subdirEnd, this.#subdirBytes);
      records.setSubdir(row, isUsual ? this.#subdir : textOf(bytes, record.subdirStart, record.subdirEnd));
    }
    if (record.urlEnd > 0) records.setUrl(row, textOf(bytes, record.urlStart, record.urlEnd));
    if (record.attestationsEnd > 0)
      records.setAttestations(row, textOf(bytes, record.attestationsStart, record.attestationsEnd));
  }

  #takeDecoded(record: ScannedRecord, bytes: Uint8Array, row: number): void {
    const records = this.#table;
    const { valueStart, valueEnd } = record;
    if (bytes[valueStart] === OPEN_BRACE && includes(bytes, BACKSLASH, valueStart, valueEnd)) {
      const object = bytes.subarray(valueStart, valueEnd);
      for (const member of membersOf(object)) {
        if (member.key === 'url' && object[member.valueStart] !== LETTER_N) records.setNamesUrl(row);
      }
    }
    const value = decodeJson(bytes, valueStart, valueEnd);
    let read: RepodataRecord;
    try {
      read = parseRepodataRecord(records.filename(row), value, this.#subdir);
    } catch (error) {
      if (!isFerryError(error, 'RECORD_INVALID')) throw error;
      records.setInvalid(row, error.message);
      return;
    }
    const name = Buffer.from(read.name);
    records.setName(row, this.#nameId(name, 0, name.length));
    records.setParts(row, read);
    if (read.sha256 !== undefined) records.setSha256(row, Buffer.from(read.sha256, 'hex'));
    if (read.md5 !== undefined) records.setMd5(row, Buffer.from(read.md5, 'hex'));
    if (read.size !== undefined) records.setSize(row, read.size);
    if (read.subdir !== undefined) records.setSubdir(row, read.subdir);
    if (read.url !== undefined) records.setUrl(row, read.url);
    const { indexed_timestamp: indexed, attestations_sha256: attestations } = value as Record<
      string,
      unknown
    >;
    if (typeof indexed === 'number' && indexed >= 0) records.setIndexedTimestamp(row, indexed);
    if (typeof attestations === 'string') records.setAttestations(row, attestations);
  }

  /** Records of one name mostly stand together. */
  #nameId(bytes: Uint8Array, start: number, end: number): number {
    if (this.#lastName < 0 || !equals(bytes, start, end, this.#lastNameBytes)) {
      this.#lastName = this.#table.names.intern(bytes, start, end);
      this.#lastNameBytes = new Uint8Array(bytes.subarray(start, end));
    }
    return this.#lastName;
  }

  #withEnding(key: Uint8Array, ending: Uint8Array | undefined): number {
    const length = key.length + (ending?.length ?? 0);
    if (length > this.#scratch.length) this.#scratch = Buffer.allocUnsafeSlow(length * 2);
    this.#scratch.set(key);
    if (ending !== undefined) this.#scratch.set(ending, key.length);
    return length;
  }
}

/** Whether the key, up to `stemEnd`, is what the fields say, `name-version-build`, and of bytes that each may have. */
function isSaid(record: ScannedRecord, bytes: Uint8Array, stemEnd: number, endingLength: number): boolean {
  const { keyStart, nameStart, nameEnd, versionStart, versionEnd, buildStart, buildEnd } = record;
  // An end of 0 is a field that is missing.
  const nameLength = nameEnd - nameStart;
  const versionLength = versionEnd - versionStart;
  const buildLength = buildEnd - buildStart;
  if (nameEnd === 0 || versionEnd === 0 || buildEnd === 0) return false;
  if (nameLength === 0 || versionLength === 0 || buildLength === 0) return false;
  const length = stemEnd - keyStart;
  if (nameLength + versionLength + buildLength + 2 !== length || length + endingLength > MAX_FILENAME_LENGTH)
    return false;
  const versionAt = keyStart + nameLength + 1;
  const buildAt = versionAt + versionLength + 1;
  if (bytes[versionAt - 1] !== DASH || bytes[buildAt - 1] !== DASH) return false;
  if (FIRST_OF_NAME[bytes[nameStart] as number] === 0) return false;
  return (
    isPart(bytes, keyStart, nameStart, nameLength, IN_NAME) &&
    isPart(bytes, versionAt, versionStart, versionLength, IN_VERSION) &&
    isPart(bytes, buildAt, buildStart, buildLength, IN_BUILD)
  );
}

/** Whether the same bytes stand at both places, all of them allowed. */
function isPart(bytes: Uint8Array, a: number, b: number, length: number, allowed: Uint8Array): boolean {
  for (let i = 0; i < length; i += 1) {
    const byte = bytes[a + i] as number;
    if (byte !== bytes[b + i] || allowed[byte] === 0) return false;
  }
  return true;
}

function equals(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  if (end - start !== other.length) return false;
  for (let i = 0; i < other.length; i += 1) if (bytes[start + i] !== other[i]) return false;
  return true;
}

function endsWith(bytes: Uint8Array, start: number, end: number, ending: Uint8Array): boolean {
  return end - start >= ending.length && equals(bytes, end - ending.length, end, ending);
}

function includes(bytes: Uint8Array, byte: number, start: number, end: number): boolean {
  const found = bytes.subarray(start, end).indexOf(byte);
  return found >= 0;
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8');
}
