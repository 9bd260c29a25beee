import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findLink, parseLinks, type Link } from '#ferry/http/link.js';

const link = (target: string, rel: string[] = [], ...params: [string, string][]): Link => ({
  target,
  rel,
  params,
});

/** Writes links as the grammar has them: a URL holds no angle brackets, a relation type no white space. */
function formatLinks(links: readonly Link[]): string {
  const quote = (value: string): string => `"${value.replace(/["\\]/g, '\\$&')}"`;
  return links
    .map(({ target, rel, params }) => {
      const all = rel.length === 0 ? params : [['rel', rel.join(' ')] as const, ...params];
      return [`<${target}>`, ...all.map(([name, value]) => `${name}=${quote(value)}`)].join('; ');
    })
    .join(', ');
}

describe('parseLinks', () => {
  test.each<[string, Link[]]>([
    ['', []],
    ['</a>', [link('/a')]],
    ['<>; rel=next', [link('', ['next'])]],
    ['</v2/a/tags/list?n=2&last=b>; rel="next"', [link('/v2/a/tags/list?n=2&last=b', ['next'])]],
    ['<a>;rel=next', [link('a', ['next'])]],
    [' <a> ; REL = "Next" ', [link('a', ['next'])]],
    ['<a>; rel="prev  next"', [link('a', ['prev', 'next'])]],
    ['<a>; rel=prev; rel=next', [link('a', ['prev'])]],
    ['</a,b;c>; rel=prev, <d>; rel=next', [link('/a,b;c', ['prev']), link('d', ['next'])]],
    ['<a>; title="x, <b>; rel=next"; rel=prev', [link('a', ['prev'], ['title', 'x, <b>; rel=next'])]],
    [
      String.raw`<a>; title="say \"x\\y\""; rel=next`,
      [link('a', ['next'], ['title', String.raw`say "x\y"`])],
    ],
    ['<a>; flag; rel=next', [link('a', ['next'], ['flag', ''])]],
    ['<a>; flag=; rel=next', [link('a', ['next'], ['flag', ''])]],
    [',, <a> ,, <b> ,', [link('a'), link('b')]],
    ['a; rel=next, <b>; rel=next', [link('b', ['next'])]],
    ['"<a>, <b>", <c>', [link('c')]],
    ['<a<b>; rel=next, <c>', [link('c')]],
    ['<a', []],
    ['<a>, rel="next"', [link('a')]],
    ['<a> junk; rel=next', [link('a', ['next'])]],
    ['<a>; rel="next', [link('a')]],
    ['<a>; =next; rel=next', [link('a', ['next'])]],
    ['<a>;;; rel=next', [link('a', ['next'])]],
  ])('reads %s', (header, links) => {
    expect(parseLinks(header)).toEqual(links);
  });

  test('reads what was written', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
    const links = fc.array(
      fc.record({
        target: fc.string().map((text) => text.replace(/[<>]/g, '')),
        rel: fc.array(word, { maxLength: 3 }),
        params: fc.array(
          fc.tuple(
            word.filter((name) => name !== 'rel'),
            fc.string({ unit: 'binary' }),
          ),
          {
            maxLength: 4,
          },
        ),
      }),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(links, (original) => {
        expect(parseLinks(formatLinks(original))).toEqual(original);
      }),
      { numRuns: 1000 },
    );
  });

  test('takes any text, without losing a link that stands behind it in good order', () => {
    const piece = fc.oneof(
      fc.constantFrom('<', '>', ';', ',', '"', '\\', '=', ' ', 'rel', 'next', '\t'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const text = pieces.join('');
        for (const { target, rel } of parseLinks(text)) {
          expect(target).not.toMatch(/[<>]/);
          for (const type of rel) expect(type).toMatch(/^\S+$/);
        }
        // Unless it ends within quotes or brackets.
        if (/["<\\]/.test(text)) return;
        expect(parseLinks(`${text}, <end>; rel=last`).at(-1)).toEqual(link('end', ['last']));
      }),
      { numRuns: 2000 },
    );
  });

  test.each(['<', '<>', '"', '\\"', '<a>;', '<a>;b=', '<a>;b="', ',<'])(
    'takes linear time for %j without end',
    (piece) => {
      const start = performance.now();
      parseLinks(piece.repeat(500_000 / piece.length));
      expect(performance.now() - start).toBeLessThan(5000);
    },
  );
});

describe('findLink', () => {
  test('finds the first of that relation', () => {
    const header = '<a>; rel=prev, <b>; rel="last NEXT", <c>; rel=next';
    expect(findLink(header, 'next')).toBe('b');
    expect(findLink(header, 'first')).toBeUndefined();
    expect(findLink(undefined, 'next')).toBeUndefined();
  });

  test('passes over a link of another document', () => {
    expect(findLink('<a>; anchor="/other"; rel=next, <b>; rel=next', 'next')).toBe('b');
  });
});
