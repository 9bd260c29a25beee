import {
  BACKSLASH,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  IS_HEX,
  IS_SHORT_ESCAPE,
  LETTER_E,
  LETTER_U,
  MINUS,
  OPEN_BRACE,
  OPEN_BRACKET,
  PLUS,
  POINT,
  QUOTE,
  SPACE,
  STOPS_STRING,
  WORDS,
  ZERO,
  isDigit,
  isSpace,
} from './json-bytes.js';
import { malformed, type TextPlace } from './malformed.js';

/** Deeper nesting serves no reader; each level costs a byte of ours. */
const MAX_DEPTH = 16 * 1024 * 1024;
const FIRST_DEPTH = 64;

// What comes next. White space may stand before the first six.
const VALUE = 0;
const FIRST_ELEMENT = 1;
const FIRST_KEY = 2;
const KEY = 3;
const COLON_NEXT = 4;
const AFTER_VALUE = 5;
const DONE = 6;
const IN_STRING = 7;
const ESCAPE = 8;
const ESCAPE_DIGIT = 9;
const IN_WORD = 10;
// Parts of a number, by what was read last.
const NUMBER_MINUS = 11;
const NUMBER_ZERO = 12;
const NUMBER_INTEGER = 13;
const NUMBER_POINT = 14;
const NUMBER_FRACTION = 15;
const NUMBER_E = 16;
const NUMBER_SIGN = 17;
const NUMBER_EXPONENT = 18;

const IN_ARRAY = 0;
const IN_OBJECT = 1;

/**
 * Moves over one JSON value of any size and depth as its bytes arrive, and refuses what is none. It can stop and go on
 * between any two bytes, keeps nothing of the text, and depth costs no stack. Whether the bytes are UTF-8 is checked elsewhere.
 * @see RFC 8259
 */
export class JsonSkipper {
  #state = DONE;
  #depth = 0;
  #containers = new Uint8Array(FIRST_DEPTH);
  #isKey = false;
  #word: Uint8Array = new Uint8Array();
  /** Bytes of the word, or digits of the escape, that are read. */
  #progress = 0;

  /** Whether the value is over. */
  get isDone(): boolean {
    return this.#state === DONE;
  }

  /** Gets ready for another value. */
  start(): void {
    this.#state = VALUE;
    this.#depth = 0;
    this.#isKey = false;
  }

  /**
   * Reads on at `place.bytes[at]`. A number at the outermost level ends only at the byte behind it.
   * @returns index behind the value, or `place.end` where it is not over
   * @throws ParseError `REPODATA_INVALID`
   */
  run(place: TextPlace, at: number): number {
    const { bytes, end } = place;
    let position = at;
    while (position < end && this.#state !== DONE) {
      const byte = bytes[position] as number;
      if (this.#state === IN_STRING) {
        position = this.#runString(place, position);
      } else if (this.#state <= AFTER_VALUE) {
        if (!isSpace(byte)) this.#token(place, position, byte);
        position += 1;
      } else if (this.#state >= NUMBER_MINUS) {
        if (this.#numberPart(place, position, byte)) position += 1;
      } else {
        this.#insideToken(place, position, byte);
        position += 1;
      }
    }
    return position;
  }

  #runString(place: TextPlace, at: number): number {
    const { bytes, end } = place;
    let position = at;
    while (position < end && STOPS_STRING[bytes[position] as number] === 0) position += 1;
    if (position === end) return position;
    const byte = bytes[position];
    if (byte === QUOTE) this.#endString();
    else if (byte === BACKSLASH) this.#state = ESCAPE;
    else throw malformed('a string has a control character', place, position);
    return position + 1;
  }

