/**
 * A subdir's repodata as a published channel keeps it: records by file name, in the order of their names, so that whoever
 * merges the same changes writes the same bytes. Records that nobody touches stay as they stand.
 */
import { JsonCursor, type Span } from '../conda/json-cursor.js';
import { decodeJson, DocumentScanner } from '../conda/repodata/document-scanner.js';
import { archiveExtensionOf } from '../conda/names.js';
import type { JsonObject } from '../conda/record-details.js';
import { isFerryError, ParseError } from '../errors.js';
import { concatBytes } from '../io/bytes.js';
import { compareText } from '../io/compare-text.js';

const BLOCK_BYTES = 256 * 1024;
/** Printable ASCII without quotes and backslashes: the key's bytes are the file name. */
const PLAIN_KEY = /^[ !#-[\]-~]*$/;
/** What stands around the key of a record behind another one. */
const KEY_BYTES = ',\n"":'.length;
const [COMMA, NEWLINE, QUOTE, COLON] = [0x2c, 0x0a, 0x22, 0x3a];
const SECTIONS = ['packages', 'packages.conda'] as const;
type Section = (typeof SECTIONS)[number];

/** A piece of the text that was read, or what is new. */
type Value = Span | Uint8Array;

/** One subdir's repodata that can be changed. @see CEP 36 */
export class Listing {
  readonly #text: Uint8Array;
  readonly #records: Map<string, Value>;
  readonly #removed: Set<string>;
  /** Members other than those that hold records, as they stand. */
  readonly #others: ReadonlyMap<string, Value>;
  /** Names in the order in which they are written, since the last change. */
  #sorted: Partial<Record<Section, readonly string[]>> = {};

  private constructor(
    text: Uint8Array,
    records: Map<string, Value>,
    removed: Set<string>,
    others: ReadonlyMap<string, Value>,
  ) {
    this.#text = text;
    this.#records = records;
    this.#removed = removed;
    this.#others = others;
  }

  /** The repodata of a subdir that has nothing yet. */
  static empty(subdir: string): Listing {
    const others = new Map<string, Value>([
      ['info', encode({ subdir })],
      ['repodata_version', encode(1)],
    ]);
    return new Listing(new Uint8Array(0), new Map(), new Set(), others);
  }

  /**
   * Reads repodata. Of a key that stands twice the last one counts; what is no archive name in the two sections is left out,
   * since no client can use it.
   * @throws ParseError `REPODATA_INVALID`
   */
  static parse(text: Uint8Array, subdir: string): Listing {
    // CEP 26 takes an empty file for an empty object.
    if (text.byteLength === 0) return Listing.empty(subdir);
    // Several times as fast; what is unusual the other one judges.
    const { records, removed, others } = scanText(text) ?? readText(text);
    return new Listing(text, records, removed, others);
  }

  /** A copy to change. */
  edit(): Listing {
    return new Listing(this.#text, new Map(this.#records), new Set(this.#removed), this.#others);
  }

  /** How many archives are listed. */
  get recordCount(): number {
    return this.#records.size;
  }

  /** File names of all records, in no order that means anything. */
  filenames(): Iterable<string> {
    return this.#records.keys();
  }

  has(filename: string): boolean {
    return this.#records.has(filename);
  }

  /** The record of a file name. @throws ParseError `REPODATA_INVALID` where it is no object */
  get(filename: string): JsonObject | undefined {
    const value = this.#records.get(filename);
    if (value === undefined) return undefined;
    const record: unknown = JSON.parse(Buffer.from(this.#bytesOf(value)).toString('utf8'));
    if (typeof record === 'object' && record !== null && !Array.isArray(record)) return record as JsonObject;
    throw invalid(`the record of \`${filename}\` is no object`, 'start' in value ? value.start : 0);
  }

  /** Lists an archive, in the place of what was listed by that name. */
  set(filename: string, record: JsonObject): void {
    this.#sorted = {};
    this.#records.set(filename, encode(record));
    this.#removed.delete(filename);
  }

  /** Says nothing of an archive any more: it is neither listed nor removed. */
  delete(filename: string): void {
    this.#sorted = {};
    this.#records.delete(filename);
    this.#removed.delete(filename);
  }

  /** File names that are gone from the index on purpose, and stay to be fetched. */
  get removed(): ReadonlySet<string> {
    return this.#removed;
  }

  /** Moves an archive to `removed`. */
  remove(filename: string): void {
    this.#sorted = {};
    this.#records.delete(filename);
    this.#removed.add(filename);
  }

  /** Writes the text: the same bytes for the same records, removed names and other members. */
  write(): Uint8Array {
    return concatBytes([...this.blocks()]);
  }

  /** Writes the text in blocks of some size, so that nobody needs to hold all of it. */
  *blocks(): Generator<Uint8Array, void> {
    let block = Buffer.allocUnsafe(BLOCK_BYTES);
    let used = 0;
    for (const piece of this.#pieces()) {
      // Most are short texts, and written where they go.
      const isText = typeof piece === 'string';
      const size = isText ? Buffer.byteLength(piece) : piece.byteLength;
      if (size > block.byteLength - used) {
        if (used > 0) yield block.subarray(0, used);
        block = Buffer.allocUnsafe(BLOCK_BYTES);
        used = 0;
      }
      if (size > block.byteLength) {
        const bytes = isText ? Buffer.from(piece) : piece;
        for (let at = 0; at < size; at += BLOCK_BYTES) yield bytes.subarray(at, at + BLOCK_BYTES);
        continue;
      }
      if (isText) block.write(piece, used);
      else block.set(piece, used);
      used += size;
    }
    if (used > 0) yield block.subarray(0, used);
  }

  *#pieces(): Generator<string | Uint8Array, void> {
    yield '{';
    let separator = '';
    const info = this.#others.get('info');
    if (info !== undefined) {
      yield '"info":';
      yield this.#bytesOf(info);
      separator = ',\n';
    }
    for (const section of SECTIONS) {
      yield `${separator}"${section}":{`;
      yield* this.#recordPieces(section);
      yield '}';
      separator = ',\n';
    }
    yield `${separator}"removed":${JSON.stringify([...this.#removed].sort(compareText))}`;
    for (const key of [...this.#others.keys()].sort(compareText)) {
      const value = this.#others.get(key);
      if (key === 'info' || value === undefined) continue;
      yield `,\n${JSON.stringify(key)}:`;
      yield this.#bytesOf(value);
    }
    yield '}\n';
  }

  /** What was written like this before, one record behind the other, goes as one piece. */
  *#recordPieces(section: Section): Generator<string | Uint8Array, void> {
    let separator = '\n';
    let run: { readonly start: number; end: number } | undefined;
    for (const filename of this.#sortedNames(section)) {
      const value = this.#records.get(filename);
      if (value === undefined) continue;
      if (run !== undefined && 'start' in value && this.#follows(value, run.end, filename)) {
        run.end = value.end;
        continue;
      }
      if (run !== undefined) yield this.#text.subarray(run.start, run.end);
      yield `${separator}${JSON.stringify(filename)}:`;
      separator = ',\n';
      run = 'start' in value ? { ...value } : undefined;
      if (!('start' in value)) yield value;
    }
    if (run !== undefined) yield this.#text.subarray(run.start, run.end);
  }

  /** Whether between two values stands what is written between them: of that length, with a key that is this file name. */
  #follows({ start }: Span, end: number, filename: string): boolean {
    const text = this.#text;
    return (
      start - end === filename.length + KEY_BYTES &&
      text[end] === COMMA &&
      text[end + 1] === NEWLINE &&
      text[end + 2] === QUOTE &&
      text[start - 2] === QUOTE &&
      text[start - 1] === COLON &&
      text[end + 3] === filename.charCodeAt(0)
    );
  }

  #sortedNames(section: Section): readonly string[] {
    // What was read is mostly in order, which makes sorting cheap; it is written more than once.
    const sorted = (this.#sorted[section] ??= [...this.#records.keys()]
      .filter((filename) => sectionOf(filename) === section)
      .sort(compareText));
    return sorted;
  }

  #bytesOf(value: Value): Uint8Array {
    return 'start' in value ? this.#text.subarray(value.start, value.end) : value;
  }
}

