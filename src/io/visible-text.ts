/** What hides, steers a terminal, turns the reading direction, or is illegal in XML. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}]/gu;

/**
 * Makes text that a channel or a registry chose fit to be shown, on one line: what cannot be seen becomes its number,
 * such as `\u{202e}`, and what is longer than `maxLength` ends in `…`. The result is well-formed and legal in XML 1.0.
 */
export function visibleText(text: string, maxLength: number): string {
  const cut = text.length > maxLength ? `${withoutHalf(text.slice(0, maxLength - 1))}…` : text;
  return cut.replace(UNSEEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

/** The cut may have gone through the middle of a character. */
function withoutHalf(text: string): string {
  return /[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text;
}
