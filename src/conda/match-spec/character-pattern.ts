/** Patterns of one character, the bricks of globs and regular expressions. */

/** One character, and whether a character is it. */
export interface CharacterPattern {
  readonly kind: 'character';
  readonly test: (character: string) => boolean;
}

/** That very character, or its capital too. */
export function characterPattern(wanted: string, ignoreCase: boolean): CharacterPattern {
  const folded = wanted.toLowerCase();
  return {
    kind: 'character',
    test: ignoreCase
      ? (character) => character === wanted || character.toLowerCase() === folded
      : (character) => character === wanted,
  };
}

/** The characters from one to another, in the order of Unicode; none if they are the wrong way round. */
export function rangePattern(first: string, last: string, ignoreCase: boolean): CharacterPattern {
  const [from, to] = [codeOf(first), codeOf(last)];
  const isInside = (character: string): boolean => {
    const code = codeOf(character);
    return code >= from && code <= to;
  };
  return {
    kind: 'character',
    test: ignoreCase
      ? (character) =>
          isInside(character) || isInside(character.toLowerCase()) || isInside(character.toUpperCase())
      : isInside,
  };
}

function codeOf(character: string): number {
  return character.codePointAt(0) ?? -1;
}