  #endString(): void {
    if (this.#isKey) {
      this.#isKey = false;
      this.#state = COLON_NEXT;
    } else this.#endValue();
  }

  #endValue(): void {
    this.#state = this.#depth === 0 ? DONE : AFTER_VALUE;
  }

  /** Takes the first byte of a token. */
  #token(place: TextPlace, at: number, byte: number): void {
    switch (this.#state) {
      case COLON_NEXT:
        if (byte !== COLON) throw malformed('`:` is missing', place, at);
        this.#state = VALUE;
        return;
      case AFTER_VALUE:
        this.#afterValue(place, at, byte);
        return;
      case FIRST_KEY:
      case KEY:
        if (byte === QUOTE) {
          this.#isKey = true;
          this.#state = IN_STRING;
        } else if (byte === CLOSE_BRACE && this.#state === FIRST_KEY) this.#leave();
        else throw malformed('a string is missing', place, at);
        return;
      default:
        if (byte === CLOSE_BRACKET && this.#state === FIRST_ELEMENT) this.#leave();
        else this.#firstOfValue(place, at, byte);
    }
  }

  #afterValue(place: TextPlace, at: number, byte: number): void {
    const isObject = this.#containers[this.#depth - 1] === IN_OBJECT;
    if (byte === COMMA) this.#state = isObject ? KEY : VALUE;
    else if (byte === (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) this.#leave();
    else throw malformed(isObject ? '`,` or `}` is missing' : '`,` or `]` is missing', place, at);
  }

  #firstOfValue(place: TextPlace, at: number, byte: number): void {
    if (byte === QUOTE) this.#state = IN_STRING;
    else if (byte === OPEN_BRACE) this.#enter(place, at, IN_OBJECT);
    else if (byte === OPEN_BRACKET) this.#enter(place, at, IN_ARRAY);
    else if (byte === MINUS) this.#state = NUMBER_MINUS;
    else if (byte === ZERO) this.#state = NUMBER_ZERO;
    else if (isDigit(byte)) this.#state = NUMBER_INTEGER;
    else {
      const word = WORDS.get(byte);
      if (word === undefined) throw malformed('a value is missing', place, at);
      this.#word = word;
      this.#progress = 1;
      this.#state = IN_WORD;
    }
  }

  #enter(place: TextPlace, at: number, container: number): void {
    if (this.#depth === this.#containers.length) {
      if (this.#depth === MAX_DEPTH) throw malformed('it is nested too deeply', place, at);
      const larger = new Uint8Array(this.#depth * 2);
      larger.set(this.#containers);
      this.#containers = larger;
    }
    this.#containers[this.#depth] = container;
    this.#depth += 1;
    this.#state = container === IN_OBJECT ? FIRST_KEY : FIRST_ELEMENT;
  }

  #leave(): void {
    this.#depth -= 1;
    this.#endValue();
  }

  #insideToken(place: TextPlace, at: number, byte: number): void {
    if (this.#state === IN_WORD) {
      if (byte !== this.#word[this.#progress]) throw malformed('a value is malformed', place, at);
      this.#progress += 1;
      if (this.#progress === this.#word.length) this.#endValue();
    } else if (this.#state === ESCAPE) {
      if (byte === LETTER_U) {
        this.#progress = 0;
        this.#state = ESCAPE_DIGIT;
      } else if (IS_SHORT_ESCAPE[byte] === 1) this.#state = IN_STRING;
      else throw malformed('an escape is unknown', place, at);
    } else {
      if (IS_HEX[byte] !== 1) throw malformed('an escape is malformed', place, at);
      this.#progress += 1;
      if (this.#progress === 4) this.#state = IN_STRING;
    }
  }

  /** Takes a byte of a number. @returns whether it belongs to the number */
  #numberPart(place: TextPlace, at: number, byte: number): boolean {
    const next = numberState(this.#state, byte);
    if (next !== undefined) {
      this.#state = next;
      return true;
    }
    if (!isWholeNumber(this.#state)) throw malformed('a number is malformed', place, at);
    this.#endValue();
    return false;
  }
}

function numberState(state: number, byte: number): number | undefined {
  if (isDigit(byte)) {
    if (state === NUMBER_MINUS) return byte === ZERO ? NUMBER_ZERO : NUMBER_INTEGER;
    if (state === NUMBER_POINT) return NUMBER_FRACTION;
    if (state === NUMBER_E || state === NUMBER_SIGN) return NUMBER_EXPONENT;
    return state === NUMBER_ZERO ? undefined : state;
  }
  if (byte === POINT) return state === NUMBER_ZERO || state === NUMBER_INTEGER ? NUMBER_POINT : undefined;
  if ((byte | SPACE) === LETTER_E) {
    const follows = state === NUMBER_ZERO || state === NUMBER_INTEGER || state === NUMBER_FRACTION;
    return follows ? NUMBER_E : undefined;
  }
  return (byte === PLUS || byte === MINUS) && state === NUMBER_E ? NUMBER_SIGN : undefined;
}

function isWholeNumber(state: number): boolean {
  return (
    state === NUMBER_ZERO ||
    state === NUMBER_INTEGER ||
    state === NUMBER_FRACTION ||
    state === NUMBER_EXPONENT
  );
}
