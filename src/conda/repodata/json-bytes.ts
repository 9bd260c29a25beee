/** Bytes of JSON by name, and tables over them. @see RFC 8259 */

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
export const OPEN_BRACKET = 0x5b;
export const CLOSE_BRACKET = 0x5d;
export const MINUS = 0x2d;
export const PLUS = 0x2b;
export const POINT = 0x2e;
export const ZERO = 0x30;
export const NINE = 0x39;
export const SPACE = 0x20;
export const LETTER_E = 0x65;
export const LETTER_N = 0x6e;
export const LETTER_U = 0x75;

/** The three values that are words, by their first byte. */
export const WORDS: ReadonlyMap<number, Uint8Array> = new Map(
  ['true', 'false', 'null'].map((word) => [word.charCodeAt(0), Buffer.from(word)]),
);

/** 1 for the bytes at which reading a string's plain text stops: quote, backslash, control characters. */
export const STOPS_STRING = table((byte) => byte < SPACE || byte === QUOTE || byte === BACKSLASH);

/** 1 for what may stand behind a backslash, other than `u`. */
export const IS_SHORT_ESCAPE = table((byte) => '"\\/bfnrt'.includes(String.fromCharCode(byte)));

export const IS_HEX = table((byte) => /[0-9a-fA-F]/.test(String.fromCharCode(byte)));

/** Tells whether a byte is white space between tokens. */
export function isSpace(byte: number): boolean {
  return byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Tells whether a byte is a decimal digit. */
export function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

/** A table of 256 entries: 1 where `holds`. */
export function table(holds: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (holds(byte) ? 1 : 0));
}
