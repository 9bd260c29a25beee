import { ParseError } from '../../errors.js';
import { concatBytes } from '../../io/bytes.js';
import { CLOSE_BRACE, COLON, COMMA, OPEN_BRACE, QUOTE } from './json-bytes.js';
import { JsonSkipper } from './json-skipper.js';
import { malformed } from './malformed.js';
import { INCOMPLETE, RecordScanner, WINDOW_SLACK, skipSpace, type ScanWindow } from './record-scanner.js';
import type { ScannedRecord } from './scanned-record.js';
import { Utf8Check } from './utf8-check.js';

/** Pieces that stay in the processor's cache while they are copied, checked and scanned. */
const PIECE_BYTES = 256 * 1024;
/** One record, with its key, has no more; real ones have a thousandth of it. */
const MAX_RECORD_BYTES = 64 * 1024 * 1024;
/** Values that are kept as a whole, such as `info` and `removed`, have no more. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;

/**
 * What is done with the value of a member: its members are visited as it was, or each as a record; or it is kept as a whole,
 * or passed by.
 */
export type MemberTask = 'enter' | 'records' | 'keep' | 'skip';

/** Where a member stands in the text, in bytes. */
export interface MemberSpan {
  /** The key's opening quote. */
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

/** What the scanner tells as it goes. */
export interface DocumentHandler {
  /**
   * Told of each member outside of records, before its value.
   * @param path keys from the outermost on
   * @param first first byte of the value; a task that needs an object is refused if this is no `{`
   */
  member(path: readonly string[], first: number): MemberTask;
  /** Told when a member is over; with its value if that was kept. */
  memberEnd(path: readonly string[], span: MemberSpan, value: Uint8Array | undefined): void;
  /** Told of each record. @param base offset in the text of `bytes[0]` */
  record(record: ScannedRecord, bytes: Uint8Array, base: number): void;
}

// What comes next in the object that is visited.
const DOCUMENT = 0;
const FIRST_KEY = 1;
const KEY = 2;
const AFTER_MEMBER = 3;
const SKIPPING = 4;
const END = 5;

interface OpenMember {
  readonly key: string;
  readonly start: number;
  readonly valueStart: number;
  readonly task: MemberTask;
}

/**
 * Reads a document of records as its bytes arrive, in memory that does not grow with it: outside of records only the members
 * that the handler wants to keep are held, and of records one at a time. All of it is checked to be JSON in UTF-8.
 * @see RFC 8259
 */
export class DocumentScanner {
  readonly #handler: DocumentHandler;
  readonly #window: ScanWindow = openWindow(2 * PIECE_BYTES);
  readonly #utf8 = new Utf8Check();
  readonly #records = new RecordScanner();
  readonly #skipper = new JsonSkipper();
  readonly #open: OpenMember[] = [];
  #next = DOCUMENT;
  /** Bytes that must be there before another try, so that a long record is not read again for each piece of it. */
  #wanted = 0;
  #size = 0;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;

  constructor(handler: DocumentHandler) {
    this.#handler = handler;
  }

  /** Bytes taken. */
  get size(): number {
    return this.#size;
  }

