import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  LETTER_N,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  SPACE,
  STOPS_STRING,
  isSpace,
} from './json-bytes.js';
import { readHex } from './hex.js';
import { JsonSkipper } from './json-skipper.js';
import { KeyGuess, NO_KEY } from './key-guess.js';
import { malformed } from './malformed.js';
import { ScannedRecord } from './scanned-record.js';

/** Bytes of the window that are behind its end: a zero, at which every loop stops, and what is read in words. */
export const WINDOW_SLACK = 32;

/** The bytes at hand, and {@link WINDOW_SLACK} more. */
export interface ScanWindow {
  bytes: Uint8Array;
  /** The same bytes, for reading words. */
  view: DataView;
  /** Offset in the whole text of `bytes[0]`. */
  base: number;
  end: number;
}

/** The record goes on behind the bytes at hand. */
export const INCOMPLETE = -1;

/** Whole numbers of so many digits are exact. */
const MAX_DIGITS = 15;

// Needed fields, so that a number tells which one a key names.
const OTHER = 0;
const NAME = 1;
const VERSION = 2;
const BUILD = 3;
const SHA256 = 4;
const MD5 = 5;
const SIZE = 6;
const SUBDIR = 7;
const URL = 8;
const INDEXED_TIMESTAMP = 9;
const ATTESTATIONS_SHA256 = 10;

const NEEDED_KEYS: readonly (readonly [string, number])[] = [
  ['name', NAME],
  ['version', VERSION],
  ['build', BUILD],
  ['sha256', SHA256],
  ['md5', MD5],
  ['size', SIZE],
  ['subdir', SUBDIR],
  ['url', URL],
  ['indexed_timestamp', INDEXED_TIMESTAMP],
  ['attestations_sha256', ATTESTATIONS_SHA256],
];
/** Field by length and second byte of its key, which no two of them share. */
const FIELD_BY_SHAPE = new Uint8Array(32 * 256);
for (const [key, field] of NEEDED_KEYS) FIELD_BY_SHAPE[(key.length << 8) | key.charCodeAt(1)] = field;
const BYTES_BY_FIELD: readonly Uint8Array[] = [
  new Uint8Array(),
  ...NEEDED_KEYS.map(([key]) => Uint8Array.from(Buffer.from(key))),
];

/**
 * Reads one member of a section, key and record, in one pass over its bytes: everything is checked to be JSON, the needed
 * fields are noted, all else is passed by. What stands as records usually stand takes the short way; anything else
 * is left to the {@link JsonSkipper}, which knows all of JSON.
 */
export class RecordScanner {
  readonly record = new ScannedRecord();
  readonly #skipper = new JsonSkipper();
  readonly #keys = new KeyGuess();

  /**
   * Scans the member whose key begins at `start`.
   * @returns index behind it, or {@link INCOMPLETE}
   * @throws ParseError `REPODATA_INVALID`
   */
  scan(window: ScanWindow, start: number): number {
    const { bytes } = window;
    const { record } = this;
    record.reset();
    if (bytes[start] !== QUOTE) return this.#missing(window, start, 'a string');
    const keyEnd = stringEnd(bytes, start + 1);
    let at = keyEnd + 1;
    if (bytes[keyEnd] !== QUOTE) {
      at = this.#skip(window, start);
      if (at === INCOMPLETE) return INCOMPLETE;
      record.isPlain = false;
    }
    record.keyStart = start + 1;
    record.keyEnd = at - 1;
    if (bytes[at] !== COLON) {
      at = skipSpace(bytes, at);
      if (bytes[at] !== COLON) return this.#missing(window, at, '`:`');
    }
    at = skipSpace(bytes, at + 1);
    record.valueStart = at;
    if (bytes[at] === OPEN_BRACE) at = this.#members(window, at + 1);
    else {
      record.isPlain = false;
      at = this.#skip(window, at);
    }
    record.valueEnd = at;
    return at;
  }

