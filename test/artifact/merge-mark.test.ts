import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mergeMarkAnnotation, NOTHING_MERGED, readMergeMark } from '#ferry/artifact/merge-mark.js';

const KEY = 'io.conda-ferry.merged';
const tag = fc
  .tuple(
    fc.date({ min: new Date(0), max: new Date('9999-01-01'), noInvalidDate: true }),
    fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }),
  )
  .map(
    ([at, random]) =>
      `op-${at.toISOString().toLowerCase().replace(/[-:.]/g, '')}-${random.toString(16).padStart(12, '0')}`,
  );

test('a mark is what it was when it is read again, and the same text in whatever order it was made', () => {
  const mark = fc.record(
    {
      epoch: fc.nat(),
      operations: fc.uniqueArray(tag),
      // Archives are not called that, and zod leaves it out.
      revisions: fc.dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        fc.nat(),
      ),
      generation: fc.string(),
    },
    { requiredKeys: ['epoch', 'operations', 'revisions'] },
  );
  fc.assert(
    fc.property(mark, (made) => {
      const annotations = mergeMarkAnnotation(made);
      const { operations, ...others } = readMergeMark(annotations);
      expect({ ...others, operations }).toEqual({ ...made, operations: made.operations.toSorted() });
      const turned = {
        ...made,
        operations: made.operations.toReversed(),
        revisions: Object.fromEntries(Object.entries(made.revisions).toReversed()),
      };
      expect(mergeMarkAnnotation(turned)).toEqual(annotations);
    }),
  );
});

test.each([
  ['none', undefined],
  ['no JSON', '{'],
  ['a list', '[]'],
  ['no epoch', '{"operations":[],"revisions":{}}'],
  ['a negative revision', '{"epoch":0,"operations":[],"revisions":{"a-1-0.conda":-1}}'],
  ['a tag that is none', '{"epoch":0,"operations":["latest"],"revisions":{}}'],
])('of a mark that is %s nothing is taken for merged', (_, text) => {
  expect(readMergeMark(text === undefined ? {} : { [KEY]: text })).toBe(NOTHING_MERGED);
});

test('keeps what a later version says besides', () => {
  const text = '{"epoch":1,"operations":[],"revisions":{},"later":true}';
  expect(readMergeMark({ [KEY]: text })).toMatchObject({ epoch: 1, later: true });
});
