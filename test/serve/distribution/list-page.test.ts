import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pageOf } from '#ferry/serve/distribution/list-page.js';

const LIST = ['1.0', 'B', 'a', 'b_c'];

function page(query: string): ReturnType<typeof pageOf> {
  return pageOf(LIST, '/v2/x/tags/list', new URLSearchParams(query));
}

test.each([
  ['', LIST, undefined],
  ['n=2', ['1.0', 'B'], '</v2/x/tags/list?n=2&last=B>; rel="next"'],
  ['n=2&last=B', ['a', 'b_c'], undefined],
  ['n=1&last=B', ['a'], '</v2/x/tags/list?n=1&last=a>; rel="next"'],
  ['last=B', ['a', 'b_c'], undefined],
  ['last=C', ['a', 'b_c'], undefined],
  ['last=z', [], undefined],
  ['n=4', LIST, undefined],
  ['n=999999999', LIST, undefined],
  ['n=0', [], undefined],
])('%s', (query, items, link) => {
  expect(page(query)).toEqual({ items, link });
});

test.each(['n=-1', 'n=x', 'n=', 'n=1.5', 'n=0x2', 'n=1e3', `n=${'9'.repeat(400)}`])(
  '%s is no number',
  (query) => {
    expect(page(query)).toBeUndefined();
  },
);

test('following the links gives the list, each item once', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string()), fc.integer({ min: 1, max: 5 }), (items, n) => {
      const sorted = items.filter((item) => item !== '').sort((a, b) => (a < b ? -1 : 1));
      const seen: string[] = [];
      let query: string | undefined = `n=${n}`;
      while (query !== undefined) {
        const found = pageOf(sorted, '/list', new URLSearchParams(query));
        seen.push(...(found?.items ?? []));
        query = /\?([^>]*)>/.exec(found?.link ?? '')?.[1];
      }
      expect(seen).toEqual(sorted);
    }),
  );
});
