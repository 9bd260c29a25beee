/**
 * The version part of match specs: `>=1.2,<2|3.*`. Versions are parsed and ordered by rattler's `Version`. Its
 * `VersionSpec` is not used: in the release that JavaScript has (0.3.5) `1.0.1.*` does not take 1.0.1c and `==9b_` is
 * refused, both unlike rattler's own programs; see docs/match-specs.md.
 */
import type { Version } from '@conda-org/rattler';
import { newVersion, parsedVersion } from '../version-order.js';
import { cut, invalid, type Slice } from './slice.js';
import { startsWith, type VersionParts, versionParts, withoutLastSegment } from './version-prefix.js';

/** What a version has to be. */
export interface VersionSpec {
  /** In its one normal form, such as `>=1.2,<2|3.*`. */
  readonly text: string;
  readonly matches: (version: string) => boolean;
}

/** Versions whose answer a condition remembers: a channel has far fewer versions than records. */
const MAX_ANSWERS = 10_000;
/** Parentheses inside parentheses. */
const MAX_DEPTH = 50;

type Operator = '==' | '!=' | '<' | '<=' | '>' | '>=' | '~=' | 'starts' | 'starts-not';

interface Clause {
  readonly kind: 'clause';
  readonly operator: Operator;
  readonly limit: Version;
  readonly parts: VersionParts;
}

type Tree =
  Clause | { readonly kind: 'any' } | { readonly kind: 'and' | 'or'; readonly members: readonly Tree[] };

/** A version as the clauses look at it. */
interface Subject {
  readonly version: Version;
  readonly text: string;
}

const HINT = 'write 1.2, 1.2.*, ==1.2, !=1.2, >=1.2, ~=1.2, joined by `,` for and and by `|` for or';

/**
 * Reads the version part of a match spec.
 * @throws ParseError `MATCH_SPEC_INVALID`
 * @see CEP 29, "Version matching"
 */
export function parseVersionSpec(slice: Slice): VersionSpec {
  const parser = new VersionSpecParser(slice);
  const tree = parser.parse();
  const answers = new Map<string, boolean>();
  const matches = (text: string): boolean => {
    if (tree.kind === 'any') return true;
    let answer = answers.get(text);
    if (answer === undefined) {
      const version = parsedVersion(text);
      answer = version !== undefined && isMet(tree, { version, text });
      if (answers.size >= MAX_ANSWERS) answers.clear();
      answers.set(text, answer);
    }
    return answer;
  };
  return { text: format(tree, undefined), matches };
}

class VersionSpecParser {
  readonly #slice: Slice;
  #index = 0;
  #depth = 0;

  constructor(slice: Slice) {
    this.#slice = slice;
  }

