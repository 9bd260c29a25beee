import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isFerryError } from '#ferry/errors.js';
import { Listing } from '#ferry/publish/listing.js';

function parse(text: string): Listing {
  return Listing.parse(Buffer.from(text), 'noarch');
}

function written(listing: Listing): string {
  return Buffer.from(listing.write()).toString();
}

describe('a listing', () => {
  test('of an empty file is that of a subdir that has nothing', () => {
    expect(written(parse(''))).toBe(written(Listing.empty('noarch')));
    expect(JSON.parse(written(parse('')))).toEqual({
      info: { subdir: 'noarch' },
      packages: {},
      'packages.conda': {},
      removed: [],
      repodata_version: 1,
    });
    expect(JSON.parse(written(parse('{}')))).toEqual({ packages: {}, 'packages.conda': {}, removed: [] });
  });

  test('keeps members it does not know, those of other versions among them, as they stand', () => {
    const v3 = '{"whl":{"a-1-py3-none-any.whl":{"x":[1.0,2e5]}}}';
    const text = `{"repodata_version":3 ,"v3":${v3},"info":{"subdir":"noarch","base_url":"x"},"packages":{},"\\u0061 key":[ 1 ]}`;
    const again = written(parse(text));
    expect(again).toContain(`"v3":${v3}`);
    expect(again).toContain('"a key":[ 1 ]');
    expect(again.startsWith('{"info":{"subdir":"noarch","base_url":"x"}')).toBe(true);
    expect(JSON.parse(again)).toMatchObject({ repodata_version: 3 });
  });

  test('takes the last of a key that stands twice, and knows escaped names', () => {
    const listing = parse(
      '{"packages.conda":{"a-1-0.conda":{"n":1},"\\u0061-1-0.conda":{"n":2}},"packages.conda":{"b-1-0.conda":{"n":3}}}',
    );
    expect([...listing.filenames()].sort()).toEqual(['a-1-0.conda', 'b-1-0.conda']);
    expect(listing.get('a-1-0.conda')).toEqual({ n: 2 });
    expect(written(listing)).toContain('"a-1-0.conda":{"n":2}');
  });

  test('leaves out what is no archive of its section', () => {
    const listing = parse(
      '{"packages":{"a-1-0.conda":{},"readme":{},"a-1-0.tar.bz2":{}},"packages.conda":{"b-1-0.tar.bz2":{}}}',
    );
    expect([...listing.filenames()]).toEqual(['a-1-0.tar.bz2']);
  });

  test.each([
    ['no JSON', '{"packages":'],
    ['a list', '[]'],
    ['more behind it', '{} {}'],
    ['a section that is no object', '{"packages":[]}'],
    ['`removed` that is no list', '{"removed":{}}'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ])('refuses %s', (_, text) => {
    const error = catchError(() => Listing.parse(Buffer.from(text), 'noarch'));
    expect(isFerryError(error, 'REPODATA_INVALID')).toBe(true);
  });

  test('refuses a record that is no object when that is asked for, and writes it as it stands', () => {
    const listing = parse('{"packages.conda":{"a-1-0.conda":7}}');
    expect(
      isFerryError(
        catchError(() => listing.get('a-1-0.conda')),
        'REPODATA_INVALID',
      ),
    ).toBe(true);
    expect(written(listing)).toContain('"a-1-0.conda":7');
  });

  test('of removed names keeps texts only, each once, sorted', () => {
    const listing = parse('{"removed":["b-1-0.conda",1,"a-1-0.conda","b-1-0.conda",null,"whatever"]}');
    expect(JSON.parse(written(listing))).toMatchObject({
      removed: ['a-1-0.conda', 'b-1-0.conda', 'whatever'],
    });
  });

  test('is in one place only: listed, removed, or neither', () => {
    const listing = parse('{}').edit();
    listing.set('a-1-0.conda', { n: 1 });
    listing.remove('a-1-0.conda');
    expect([listing.has('a-1-0.conda'), listing.removed.has('a-1-0.conda')]).toEqual([false, true]);
    listing.set('a-1-0.conda', { n: 2 });
    expect([listing.has('a-1-0.conda'), listing.removed.has('a-1-0.conda')]).toEqual([true, false]);
    listing.remove('a-1-0.conda');
    listing.delete('a-1-0.conda');
    expect([listing.has('a-1-0.conda'), listing.removed.has('a-1-0.conda')]).toEqual([false, false]);
  });

  test('is not changed by what is done to its copy', () => {
    const listing = parse('{"packages.conda":{"a-1-0.conda":{}},"removed":["b-1-0.conda"]}');
    const before = written(listing);
    const copy = listing.edit();
    copy.remove('a-1-0.conda');
    copy.set('b-1-0.conda', {});
    expect(written(listing)).toBe(before);
    expect(copy.recordCount).toBe(1);
  });

  test('says the same when it is read again, whatever stands in it', () => {
    const name = fc.constantFrom('a-1-0', 'b-1.0-h0', 'zlib-ng-2-1_0', 'x-1!2+3-0');
    const json = fc.jsonValue();
    const section = (extension: string) =>
      fc.dictionary(
        name.map((stem) => `${stem}.${extension}`),
        fc.dictionary(fc.string(), json),
      );
    const repodata = fc.record(
      {
        info: fc.dictionary(fc.string(), json),
        packages: section('tar.bz2'),
        'packages.conda': section('conda'),
        removed: fc.array(name.map((stem) => `${stem}.conda`)),
        repodata_version: fc.constantFrom(1, 2, 3),
        extra: json,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(repodata, (value) => {
        const text = JSON.stringify(value);
        const once = written(parse(text));
        const { packages, 'packages.conda': conda, removed, ...others } = value;
        expect(JSON.parse(once)).toEqual(
          JSON.parse(
            JSON.stringify({
              packages: packages ?? {},
              'packages.conda': conda ?? {},
              removed: [...new Set(removed ?? [])].sort(),
              ...others,
            }),
          ),
        );
        expect(written(parse(once))).toBe(once);
      }),
      { numRuns: 300 },
    );
  });
});

function catchError(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}
