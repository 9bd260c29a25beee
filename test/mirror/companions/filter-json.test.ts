import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isFerryError } from '#ferry/errors.js';
import { filterJson } from '#ferry/mirror/companions/filter-json.js';

function filtered(text: string, keep: (name: string) => boolean): string | undefined {
  const result = filterJson(Buffer.from(text), { objects: { packages: keep }, lists: { remove: keep } });
  return result === undefined ? undefined : Buffer.from(result).toString();
}

describe('a JSON object that is filtered', () => {
  test('keeps the bytes of what stays, number spellings and escapes included', () => {
    const text = '{ "a" : 1.50, "packages": { "x":{"n":1e2}, "y" : 2, "\\u007a": 3 } , "remove":["x", "y"] }';
    expect(filtered(text, (name) => name !== 'y')).toBe(
      '{"a":1.50,"packages":{"x":{"n":1e2},\n"\\u007a": 3},"remove":["x"]}\n',
    );
  });

  test('is left alone where all of it stays', () => {
    const text = '{ "packages": {"x": 1}, "remove": [], "constructor": {"y": 1} }';
    expect(filtered(text, () => true)).toBeUndefined();
    expect(filterJson(Buffer.from(text), {})).toBeUndefined();
    expect(filtered('{"remove": {"x": 1}}', () => false)).toBeUndefined();
  });

  test('says the same as one that is parsed, filtered and written', () => {
    const names = fc.constantFrom<string[]>('a', 'b', 'c', 'é"\\');
    const document = fc.record(
      {
        packages: fc.dictionary(names, fc.jsonValue()),
        remove: fc.array(names),
        other: fc.jsonValue(),
        info: fc.dictionary(fc.string(), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(document, fc.uniqueArray(names), fc.nat(3), (value, kept, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        const plain = JSON.parse(text) as typeof value;
        const expected = {
          ...plain,
          ...(plain.packages === undefined
            ? {}
            : {
                packages: Object.fromEntries(
                  Object.entries(plain.packages).filter(([name]) => kept.includes(name)),
                ),
              }),
          ...(plain.remove === undefined
            ? {}
            : { remove: plain.remove.filter((name) => kept.includes(name)) }),
        };
        expect(JSON.parse(filtered(text, (name) => kept.includes(name)) ?? text)).toEqual(expected);
      }),
    );
  });

  test.each(['', '[]', 'null', '{"packages":[]}', '{"packages":{}', '{} {}', '{"a":01}'])(
    'is refused where it is none: %j',
    (text) => {
      let error: unknown;
      try {
        filtered(text, () => false);
      } catch (thrown) {
        error = thrown;
      }
      expect(isFerryError(error, 'REPODATA_INVALID')).toBe(true);
    },
  );
});
