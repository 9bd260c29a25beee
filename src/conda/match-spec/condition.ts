/** `when="python >=3.12 and (linux or osx)"`: read, so that a spec that is wrong is refused, and matched by nobody here. */
import type { MatchSpec } from './match-spec.js';
import { cut, invalid, trim, type Slice } from './slice.js';

/** When a dependency counts. @see CEP 44, "Conditional dependencies" */
export type Condition =
  | { readonly kind: 'spec'; readonly spec: MatchSpec }
  | { readonly kind: 'and' | 'or'; readonly left: Condition; readonly right: Condition };

/** Parentheses inside parentheses. */
const MAX_DEPTH = 50;

/**
 * Reads a condition; `and` binds closer than `or`.
 * @param parseLeaf reads a match spec that has no condition of its own
 * @throws ParseError `MATCH_SPEC_INVALID`
 */
export function parseCondition(slice: Slice, parseLeaf: (leaf: Slice) => MatchSpec): Condition {
  const parser = new ConditionParser(slice, parseLeaf);
  return parser.parse();
}

class ConditionParser {
  readonly #slice: Slice;
  readonly #parseLeaf: (leaf: Slice) => MatchSpec;
  #index = 0;
  #depth = 0;

  constructor(slice: Slice, parseLeaf: (leaf: Slice) => MatchSpec) {
    this.#slice = slice;
    this.#parseLeaf = parseLeaf;
  }

  parse(): Condition {
    const condition = this.#joined('or');
    const rest = cut(this.#slice, this.#index);
    if (rest.text.trim() !== '') throw invalid(rest, `\`${rest.text}\` does not belong to a condition`);
    return condition;
  }

  #joined(kind: 'and' | 'or'): Condition {
    const operand = (): Condition => (kind === 'or' ? this.#joined('and') : this.#primary());
    let left = operand();
    while (this.#take(kind === 'or' ? /\s*or\s*/y : /\s*and\s*/y)) left = { kind, left, right: operand() };
    return left;
  }

  #primary(): Condition {
    if (!this.#take(/\(\s*/y)) {
      const leaf = this.#leaf();
      return { kind: 'spec', spec: this.#parseLeaf(leaf) };
    }
    if (++this.#depth > MAX_DEPTH) throw invalid(this.#slice, 'too many parentheses in a condition');
    const condition = this.#joined('or');
    if (!this.#take(/\s*\)/y)) throw invalid(cut(this.#slice, this.#index), 'a `(` is not closed');
    this.#depth--;
    return condition;
  }

  /** Everything up to a parenthesis or a word that joins conditions, but for what is in brackets. */
  #leaf(): Slice {
    const { text } = this.#slice;
    const start = this.#index;
    let quote: string | undefined;
    let depth = 0;
    for (; this.#index < text.length; this.#index++) {
      const character = text.charAt(this.#index);
      if (quote !== undefined) {
        if (character === '\\') this.#index++;
        else if (character === quote) quote = undefined;
      } else if ((character === '"' || character === "'") && depth > 0) quote = character;
      else if (character === '[') depth++;
      else if (character === ']') depth = Math.max(0, depth - 1);
      else if (depth === 0 && (character === '(' || character === ')' || this.#isWord(start))) break;
    }
    this.#index = Math.min(this.#index, text.length);
    const leaf = trim(cut(this.#slice, start, this.#index));
    if (leaf.text === '') throw invalid(cut(this.#slice, start), 'a condition is empty');
    return leaf;
  }

  #isWord(start: number): boolean {
    const { text } = this.#slice;
    const before = this.#index === start ? ' ' : text.charAt(this.#index - 1);
    return /[\s()]/.test(before) && /^(?:and|or)(?:[\s()]|$)/.test(text.slice(this.#index, this.#index + 4));
  }

  #take(expression: RegExp): boolean {
    expression.lastIndex = this.#index;
    if (!expression.test(this.#slice.text)) return false;
    this.#index = expression.lastIndex;
    return true;
  }
}
