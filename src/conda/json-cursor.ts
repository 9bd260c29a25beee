import { isUtf8 } from 'node:buffer';
import { ParseError } from '../errors.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;

/** The values that are words, by their first byte. */
const WORDS: ReadonlyMap<number | undefined, Buffer> = new Map(
  ['true', 'false', 'null'].map((word) => [word.charCodeAt(0), Buffer.from(word)]),
);
/** How many bytes an escape has behind its backslash, by the first of them. */
const ESCAPE_LENGTHS: ReadonlyMap<number | undefined, number> = new Map(
  Array.from('"\\/bfnrtu', (character) => [character.charCodeAt(0), character === 'u' ? 5 : 1]),
);

/** A piece of the text: bytes from `start` up to, not including, `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Walks over JSON text without building it: finds where values begin and end, and refuses what is no JSON in UTF-8.
 * @see RFC 8259
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

  /** Moves past the next value, whatever it is. @throws ParseError `REPODATA_INVALID`, position = offset in bytes */
  skipValue(): Span {
    this.#skipSpace();
    const start = this.#position;
    // What closes the objects and arrays that are open, the innermost last; depth costs no stack.
    const closers: number[] = [];
    do {
      if (this.#enter(closers)) continue;
      this.#leave(closers);
    } while (closers.length > 0);
    return { start, end: this.#position };
  }

  /** Decodes a span. @throws ParseError `REPODATA_INVALID` */
  decode(span: Span): unknown {
    try {
      return JSON.parse(
        Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + span.start, span.end - span.start).toString(
          'utf8',
        ),
      );
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

  /** Moves into the next value if it is an object or array with something in it, else past it. */
  #enter(closers: number[]): boolean {
    this.#skipSpace();
    const first = this.#peek();
    if (first === QUOTE) this.#skipString();
    else if (first === OPEN_BRACE || first === OPEN_BRACKET) {
      const closer = first === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET;
      this.#position += 1;
      this.#skipSpace();
      if (this.#peek() !== closer) {
        closers.push(closer);
        if (closer === CLOSE_BRACE) this.#skipKey();
        return true;
      }
      this.#position += 1;
    } else this.#skipScalar(first);
    return false;
  }

  /** Moves from behind a value to in front of the next one, out of everything that ends in between. */
  #leave(closers: number[]): void {
    for (let closer = closers.at(-1); closer !== undefined; closer = closers.at(-1)) {
      this.#skipSpace();
      if (this.#peek() === COMMA) {
        this.#position += 1;
        if (closer === CLOSE_BRACE) this.#skipKey();
        return;
      }
      this.#expect(closer, closer === CLOSE_BRACE ? '`,` or `}`' : '`,` or `]`');
      closers.pop();
    }
  }

  #skipKey(): void {
    this.#skipSpace();
    this.#skipString();
    this.#skipSpace();
    this.#expect(COLON, '`:`');
  }

  #skipString(): Span {
    const start = this.#position;
    this.#expect(QUOTE, 'a string');
    const bytes = this.#bytes;
    let isAscii = true;
    for (let position = this.#position; position < bytes.byteLength; position += 1) {
      const byte = bytes[position] ?? 0;
      if (byte === QUOTE) {
        if (!isAscii && !isUtf8(bytes.subarray(start, position)))
          throw this.#invalid('a string is not UTF-8', start);
        this.#position = position + 1;
        return { start, end: this.#position };
      }
      if (byte === BACKSLASH) position += this.#escapeLength(position);
      else if (byte < 0x20) throw this.#invalid('a string has a control character', position);
      else if (byte >= 0x80) isAscii = false;
    }
    throw this.#invalid('a string does not end', start);
  }

  /** Bytes of the escape that follow the backslash at `position`. */
  #escapeLength(position: number): number {
    const length = ESCAPE_LENGTHS.get(this.#bytes[position + 1]);
    if (length === undefined) throw this.#invalid('an escape is unknown', position);
    for (let digit = 2; digit <= length; digit += 1) {
      if (!isHexDigit(this.#bytes[position + digit])) throw this.#invalid('an escape is malformed', position);
    }
    return length;
  }

  #skipScalar(first: number | undefined): void {
    const word = WORDS.get(first);
    if (word === undefined) {
      this.#skipNumber();
      return;
    }
    const end = this.#position + word.byteLength;
    if (!word.equals(this.#bytes.subarray(this.#position, end))) throw this.#invalid('a value is malformed');
    this.#position = end;
  }

  #skipNumber(): void {
    const start = this.#position;
    if (this.#peek() === MINUS) this.#position += 1;
    if (this.#peek() === ZERO) this.#position += 1;
    else this.#skipDigits(start);
    if (this.#peek() === POINT) {
      this.#position += 1;
      this.#skipDigits(start);
    }
    if (this.#peek() === 0x65 || this.#peek() === 0x45) {
      this.#position += 1;
      if (this.#peek() === PLUS || this.#peek() === MINUS) this.#position += 1;
      this.#skipDigits(start);
    }
  }

  #skipDigits(start: number): void {
    const first = this.#position;
    while (isDigit(this.#peek())) this.#position += 1;
    if (this.#position > first) return;
    throw this.#invalid(first === start ? 'a value is missing' : 'a number is malformed', start);
  }

  #invalid(why: string, position = this.#position): ParseError {
    const context = Buffer.from(this.#bytes.subarray(position, position + 40)).toString('utf8');
    return new ParseError('REPODATA_INVALID', `malformed JSON at byte ${String(position)}: ${why}`, context, {
      position,
    });
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

function isHexDigit(byte: number | undefined): boolean {
  // Setting the sixth bit folds upper case into lower case.
  return isDigit(byte) || (byte !== undefined && (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);
}
