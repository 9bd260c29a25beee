import { characterPattern, rangePattern, type CharacterPattern } from './character-pattern.js';
import { isWordCharacter, MAX_STEPS, type Assertion, type Pattern } from './linear-matcher.js';
import { invalid, type Slice } from './slice.js';

/** Groups inside groups. */
const MAX_DEPTH = 50;
/** Highest count of a repeat: a first bound, the whole pattern has one of its own. */
const MAX_REPEAT = 1000;

const HINT =
  'use literals, `.`, classes, groups, `|`, `*`, `+`, `?`, `{n,m}`, `^`, `$`; look-around and back-references are not supported';

const WHITE_SPACE = /^\p{White_Space}$/u;
const DIGIT = /^\p{Nd}$/u;

const CLASSES: Readonly<Record<string, (character: string) => boolean>> = {
  d: (character) => DIGIT.test(character),
  D: (character) => !DIGIT.test(character),
  s: (character) => WHITE_SPACE.test(character),
  S: (character) => !WHITE_SPACE.test(character),
  w: isWordCharacter,
  W: (character) => !isWordCharacter(character),
};

const ASSERTIONS: Readonly<Record<string, Assertion>> = {
  A: 'start',
  z: 'end',
  b: 'word-boundary',
  B: 'no-word-boundary',
};

const CONTROLS: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  f: '\f',
  v: '\v',
  a: '\u0007',
};