  parse(): Tree {
    const tree = this.#group('or');
    if (this.#index < this.#slice.text.length) throw this.#error();
    return tree;
  }

  #group(kind: 'and' | 'or'): Tree {
    const separator = kind === 'or' ? /[ \t\r\n]*\|[ \t\r\n]*/y : /[ \t\r\n]*,[ \t\r\n]*/y;
    const members: Tree[] = [];
    do {
      const member = kind === 'or' ? this.#group('and') : this.#term();
      // (1,2),3 is 1,2,3.
      if (member.kind === kind) members.push(...member.members);
      else members.push(member);
    } while (this.#take(separator) !== undefined);
    const [only] = members;
    return members.length === 1 && only !== undefined ? only : { kind, members };
  }

  #term(): Tree {
    if (this.#take(/\([ \t\r\n]*/y) !== undefined) {
      if (++this.#depth > MAX_DEPTH) throw this.#error();
      const tree = this.#group('or');
      if (this.#take(/[ \t\r\n]*\)/y) === undefined) throw this.#error();
      this.#depth--;
      return tree;
    }
    if (this.#take(/\*(?:\.\*)?/y) !== undefined) return { kind: 'any' };
    const start = this.#index;
    const operator = this.#take(/[=!<>~]+/y);
    const version = this.#take(/[a-z0-9!_.*+-]+/iy) ?? '';
    const clause = parseClause(operator, version);
    if (clause === undefined) {
      this.#index = start;
      throw this.#error();
    }
    return clause;
  }

  #take(expression: RegExp): string | undefined {
    expression.lastIndex = this.#index;
    const match = expression.exec(this.#slice.text);
    if (match === null) return undefined;
    this.#index = expression.lastIndex;
    return match[0];
  }

  #error(): Error {
    const rest = cut(this.#slice, this.#index);
    if (rest.text === '') return invalid({ ...this.#slice, at: rest.at }, 'a version ends too early', HINT);
    return invalid(rest, `\`${rest.text}\` is no condition on a version`, HINT);
  }
}

/** Reads one clause, with the meaning that rattler gives to stars beside operators, for repodata has them. */
function parseClause(sign: string | undefined, text: string): Tree | undefined {
  if (sign !== undefined && !/^(?:==?|[!<>~]=|[<>])$/.test(sign)) return undefined;
  if (text === '*') return sign === '<' || sign === '>' || sign === '!=' ? undefined : { kind: 'any' };
  const groups = /^(?<literal>[^*]*?)(?<stars>\*|(?:\.\*)*)(?<dot>\.?)$/.exec(text)?.groups;
  const { literal = '', stars = '', dot = '' } = groups ?? {};
  // `2023.*.*.` was seen in the wild, after no operator.
  if (dot !== '' && (sign !== undefined || !stars.startsWith('.'))) return undefined;
  const limit = newVersion(literal);
  if (limit === undefined) return undefined;
  return { kind: 'clause', operator: operatorOf(sign, stars), limit, parts: versionParts(literal) };
}

function operatorOf(sign: string | undefined, stars: string): Operator {
  switch (sign) {
    case undefined:
      return stars === '' ? '==' : 'starts';
    case '=':
      return 'starts';
    case '>':
      return stars === '' ? '>' : '>=';
    case '!=':
      return stars === '*' || stars === '.*' ? 'starts-not' : '!=';
    default:
      return sign as Operator;
  }
}

function isMet(tree: Tree, subject: Subject): boolean {
  switch (tree.kind) {
    case 'any':
      return true;
    case 'and':
      return tree.members.every((member) => isMet(member, subject));
    case 'or':
      return tree.members.some((member) => isMet(member, subject));
    case 'clause':
      return isClauseMet(tree, subject);
  }
}

function isClauseMet({ operator, limit, parts }: Clause, { version, text }: Subject): boolean {
  switch (operator) {
    case '==':
      return version.equals(limit);
    case '!=':
      return !version.equals(limit);
    case '<':
      return version.compare(limit) < 0;
    case '<=':
      return version.compare(limit) <= 0;
    case '>':
      return version.compare(limit) > 0;
    case '>=':
      return version.compare(limit) >= 0;
    case '~=':
      return version.compare(limit) >= 0 && startsWith(versionParts(text), withoutLastSegment(parts));
    case 'starts':
      return startsWith(versionParts(text), parts);
    case 'starts-not':
      return !startsWith(versionParts(text), parts);
  }
}

function format(tree: Tree, parent: 'and' | 'or' | undefined): string {
  switch (tree.kind) {
    case 'any':
      return '*';
    case 'clause': {
      const version = tree.limit.toString();
      if (tree.operator === 'starts') return `${version}.*`;
      return tree.operator === 'starts-not' ? `!=${version}.*` : `${tree.operator}${version}`;
    }
    case 'and':
      return tree.members.map((member) => format(member, 'and')).join(',');
    case 'or': {
      const text = tree.members.map((member) => format(member, 'or')).join('|');
      return parent === 'and' ? `(${text})` : text;
    }
  }
}