interface ListingParts {
  readonly records: Map<string, Value>;
  readonly removed: Set<string>;
  readonly others: Map<string, Value>;
}

/** Finds the parts of a text whose records are objects with keys that need no decoding; else `undefined`. */
function scanText(text: Uint8Array): ListingParts | undefined {
  const parts: ListingParts = { records: new Map(), removed: new Set(), others: new Map() };
  let section = '';
  const unusual: string[] = [];
  const scanner = new DocumentScanner({
    member: ([key = '']) => {
      section = key;
      return isSection(key) ? 'records' : 'skip';
    },
    memberEnd: ([key = ''], { valueStart: start, end }) => {
      if (!isSection(key)) parts.others.set(key, { start, end });
    },
    record: ({ keyStart, keyEnd, valueStart, valueEnd }, bytes, base) => {
      const filename = Buffer.from(bytes.subarray(keyStart, keyEnd)).toString('latin1');
      if (!PLAIN_KEY.test(filename)) unusual.push(filename);
      else if (sectionOf(filename) === section)
        parts.records.set(filename, { start: base + valueStart, end: base + valueEnd });
    },
  });
  try {
    scanner.push(text);
    scanner.finish();
  } catch (error) {
    if (isFerryError(error, 'REPODATA_INVALID')) return undefined;
    throw error;
  }
  if (unusual.length > 0) return undefined;
  const removed = parts.others.get('removed');
  if (removed === undefined || !('start' in removed)) return parts;
  const names: unknown = decodeJson(text, removed.start, removed.end);
  if (!Array.isArray(names)) return undefined;
  parts.others.delete('removed');
  for (const name of names) if (typeof name === 'string') parts.removed.add(name);
  return parts;
}

/** @throws ParseError `REPODATA_INVALID` */
function readText(text: Uint8Array): ListingParts {
  const records = new Map<string, Value>();
  const removed = new Set<string>();
  const others = new Map<string, Value>();
  const cursor = new JsonCursor(text);
  cursor.readObject((key) => {
    if (isSection(key)) {
      cursor.readObject((filename) => {
        const span = cursor.skipValue();
        if (sectionOf(filename) === key) records.set(filename, span);
      });
      return;
    }
    const span = cursor.skipValue();
    if (key !== 'removed') {
      others.set(key, span);
      return;
    }
    const names = cursor.decode(span);
    if (!Array.isArray(names)) throw invalid('`removed` is no list', span.start);
    for (const name of names) if (typeof name === 'string') removed.add(name);
  });
  cursor.expectEnd();
  return { records, removed, others };
}

function sectionOf(filename: string): Section | undefined {
  const extension = archiveExtensionOf(filename);
  if (extension === undefined) return undefined;
  return extension === 'conda' ? 'packages.conda' : 'packages';
}

function isSection(key: string): key is Section {
  return SECTIONS.some((section) => section === key);
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function invalid(why: string, position: number): ParseError {
  return new ParseError('REPODATA_INVALID', why, '', { position });
}