/** Names of `[[:alpha:]]` and the like. */
const POSIX: Readonly<Record<string, RegExp>> = {
  alnum: /^[0-9A-Za-z]$/,
  alpha: /^[A-Za-z]$/,
  digit: /^[0-9]$/,
  lower: /^[a-z]$/,
  punct: /^[!-/:-@[-`{-~]$/,
  space: /^[\t\n\v\f\r ]$/,
  upper: /^[A-Z]$/,
  word: /^[0-9A-Za-z_]$/,
  xdigit: /^[0-9A-Fa-f]$/,
};

interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
}

/**
 * Reads a regular expression in the syntax of Rust's crate regex, as far as it can be matched in linear time and as far
 * as anyone needs it for names and builds: no Unicode properties, no set operations inside classes.
 * @throws ParseError `MATCH_SPEC_INVALID`, which also says what is not supported
 * @see CEP 29: "Advanced expressions like lookaround and backreferences SHOULD NOT be allowed"
 */
export function parseRegex(slice: Slice, ignoreCase: boolean): Pattern {
  const parser = new RegexParser(slice);
  return parser.parse({ ignoreCase, dotAll: false });
}

class RegexParser {
  readonly #slice: Slice;
  readonly #characters: readonly string[];
  #index = 0;
  #depth = 0;

  constructor(slice: Slice) {
    this.#slice = slice;
    this.#characters = Array.from(slice.text);
    if (this.#characters.length > MAX_STEPS) throw this.#error('it is too long');
  }

  parse(flags: Flags): Pattern {
    const pattern = this.#choice(flags);
    if (this.#peek() !== undefined) throw this.#error('a `)` has no `(`');
    return pattern;
  }

  #choice(outer: Flags): Pattern {
    let flags = outer;
    const options: Pattern[] = [];
    let parts: Pattern[] = [];
    for (;;) {
      const character = this.#peek();
      if (character === undefined || character === ')') break;
      if (character === '|') {
        this.#index++;
        options.push({ kind: 'sequence', parts });
        parts = [];
        continue;
      }
      const changed = this.#inlineFlags(flags);
      if (changed !== undefined) flags = changed;
      else parts.push(this.#repeated(this.#atom(flags)));
    }
    const last: Pattern = { kind: 'sequence', parts };
    return options.length === 0 ? last : { kind: 'choice', options: [...options, last] };
  }

  /** `(?i)`, which counts for the rest of its group. */
  #inlineFlags(flags: Flags): Flags | undefined {
    const match = /^\(\?([a-z]*)(?:-([a-z]+))?\)/.exec(this.#rest(20));
    if (match === null) return undefined;
    this.#index += match[0].length;
    return this.#flags(flags, match[1] ?? '', match[2] ?? '');
  }

  #flags(flags: Flags, on: string, off: string): Flags {
    if (/[^is]/.test(on + off)) throw this.#error('of flags only `i` and `s` are supported');
    return {
      ignoreCase: (flags.ignoreCase || on.includes('i')) && !off.includes('i'),
      dotAll: (flags.dotAll || on.includes('s')) && !off.includes('s'),
    };
  }

  #atom(flags: Flags): Pattern {
    const character = this.#next();
    switch (character) {
      case '(':
        return this.#group(flags);
      case '[':
        return this.#class(flags);
      case '.':
        return { kind: 'character', test: flags.dotAll ? () => true : (one) => one !== '\n' };
      case '^':
        return { kind: 'assertion', assertion: 'start' };
      case '$':
        return { kind: 'assertion', assertion: 'end' };
      case '\\':
        return this.#escape(flags);
      case '*':
      case '+':
      case '?':
      case '{':
        throw this.#error(`there is nothing for \`${character}\` to repeat`);
      default:
        return characterPattern(character, flags.ignoreCase);
    }
  }

  #group(outer: Flags): Pattern {
    if (++this.#depth > MAX_DEPTH) throw this.#error('too many groups inside groups');
    let flags = outer;
    const opening = /^\?(?:P?<[A-Za-z_][A-Za-z0-9_]*>|([a-z]*)(?:-([a-z]+))?:)/.exec(this.#rest(100));
    if (opening !== null) {
      flags = this.#flags(outer, opening[1] ?? '', opening[2] ?? '');
      this.#index += opening[0].length;
    } else if (this.#peek() === '?') throw this.#error('look-around is not supported');
    const pattern = this.#choice(flags);
    if (this.#peek() !== ')') throw this.#error('a `(` is not closed');
    this.#index++;
    this.#depth--;
    return pattern;
  }

  #repeated(part: Pattern): Pattern {
    const match = this.#repeat();
    if (match === null) return part;
    const [text, sign, from, comma, to] = match;
    this.#index += text.length;
    const min = sign === undefined ? Number(from) : sign === '+' ? 1 : 0;
    let max = sign === '?' ? 1 : Infinity;
    if (sign === undefined && comma === undefined) max = min;
    else if (sign === undefined && to !== undefined && to !== '') max = Number(to);
    if (max < min) throw this.#error('a repeat ends below its start');
    if (min > MAX_REPEAT || (max > MAX_REPEAT && max !== Infinity)) {
      throw this.#error(`a repeat counts beyond ${String(MAX_REPEAT)}`);
    }
    // Whether as few or as many as possible are taken makes no difference to whether there is a match.
    if (this.#peek() === '?') this.#index++;
    else if (this.#peek() === '+') throw this.#error('possessive repeats are not supported');
    if (this.#repeat() !== null) throw this.#error('a repeat is repeated');
    return { kind: 'repeat', part, min, max };
  }

  #repeat(): RegExpExecArray | null {
    return /^(?:([*+?])|\{(\d{1,9})(,(\d{0,9}))?\})/.exec(this.#rest(25));
  }

  #escape(flags: Flags): Pattern {
    const name = this.#peek() ?? '';
    const test = CLASSES[name];
    if (test !== undefined) {
      this.#index++;
      return { kind: 'character', test };
    }
    const assertion = ASSERTIONS[name];
    if (assertion !== undefined) {
      this.#index++;
      return { kind: 'assertion', assertion };
    }
    return characterPattern(this.#escapedCharacter(), flags.ignoreCase);
  }

  #escapedCharacter(): string {
    const hex = /^(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|[xuU]\{([0-9A-Fa-f]{1,6})\})/.exec(
      this.#rest(10),
    );
    if (hex !== null) {
      const code = Number.parseInt(hex[1] ?? hex[2] ?? hex[3] ?? hex[4] ?? '', 16);
      if (code > 0x10_ff_ff || (code >= 0xd800 && code <= 0xdfff))
        throw this.#error('there is no such character');
      this.#index += hex[0].length;
      return String.fromCodePoint(code);
    }
    const character = this.#next();
    const control = CONTROLS[character];
    if (control !== undefined) return control;
    if (/^[0-9]$/.test(character)) throw this.#error('back-references are not supported');
    if (/^[A-Za-z<>]$/.test(character)) throw this.#error(`\`\\${character}\` is not supported`);
    return character;
  }

  #class(flags: Flags): Pattern {
    const isNegated = this.#peek() === '^';
    if (isNegated) this.#index++;
    const tests: ((character: string) => boolean)[] = [];
    // What comes first is one of the characters even if it is the bracket.
    for (let isFirst = true; isFirst || this.#peek() !== ']'; isFirst = false) {
      tests.push(this.#classItem(flags));
    }
    this.#index++;
    return {
      kind: 'character',
      test: (character) => tests.some((test) => test(character)) !== isNegated,
    };
  }

  #classItem({ ignoreCase }: Flags): CharacterPattern['test'] {
    const rest = this.#rest(20);
    const posix = /^\[:(\^?)([a-z]+):\]/.exec(rest);
    if (posix !== null) {
      const expression = POSIX[posix[2] ?? ''];
      if (expression === undefined) throw this.#error(`\`${posix[0]}\` is not supported`);
      this.#index += posix[0].length;
      const isInside = (character: string): boolean =>
        expression.test(character) ||
        (ignoreCase &&
          (expression.test(character.toLowerCase()) || expression.test(character.toUpperCase())));
      return (character) => isInside(character) !== (posix[1] === '^');
    }
    if (/^(?:\[|&&|--|~~)/.test(rest)) throw this.#error('sets inside a class are not supported');
    const first = this.#classCharacter();
    if (typeof first !== 'string') return first;
    if (this.#peek() !== '-' || [']', undefined].includes(this.#characters[this.#index + 1])) {
      return characterPattern(first, ignoreCase).test;
    }
    this.#index++;
    const last = this.#classCharacter();
    if (typeof last !== 'string' || (last.codePointAt(0) ?? 0) < (first.codePointAt(0) ?? 0)) {
      throw this.#error('a range of a class has no end');
    }
    return rangePattern(first, last, ignoreCase).test;
  }

  #classCharacter(): string | CharacterPattern['test'] {
    const character = this.#next();
    if (character !== '\\') return character;
    const test = CLASSES[this.#peek() ?? ''];
    if (test === undefined) return this.#escapedCharacter();
    this.#index++;
    return test;
  }

  #peek(): string | undefined {
    return this.#characters[this.#index];
  }

  #next(): string {
    const character = this.#characters[this.#index++];
    if (character === undefined) throw this.#error('it ends too early');
    return character;
  }

  #rest(count: number): string {
    return this.#characters.slice(this.#index, this.#index + count).join('');
  }

  #error(what: string): Error {
    return invalid(this.#slice, `\`${this.#slice.text}\` is no regular expression: ${what}`, HINT);
  }
}
