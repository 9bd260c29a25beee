import { JsonCursor, type Span } from '../../conda/json-cursor.js';
import { shorten } from '../../conda/archive/member-path.js';
import { ParseError } from '../../errors.js';
import { beyondLimit } from '../parse-json.js';
import { asJsonObject, type JsonObject } from './json-value.js';

/** Sections that hold records by file name. */
const FLAT_SECTIONS: ReadonlySet<string> = new Set(['packages', 'packages.conda']);
/** The section that holds records by extension and by file name without it. @see CEP 48 */
const NESTED_SECTION = 'v3';

/** A part that is decoded at once: a record, `info`, the list of removed archives. Smaller ones cannot hold too much. */
const LARGE_PART_BYTES = 4 * 1024 * 1024;
const MAX_PART_VALUES = 5_000_000;

const FIRST_OF_OBJECT = 0x7b;

/** One record as it is listed. */
export interface ListedRecord {
  /** Where it is listed: `packages`, `packages.conda`, or `v3` and the extension. */
  readonly section: readonly string[];
  /** As it stands: of `v3` without the extension. */
  readonly key: string;
  /** Such as `zlib-1.2.11-h7b6447c_3.conda`, in each section. */
  readonly filename: string;
  /** The decoded record, whatever it is. */
  readonly value: unknown;
}

interface Section {
  readonly path: readonly string[];
  /** Of a key that stands twice the last one counts, as for most JSON readers. */
  readonly records: ReadonlyMap<string, Span>;
}

/**
 * Repodata as it is checked: nothing but broken JSON is refused, so that all else can be reported. Records are decoded
 * one at a time.
 */
export class RepodataText {
  /** Keys that stand twice, each with those above it. Inside records nobody looks. */
  readonly doubles: readonly (readonly string[])[];
  /** Parts of `v3` that are no objects, where records ought to be. */
  readonly misshapen: readonly (readonly string[])[];
  readonly #bytes: Uint8Array;
  readonly #members: ReadonlyMap<string, Span>;
  readonly #sections: readonly Section[];

  /** @throws ParseError `REPODATA_INVALID` where it is no JSON object, or has a part too large to be looked at */
  constructor(bytes: Uint8Array) {
    // CEP 36 takes an empty file for an empty object.
    this.#bytes = bytes.byteLength === 0 ? Buffer.from('{}') : bytes;
    const doubles: string[][] = [];
    const misshapen: string[][] = [];
    const cursor = new JsonCursor(this.#bytes);
    this.#members = readMembers(cursor, [], doubles);
    cursor.expectEnd();
    const sections: Section[] = [];
    for (const [name, span] of this.#members) {
      if (!this.#isObject(span) || name === 'info') this.#expectSmall(span, name);
      if (!this.#isObject(span)) continue;
      if (FLAT_SECTIONS.has(name)) {
        sections.push({ path: [name], records: this.#membersAt(span, [name], doubles) });
      } else if (name === NESTED_SECTION) {
        for (const [extension, part] of this.#membersAt(span, [name], doubles)) {
          const path = [name, extension];
          if (this.#isObject(part)) sections.push({ path, records: this.#membersAt(part, path, doubles) });
          else misshapen.push(path);
        }
      } else if (name === 'info') this.#membersAt(span, [name], doubles);
    }
    for (const { records } of sections) for (const [key, span] of records) this.#expectSmall(span, key);
    this.#sections = sections;
    this.doubles = doubles;
    this.misshapen = misshapen;
  }

  /** Keys of `v3`. */
  get extensions(): readonly string[] {
    const nested = [...this.#sections.map(({ path }) => path), ...this.misshapen];
    return nested.flatMap(([, extension]) => (extension === undefined ? [] : [extension]));
  }

  /** Decodes the document without its large parts: those are there as empty objects. */
  outline(): JsonObject {
    return Object.fromEntries(
      [...this.#members].map(([key, span]) => [
        key,
        key !== 'info' && this.#isObject(span) ? {} : this.#decode(span),
      ]),
    );
  }

  /** Decodes `info`. */
  info(): JsonObject {
    const span = this.#members.get('info');
    return asJsonObject(span === undefined ? undefined : this.#decode(span));
  }

  /** Decodes all records, one at a time, in the order they stand. */
  *records(): Generator<ListedRecord> {
    for (const { path, records } of this.#sections) {
      for (const [key, span] of records) {
        yield { section: path, key, filename: filenameOf(path, key), value: this.#decode(span) };
      }
    }
  }

  /** File names of the records in `packages` and `packages.conda`. */
  *filenames(): Generator<string> {
    for (const { path, records } of this.#sections) if (path.length === 1) yield* records.keys();
  }

  /** Tells whether `packages` or `packages.conda` lists that file. */
  has(filename: string): boolean {
    return this.#sections.some(({ path, records }) => path.length === 1 && records.has(filename));
  }

  /** Decodes the record of a file in `packages` or `packages.conda`. */
  recordOf(filename: string): unknown {
    for (const { path, records } of this.#sections) {
      const span = path.length === 1 ? records.get(filename) : undefined;
      if (span !== undefined) return this.#decode(span);
    }
    return undefined;
  }

  /** Decodes the record under that key of a section: `packages`, `packages.conda`, or `v3` and the extension. */
  recordAt(section: readonly string[], key: string): unknown {
    const found = this.#sections.find(({ path }) => path.join('/') === section.join('/'));
    const span = found?.records.get(key);
    return span === undefined ? undefined : this.#decode(span);
  }

  #membersAt(span: Span, path: readonly string[], doubles: string[][]): ReadonlyMap<string, Span> {
    return readMembers(new JsonCursor(this.#bytes, span.start), path, doubles);
  }

  #expectSmall({ start, end }: Span, key: string): void {
    if (end - start <= LARGE_PART_BYTES) return;
    const limit = beyondLimit(this.#bytes.subarray(start, end), MAX_PART_VALUES);
    if (limit !== undefined)
      throw new ParseError('REPODATA_INVALID', `\`${shorten(key)}\` has ${limit}`, key);
  }

  #isObject(span: Span): boolean {
    return this.#bytes[span.start] === FIRST_OF_OBJECT;
  }

  #decode(span: Span): unknown {
    return new JsonCursor(this.#bytes).decode(span);
  }
}

function readMembers(
  cursor: JsonCursor,
  path: readonly string[],
  doubles: string[][],
): ReadonlyMap<string, Span> {
  const members = new Map<string, Span>();
  cursor.readObject((key) => {
    if (members.has(key)) doubles.push([...path, key]);
    members.set(key, cursor.skipValue());
  });
  return members;
}

function filenameOf(path: readonly string[], key: string): string {
  const [, extension] = path;
  return extension === undefined ? key : `${key}.${extension}`;
}
