/** Value of a hex digit by its byte, 0xff for what is none. */
const DIGITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = '0123456789abcdef'.indexOf(String.fromCharCode(byte).toLowerCase());
  return digit < 0 ? 0xff : digit;
});

/**
 * Reads hex digits of either case into bytes.
 * @returns whether all of them were hex digits; if not, what is written means nothing
 */
export function readHex(text: Uint8Array, start: number, end: number, into: Uint8Array): boolean {
  let faults = 0;
  let to = 0;
  for (let at = start; at < end; at += 2) {
    const high = DIGITS[text[at] as number] as number;
    const low = DIGITS[text[at + 1] as number] as number;
    faults |= high | low;
    into[to] = (high << 4) | low;
    to += 1;
  }
  return faults < 16;
}