  #members(window: ScanWindow, start: number): number {
    const { bytes, view } = window;
    const { record } = this;
    const keys = this.#keys;
    let key = NO_KEY;
    let at = skipSpace(bytes, start);
    if (bytes[at] === CLOSE_BRACE) return at + 1;
    for (;;) {
      if (bytes[at] !== QUOTE) return this.#missing(window, at, 'a string');
      let field = OTHER;
      const guessed = keys.guess(key, view, at);
      if (guessed !== NO_KEY) {
        field = keys.fieldOf(guessed);
        at += keys.lengthOf(guessed);
        key = guessed;
      } else {
        const keyStart = at + 1;
        const keyEnd = stringEnd(bytes, keyStart);
        if (bytes[keyEnd] === QUOTE) {
          field = fieldOf(bytes, keyStart, keyEnd);
          at = keyEnd + 1;
          key = keys.learn(key, window, keyStart, keyEnd, field);
        } else {
          at = this.#skip(window, at);
          if (at === INCOMPLETE) return INCOMPLETE;
          // It may be a needed key in disguise.
          record.isPlain = false;
          key = NO_KEY;
        }
        if (bytes[at] !== COLON) {
          at = skipSpace(bytes, at);
          if (bytes[at] !== COLON) return this.#missing(window, at, '`:`');
        }
        at += 1;
      }
      if ((bytes[at] as number) <= SPACE) at = skipSpace(bytes, at);

      const valueStart = at;
      const first = bytes[at];
      if (first === QUOTE) {
        const digestEnd = field === SHA256 ? at + 65 : field === MD5 ? at + 33 : 0;
        const isDigest = digestEnd > 0 && digestEnd < window.end && bytes[digestEnd] === QUOTE;
        if (isDigest && readDigest(record, bytes, at + 1, digestEnd)) {
          at = digestEnd + 1;
        } else if (bytes[(at = stringEnd(bytes, at + 1))] === QUOTE) {
          if (field !== OTHER) noteText(record, field, valueStart + 1, at);
          at += 1;
        } else {
          at = valueStart;
          at = this.#skip(window, at);
          if (field !== OTHER) record.isPlain = false;
        }
      } else if (first === OPEN_BRACKET) {
        at = this.#texts(window, at);
        if (field !== OTHER) record.isPlain = false;
      } else {
        at = this.#scalar(window, at, field);
      }
      if (at === INCOMPLETE) return INCOMPLETE;
      if (field === URL && first !== LETTER_N) record.namesUrl = true;

      if ((bytes[at] as number) <= SPACE) at = skipSpace(bytes, at);
      const next = bytes[at];
      if (next === COMMA) {
        at += 1;
        if ((bytes[at] as number) <= SPACE) at = skipSpace(bytes, at);
      } else if (next === CLOSE_BRACE) return at + 1;
      else return this.#missing(window, at, '`,` or `}`');
    }
  }

  /** A list, which in records nearly always is one of plain texts. */
  #texts(window: ScanWindow, start: number): number {
    const { bytes, view } = window;
    let at = start + 1;
    if ((bytes[at] as number) <= SPACE) at = skipSpace(bytes, at);
    if (bytes[at] === CLOSE_BRACKET) return at + 1;
    for (;;) {
      if (bytes[at] !== QUOTE) break;
      // To the end of the text by words; the lowest mark in a word is always a true one.
      at += 1;
      for (;;) {
        const word = view.getInt32(at, true);
        const quote = word ^ 0x22222222;
        const backslash = word ^ 0x5c5c5c5c;
        const marks =
          (((quote - 0x01010101) & ~quote) |
            ((backslash - 0x01010101) & ~backslash) |
            ((word - 0x20202020) & ~word)) &
          0x80808080;
        if (marks !== 0) {
          at += (31 - Math.clz32(marks & -marks)) >>> 3;
          break;
        }
        at += 4;
      }
      if (bytes[at] !== QUOTE) break;
      at += 1;
      if (bytes[at] === COMMA && bytes[at + 1] === QUOTE) {
        at += 1;
        continue;
      }
      if ((bytes[at] as number) <= SPACE) at = skipSpace(bytes, at);
      if (bytes[at] === CLOSE_BRACKET) return at + 1;
      if (bytes[at] !== COMMA) break;
      at += 1;
      if ((bytes[at] as number) <= SPACE) at = skipSpace(bytes, at);
    }
    return this.#skip(window, start);
  }

  /** A whole number; or a word, an object or any other number. */
  #scalar(window: ScanWindow, start: number, field: number): number {
    const { bytes } = window;
    const { record } = this;
    let at = start;
    let value = 0;
    let digit = (bytes[at] as number) - 0x30;
    while (digit >= 0 && digit <= 9) {
      value = value * 10 + digit;
      at += 1;
      digit = (bytes[at] as number) - 0x30;
    }
    const next = bytes[at];
    const digits = at - start;
    if (
      digits > 0 &&
      digits <= MAX_DIGITS &&
      (next === COMMA || next === CLOSE_BRACE || isSpace(next as number)) &&
      (digits === 1 || bytes[start] !== 0x30)
    ) {
      if (field !== OTHER) noteNumber(record, field, value);
      return at;
    }
    at = this.#skip(window, start);
    if (at !== INCOMPLETE && field !== OTHER) {
      if (bytes[start] === LETTER_N) noteNull(record, field);
      else record.isPlain = false;
    }
    return at;
  }

  #skip(window: ScanWindow, start: number): number {
    const skipper = this.#skipper;
    skipper.start();
    const at = skipper.run(window, start);
    return skipper.isDone ? at : INCOMPLETE;
  }

  /** Stops at the end of the bytes at hand, and refuses anything else. */
  #missing(window: ScanWindow, at: number, what: string): number {
    if (at >= window.end) return INCOMPLETE;
    throw malformed(`${what} is missing`, window, at);
  }
}

