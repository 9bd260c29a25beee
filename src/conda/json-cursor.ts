import { ParseError } from '../errors.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** A piece of the text: bytes from `start` up to, not including, `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Walks over JSON text without building it. It finds where values begin and end; the values themselves are
 * checked by whoever decodes them.
 */
export class JsonCursor {
  readonly #bytes: Uint8Array;
  #position: number;

  constructor(bytes: Uint8Array, position = 0) {
    this.#bytes = bytes;
    this.#position = position;
  }

  /**
   * Calls `member` for each member of the object that comes next, standing in front of its value; `member` must
   * move past it. @throws ParseError `REPODATA_INVALID`, position = offset in bytes
   */
  readObject(member: (key: string, keySpan: Span) => void): Span {
    this.#skipSpace();
    const start = this.#position;
    this.#expect(OPEN_BRACE, '`{`');
    this.#skipSpace();
    if (this.#peek() === CLOSE_BRACE) {
      this.#position += 1;
      return { start, end: this.#position };
    }
    for (;;) {
      this.#skipSpace();
      const keySpan = this.#skipString();
      const key = this.decode(keySpan) as string;
      this.#skipSpace();
      this.#expect(COLON, '`:`');
      member(key, keySpan);
      this.#skipSpace();
      if (this.#peek() === COMMA) {
        this.#position += 1;
        continue;
      }
      this.#expect(CLOSE_BRACE, '`,` or `}`');
      return { start, end: this.#position };
    }
  }

  /** Moves past the next value, whatever it is. */
  skipValue(): Span {
    this.#skipSpace();
    const start = this.#position;
    const first = this.#peek();
    if (first === QUOTE) return this.#skipString();
    if (first === OPEN_BRACE || first === OPEN_BRACKET) this.#skipNested();
    else this.#skipScalar();
    return { start, end: this.#position };
  }

  /** Decodes a span. @throws ParseError `REPODATA_INVALID` */
  decode(span: Span): unknown {
    try {
      return JSON.parse(Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + span.start, span.end - span.start).toString('utf8'));
    } catch {
      throw this.#invalid('a value is malformed', span.start);
    }
  }

  /** @throws ParseError `REPODATA_INVALID` unless only white space is left */
  expectEnd(): void {
    this.#skipSpace();
    if (this.#position < this.#bytes.byteLength) throw this.#invalid('something follows the document');
  }

  #peek(): number | undefined {
    return this.#bytes[this.#position];
  }

  #expect(byte: number, what: string): void {
    if (this.#peek() !== byte) throw this.#invalid(`${what} is missing`);
    this.#position += 1;
  }

  #skipSpace(): void {
    const bytes = this.#bytes;
    let position = this.#position;
    for (;;) {
      const byte = bytes[position];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
      position += 1;
    }
    this.#position = position;
  }

  #skipString(): Span {
    const start = this.#position;
    this.#expect(QUOTE, 'a string');
    const bytes = this.#bytes;
    for (let position = this.#position; position < bytes.byteLength; position += 1) {
      const byte = bytes[position];
      if (byte === BACKSLASH) position += 1;
      else if (byte === QUOTE) {
        this.#position = position + 1;
        return { start, end: this.#position };
      }
    }
    throw this.#invalid('a string does not end', start);
  }

  #skipNested(): void {
    const start = this.#position;
    let depth = 0;
    while (this.#position < this.#bytes.byteLength) {
      const byte = this.#peek();
      if (byte === QUOTE) {
        this.#skipString();
        continue;
      }
      this.#position += 1;
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        depth -= 1;
        if (depth === 0) return;
      }
    }
    throw this.#invalid('a value does not end', start);
  }

  #skipScalar(): void {
    const start = this.#position;
    for (;;) {
      const byte = this.#peek();
      if (byte === undefined || byte <= 0x20 || byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET) break;
      this.#position += 1;
    }
    if (this.#position === start) throw this.#invalid('a value is missing');
  }

  #invalid(why: string, position = this.#position): ParseError {
    const context = Buffer.from(this.#bytes.subarray(position, position + 40)).toString('utf8');
    return new ParseError('REPODATA_INVALID', `malformed JSON at byte ${String(position)}: ${why}`, context, { position });
  }
}
