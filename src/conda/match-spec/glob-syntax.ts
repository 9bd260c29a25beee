import { characterPattern, rangePattern } from './character-pattern.js';
import type { Pattern } from './linear-matcher.js';
import { invalid, type Slice } from './slice.js';

const ANY: Pattern = { kind: 'character', test: () => true };
const ANYTHING: Pattern = { kind: 'repeat', part: ANY, min: 0, max: Infinity };

/**
 * Reads a glob as rattler does: `*` is any text, `?` any character, `[a-z]` one of these and `[!a-z]` none of them; `**`
 * stands alone or between slashes, and `***` nowhere.
 * @throws ParseError `MATCH_SPEC_INVALID`
 * @see the documentation of Rust's crate glob, `Pattern`
 */
export function parseGlob(slice: Slice, ignoreCase: boolean): Pattern {
  const characters = Array.from(slice.text);
  const parts: Pattern[] = [{ kind: 'assertion', assertion: 'start' }];
  const refuse = (what: string) => invalid(slice, `\`${slice.text}\` is no glob: ${what}`);
  let index = 0;
  while (index < characters.length) {
    const character = characters[index] ?? '';
    if (character === '*') {
      const start = index;
      while (characters[index] === '*') index++;
      if (index - start > 2) throw refuse('there are more than two `*` in a row');
      if (index - start === 1) parts.push(ANYTHING);
      else {
        const [before, after] = [characters[start - 1], characters[index]];
        if ((before ?? '/') !== '/' || (after ?? '/') !== '/') throw refuse('`**` must be between slashes');
        const folders: Pattern = { kind: 'sequence', parts: [ANYTHING, characterPattern('/', false)] };
        if (after === undefined) parts.push(ANYTHING);
        else parts.push({ kind: 'repeat', part: folders, min: 0, max: 1 });
        if (after !== undefined) index++;
      }
    } else if (character === '?') {
      parts.push(ANY);
      index++;
    } else if (character === '[') {
      const isNegated = characters[index + 1] === '!';
      const from = index + (isNegated ? 2 : 1);
      // What comes first is one of the characters even if it is the bracket.
      const to = characters.indexOf(']', from + 1);
      if (to === -1) throw refuse('a `[` is not closed');
      parts.push(classPattern(characters.slice(from, to), isNegated, ignoreCase));
      index = to + 1;
    } else {
      parts.push(characterPattern(character, ignoreCase));
      index++;
    }
  }
  parts.push({ kind: 'assertion', assertion: 'end' });
  return { kind: 'sequence', parts };
}

function classPattern(characters: readonly string[], isNegated: boolean, ignoreCase: boolean): Pattern {
  const tests: ((character: string) => boolean)[] = [];
  for (let index = 0; index < characters.length; index++) {
    const [first = '', dash, last] = characters.slice(index, index + 3);
    if (dash === '-' && last !== undefined) {
      tests.push(rangePattern(first, last, ignoreCase).test);
      index += 2;
    } else tests.push(characterPattern(first, ignoreCase).test);
  }
  return {
    kind: 'character',
    test: (character) => tests.some((test) => test(character)) !== isNegated,
  };
}