  /** Takes the next bytes, which are not kept. @throws ParseError `REPODATA_INVALID`, position = offset in bytes */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      const fault = this.#utf8.push(piece);
      if (fault === undefined) this.#pushPiece(piece);
      else {
        // What is wrong before it is told first.
        if (fault > 0) this.#pushPiece(piece.subarray(0, fault));
        this.#wanted = 0;
        this.#run();
        throw this.#failure('a string is not UTF-8', this.#size + Math.min(fault, 0));
      }
    }
  }

  /** Says that no more bytes come. @throws ParseError `REPODATA_INVALID`, position = offset in bytes */
  finish(): void {
    this.#wanted = 0;
    this.#run();
    if (this.#utf8.pending > 0) throw this.#failure('a string is not UTF-8', this.#size - this.#utf8.pending);
    if (this.#next !== END) throw this.#failure('it ends early', this.#size);
  }

  #pushPiece(piece: Uint8Array): void {
    const window = this.#window;
    if (window.end + piece.byteLength + WINDOW_SLACK > window.bytes.length)
      this.#growWindow(piece.byteLength);
    window.bytes.set(piece, window.end);
    window.end += piece.byteLength;
    this.#size += piece.byteLength;
    if (window.end >= this.#wanted) this.#run();
  }

  /** Scans what is there, and moves what is left to the front. */
  #run(): void {
    const window = this.#window;
    window.bytes[window.end] = 0;
    const done = this.#scan();
    const left = window.end - done;
    if (left > MAX_RECORD_BYTES) {
      throw this.#failure(`a record has more than ${String(MAX_RECORD_BYTES)} bytes`, window.base + done);
    }
    if (done > 0) window.bytes.copyWithin(0, done, window.end);
    window.base += done;
    window.end = left;
    this.#wanted = 2 * left;
  }

  /** @returns index of the first byte that must stay */
  #scan(): number {
    const { bytes, end } = this.#window;
    let at = 0;
    for (;;) {
      if (this.#next === SKIPPING) {
        at = this.#skipOn(at);
        if (!this.#skipper.isDone) return at;
        this.#endMember(at);
      }
      if (this.#open.at(-1)?.task === 'records') {
        at = this.#scanRecords(at);
        const isOver = bytes[at] === CLOSE_BRACE || this.#next === AFTER_MEMBER;
        if (!isOver) return at;
      }
      at = skipSpace(bytes, at);
      if (at >= end) return at;
      const from = at;
      at = this.#step(at);
      if (at === INCOMPLETE) return from;
    }
  }

  /** Takes one token, or a key with its colon. */
  #step(at: number): number {
    const byte = this.#window.bytes[at];
    switch (this.#next) {
      case DOCUMENT:
        if (byte !== OPEN_BRACE) throw malformed('`{` is missing', this.#window, at);
        this.#next = FIRST_KEY;
        return at + 1;
      case AFTER_MEMBER:
        if (byte === COMMA) {
          this.#next = KEY;
          return at + 1;
        }
        if (byte !== CLOSE_BRACE) throw malformed('`,` or `}` is missing', this.#window, at);
        return this.#leave(at);
      case FIRST_KEY:
        return byte === CLOSE_BRACE ? this.#leave(at) : this.#key(at);
      case KEY:
        return this.#key(at);
      default:
        throw malformed('something follows the document', this.#window, at);
    }
  }

  #leave(at: number): number {
    if (this.#open.length === 0) this.#next = END;
    else this.#endMember(at + 1);
    return at + 1;
  }

  #key(start: number): number {
    const window = this.#window;
    if (window.bytes[start] !== QUOTE) throw malformed('a string is missing', window, start);
    this.#skipper.start();
    const keyEnd = this.#skipper.run(window, start);
    if (!this.#skipper.isDone) return INCOMPLETE;
    const colon = skipSpace(window.bytes, keyEnd);
    if (colon >= window.end) return INCOMPLETE;
    if (window.bytes[colon] !== COLON) throw malformed('`:` is missing', window, colon);
    const valueStart = skipSpace(window.bytes, colon + 1);
    if (valueStart >= window.end) return INCOMPLETE;
    const first = window.bytes[valueStart] as number;
    const key = decodeJson(window.bytes, start, keyEnd) as string;
    const task = this.#handler.member([...this.#open.map((open) => open.key), key], first);
    this.#open.push({ key, start: window.base + start, valueStart: window.base + valueStart, task });
    if (task === 'enter' || task === 'records') {
      if (first !== OPEN_BRACE) throw malformed('`{` is missing', window, valueStart);
      this.#next = FIRST_KEY;
      return valueStart + 1;
    }
    this.#skipper.start();
    this.#kept = [];
    this.#keptBytes = 0;
    this.#next = SKIPPING;
    return valueStart;
  }

  #skipOn(start: number): number {
    const window = this.#window;
    const at = this.#skipper.run(window, start);
    if (this.#open.at(-1)?.task === 'keep') {
      this.#keptBytes += at - start;
      if (this.#keptBytes > MAX_KEPT_BYTES) {
        throw this.#failure(`a value has more than ${String(MAX_KEPT_BYTES)} bytes`, window.base + start);
      }
      this.#kept.push(window.bytes.slice(start, at));
    }
    return at;
  }

  #endMember(at: number): void {
    const open = this.#open.at(-1) as OpenMember;
    const path = this.#open.map(({ key }) => key);
    this.#open.pop();
    this.#next = AFTER_MEMBER;
    const value = open.task === 'keep' ? concatBytes(this.#kept) : undefined;
    this.#kept = [];
    const end = this.#window.base + at;
    this.#handler.memberEnd(path, { start: open.start, valueStart: open.valueStart, end }, value);
  }

  /** Reads records as long as whole ones are there. @returns index of the first byte that is not taken */
  #scanRecords(start: number): number {
    const window = this.#window;
    const { bytes, end } = window;
    const records = this.#records;
    const handler = this.#handler;
    let at = start;
    for (;;) {
      if (this.#next === FIRST_KEY || this.#next === KEY) {
        const keyStart = skipSpace(bytes, at);
        if (keyStart >= end) return keyStart;
        if (this.#next === FIRST_KEY && bytes[keyStart] === CLOSE_BRACE) return keyStart;
        const after = records.scan(window, keyStart);
        if (after === INCOMPLETE) return keyStart;
        handler.record(records.record, bytes, window.base);
        this.#next = AFTER_MEMBER;
        at = after;
      }
      at = skipSpace(bytes, at);
      if (bytes[at] !== COMMA) return at;
      this.#next = KEY;
      at += 1;
    }
  }

  #failure(why: string, position: number): ParseError {
    const context = this.#window.bytes.subarray(0, Math.min(40, this.#window.end));
    return new ParseError(
      'REPODATA_INVALID',
      `malformed JSON at byte ${String(position)}: ${why}`,
      Buffer.from(context).toString('utf8'),
      { position },
    );
  }

  #growWindow(more: number): void {
    const window = this.#window;
    const larger = openWindow(Math.max(window.bytes.length * 2, window.end + more + WINDOW_SLACK));
    larger.bytes.set(window.bytes.subarray(0, window.end));
    window.bytes = larger.bytes;
    window.view = larger.view;
  }
}

function openWindow(length: number): ScanWindow {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer), base: 0, end: 0 };
}

/** The value of JSON that was checked before. */
export function decodeJson(bytes: Uint8Array, start = 0, end = bytes.length): unknown {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8'));
}
