/**
 * A subdir's repodata as a published channel keeps it: records by file name, in the order of their names, so that whoever
 * merges the same changes writes the same bytes. Records that nobody touches stay as they stand.
 */
import { JsonCursor, type Span } from '../conda/json-cursor.js';
import { archiveExtensionOf } from '../conda/names.js';
import type { JsonObject } from '../conda/record-details.js';
import { ParseError } from '../errors.js';
import { compareText } from '../io/compare-text.js';

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
    const records = new Map<string, Value>();
    const removed = new Set<string>();
    const others = new Map<string, Value>();
    // CEP 26 takes an empty file for an empty object.
    if (text.byteLength === 0) return Listing.empty(subdir);
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
    this.#records.set(filename, encode(record));
    this.#removed.delete(filename);
  }

  /** Says nothing of an archive any more: it is neither listed nor removed. */
  delete(filename: string): void {
    this.#records.delete(filename);
    this.#removed.delete(filename);
  }

  /** File names that are gone from the index on purpose, and stay to be fetched. */
  get removed(): ReadonlySet<string> {
    return this.#removed;
  }

  /** Moves an archive to `removed`. */
  remove(filename: string): void {
    this.#records.delete(filename);
    this.#removed.add(filename);
  }

  /** Writes the text: the same bytes for the same records, removed names and other members. */
  write(): Uint8Array {
    const pieces: Uint8Array[] = [Buffer.from('{')];
    let isFirst = true;
    const member = (key: string): void => {
      pieces.push(Buffer.from(`${isFirst ? '' : ',\n'}${JSON.stringify(key)}:`));
      isFirst = false;
    };
    const info = this.#others.get('info');
    if (info !== undefined) {
      member('info');
      pieces.push(this.#bytesOf(info));
    }
    const filenames = [...this.#records.keys()].sort(compareText);
    for (const section of SECTIONS) {
      member(section);
      this.#writeSection(
        filenames.filter((filename) => sectionOf(filename) === section),
        pieces,
      );
    }
    member('removed');
    pieces.push(encode([...this.#removed].sort(compareText)));
    for (const key of [...this.#others.keys()].sort(compareText)) {
      const value = this.#others.get(key);
      if (key === 'info' || value === undefined) continue;
      member(key);
      pieces.push(this.#bytesOf(value));
    }
    pieces.push(Buffer.from('}\n'));
    return Buffer.concat(pieces);
  }

  #writeSection(filenames: readonly string[], pieces: Uint8Array[]): void {
    pieces.push(Buffer.from('{'));
    let separator = '\n';
    for (const filename of filenames) {
      const value = this.#records.get(filename);
      if (value === undefined) continue;
      pieces.push(Buffer.from(`${separator}${JSON.stringify(filename)}:`), this.#bytesOf(value));
      separator = ',\n';
    }
    pieces.push(Buffer.from('}'));
  }

  #bytesOf(value: Value): Uint8Array {
    return 'start' in value ? this.#text.subarray(value.start, value.end) : value;
  }
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