/** Index of the byte at which plain text that begins at `start` stops. */
function stringEnd(bytes: Uint8Array, start: number): number {
  let at = start;
  while (STOPS_STRING[bytes[at] as number] === 0) at += 1;
  return at;
}

/** Index of the next byte that is no white space. */
export function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (isSpace(bytes[at] as number)) at += 1;
  return at;
}

function fieldOf(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length > 31) return OTHER;
  const field = FIELD_BY_SHAPE[(length << 8) | (bytes[start + 1] as number)] as number;
  if (field === OTHER) return OTHER;
  const key = BYTES_BY_FIELD[field] as Uint8Array;
  for (let i = 0; i < length; i += 1) if (bytes[start + i] !== key[i]) return OTHER;
  return field;
}

function noteText(record: ScannedRecord, field: number, start: number, end: number): void {
  switch (field) {
    case NAME:
      record.nameStart = start;
      record.nameEnd = end;
      return;
    case VERSION:
      record.versionStart = start;
      record.versionEnd = end;
      return;
    case BUILD:
      record.buildStart = start;
      record.buildEnd = end;
      return;
    case SHA256:
      // One that is none; `null` is as good as absent.
      record.hasSha256 = false;
      if (end > 0) record.isPlain = false;
      return;
    case MD5:
      record.hasMd5 = false;
      if (end > 0) record.isPlain = false;
      return;
    case SUBDIR:
      record.subdirStart = start;
      record.subdirEnd = end;
      return;
    case URL:
      record.urlStart = start;
      record.urlEnd = end;
      return;
    case ATTESTATIONS_SHA256:
      record.attestationsStart = start;
      record.attestationsEnd = end;
      return;
    default:
      record.isPlain = false;
  }
}

/** Reads a digest. @returns whether it is one */
function readDigest(record: ScannedRecord, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start === 64) {
    record.hasSha256 = readHex(bytes, start, end, record.sha256);
    return record.hasSha256;
  }
  record.hasMd5 = readHex(bytes, start, end, record.md5);
  return record.hasMd5;
}

function noteNumber(record: ScannedRecord, field: number, value: number): void {
  if (field === SIZE) record.size = value;
  else if (field === INDEXED_TIMESTAMP) record.indexedTimestamp = value;
  else record.isPlain = false;
}

/** Of equal keys the last one counts, also when it is `null`. */
function noteNull(record: ScannedRecord, field: number): void {
  if (field === SIZE) record.size = -1;
  else if (field === INDEXED_TIMESTAMP) record.indexedTimestamp = -1;
  else noteText(record, field, 0, 0);
}
