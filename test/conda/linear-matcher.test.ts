import fc from 'fast-check';
import { expect, test } from 'vitest';
import { linearMatcher } from '#ferry/conda/match-spec/linear-matcher.js';
import { parseRegex } from '#ferry/conda/match-spec/regex-syntax.js';
import { parseStringMatcher } from '#ferry/conda/match-spec/string-matcher.js';

const text = fc.string({ unit: fc.constantFrom('a', 'b', 'B', '1', '_', '-', ' ', '\n'), maxLength: 12 });

const atom = fc.constantFrom(
  'a',
  'b',
  '1',
  '.',
  '\\d',
  '\\w',
  '\\W',
  '\\s',
  '[ab]',
  '[^a1]',
  '[a-b_]',
  '[\\d-]',
  '\\b',
  '\\x61',
  '-',
);
const expression = fc.letrec<{ choice: string; sequence: string; item: string }>((tie) => ({
  choice: fc.array(tie('sequence'), { minLength: 1, maxLength: 2 }).map((options) => options.join('|')),
  sequence: fc.array(tie('item'), { maxLength: 3 }).map((items) => items.join('')),
  item: fc.oneof(
    // JavaScript's own search takes exponential time where repetitions are nested deeper.
    { depthSize: 'small', maxDepth: 2 },
    fc
      .tuple(atom, fc.constantFrom('', '', '*', '+', '?', '*?', '{2}', '{1,3}', '{0,2}?'))
      .map(([part, repeat]) =>
        // A repeated assertion is no expression for JavaScript.
        part === '\\b' ? part : part + repeat,
      ),
    fc
      .tuple(tie('choice'), fc.constantFrom('', '*', '+', '?', '{2}'))
      .map(([part, repeat]) => `(?:${part})${repeat}`),
    fc.constantFrom('^', '$'),
  ),
})).choice;

test('an expression is found where JavaScript finds it', () => {
  fc.assert(
    fc.property(expression, text, fc.boolean(), (pattern, subject, ignoreCase) => {
      const matches = linearMatcher(parseRegex({ text: pattern, at: 0 }, ignoreCase));
      expect(matches(subject)).toBe(new RegExp(pattern, ignoreCase ? 'iu' : 'u').test(subject));
    }),
    { numRuns: 2000 },
  );
});

test('a glob matches what the expression for it matches', () => {
  const glob = fc
    .string({ unit: fc.constantFrom('a', 'b', 'B', '*', '?', '[ab]', '[!a-b]', '[]1]', '-'), maxLength: 8 })
    .map((pattern) => `${pattern.replace(/\*+/g, '*')}*`)
    .map((pattern) => pattern.replace(/\*+/g, '*'));
  fc.assert(
    fc.property(glob, text, (pattern, subject) => {
      const source = pattern.replace(/\[([^]*?.)\]|[*?-]/g, (part, inside: string | undefined) => {
        if (part === '*') return '[^]*';
        if (part === '?') return '[^]';
        return inside === undefined ? '-' : `[${inside.replace(/^!/, '^').replace(/\]/, '\\]')}]`;
      });
      const { matches } = parseStringMatcher({ text: pattern, at: 0 }, { ignoreCase: true });
      expect(matches(subject), source).toBe(new RegExp(`^${source}$`, 'i').test(subject));
    }),
  );
});

test.each([
  ['^(?i)a(?-i)b$', 'Ab', true],
  ['^(?i)a(?-i)b$', 'AB', false],
  ['^(?i:a)b$', 'Ab', true],
  ['^(?s).$', '\n', true],
  ['^[[:alpha:]][[:^digit:]]$', 'ab', true],
  ['^(?P<x>a)(?<y>b)$', 'ab', true],
  ['^\\Aab\\z$', 'ab', true],
  ['^[]a]+$', 'a]', true],
  ['^\\u{61}\\u0062$', 'ab', true],
  ['^a\\B', 'ab', true],
  ['a$', 'a\n', false],
])('the expression %j and %j: %j', (pattern, subject, expected) => {
  expect(linearMatcher(parseRegex({ text: pattern, at: 0 }, false))(subject)).toBe(expected);
});
