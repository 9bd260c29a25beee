import { UnrepresentableError } from '../errors.js';

/** What stands for a character that tags cannot have, or that the escapes themselves need. @see v1/T1 */
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['_', '__'],
  ['+', '_P'],
  ['!', '_N'],
]);
const CHARACTERS: ReadonlyMap<string, string> = new Map([...ESCAPES].map(([text, escape]) => [escape, text]));

/** Characters of a tag, whatever its length. */
const TAG_TEXT = /^[a-zA-Z0-9_][a-zA-Z0-9._-]*$/;

/** Encodes a version or a build string for a tag: `1!2_3+4` as `1_N2__3_P4`. @see v1/T1 */
export function encodeTagPart(part: string): string {
  return part.replace(/[_+!]/g, (character) => ESCAPES.get(character) ?? character);
}

/**
 * Decodes what {@link encodeTagPart} wrote, from left to right. Undoing one replacement after the other, as the draft
 * has it, would take the second half of `__` for the start of `_P`.
 * @throws UnrepresentableError `NAME_UNREPRESENTABLE` for an underscore that begins no escape
 * @see v1/T2, v1/B3
 */
export function decodeTagPart(part: string): string {
  let text = '';
  for (let at = 0; at < part.length;) {
    if (part[at] !== '_') {
      text += part.charAt(at);
      at += 1;
      continue;
    }
    const character = CHARACTERS.get(part.slice(at, at + 2));
    if (character === undefined) {
      throw new UnrepresentableError(
        'NAME_UNREPRESENTABLE',
        'v1/T2',
        `\`${part}\` is no part of a tag of schema v1: its underscore at ${String(at)} begins no escape`,
      );
    }
    text += character;
    at += 2;
  }
  return text;
}

/** Tells whether text has only characters of a tag; hashing takes care of its length. @see v1/G3 */
export function isTagText(text: string): boolean {
  return TAG_TEXT.test(text);
}
