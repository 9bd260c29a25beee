import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  asksFor,
  nameAskedFor,
  parseWrittenSpec,
  readSpecLines,
  SpecIndex,
} from '#ferry/mirror/filters/spec-list.js';
import { makeDetails } from '../../support/records.js';

test('a file has one match spec a line, with comments, empty lines and whatever line ends', () => {
  const content =
    '\uFEFF# these may not be passed on\r\nmkl\r\n\n  cudatoolkit=11.8  # licence\n#don\'t\nfoo=1=h#1\nfoo[license="a #1"]\n';
  expect(readSpecLines(content)).toEqual([
    { text: 'mkl', line: 2 },
    { text: 'cudatoolkit=11.8', line: 4 },
    { text: 'foo=1=h#1', line: 6 },
    { text: 'foo[license="a #1"]', line: 7 },
  ]);
});

test.each([
  ['numpy', 'numpy'],
  ['NumPy >=2', 'numpy'],
  ['numpy>=2,<3', 'numpy'],
  ['numpy=1.2=py*', 'numpy'],
  ['numpy~=2.0', 'numpy'],
  ['numpy[build="py*"]', 'numpy'],
  ['conda-forge::numpy 2.*', 'numpy'],
  ['_libgcc_mutex', '_libgcc_mutex'],
  ['__glibc >=2.17', '__glibc'],
  ['*', undefined],
  ['num*', undefined],
  ['^num.*$', undefined],
  ['numpy[name=other]', undefined],
  ['a:ns:numpy', undefined],
  ['numpy-2.0-py_0.conda', undefined],
  ['https://conda.example.org/a/noarch/numpy-2.0-py_0.conda', undefined],
  ['', undefined],
])('the name that %j asks for is %j', (text, name) => {
  expect(nameAskedFor(text)).toBe(name);
});

test('an index asks what its match specs ask', () => {
  const name = fc.constantFrom('a', 'A', 'b', 'a-b', 'ab');
  const text = fc
    .tuple(name, fc.constantFrom('', '=1', '==1.0', '=2=0', '=1.*'))
    .map(([first, rest]) => first + rest);
  const stem = fc
    .tuple(name, fc.constantFrom('1', '1.0', '1.5', '2', '12'), fc.constantFrom('0', '1'))
    .map((parts) => parts.join('-'));
  fc.assert(
    fc.property(fc.array(text, { maxLength: 4 }), stem, (texts, of) => {
      const record = makeDetails('noarch', of);
      const specs = texts.map(parseWrittenSpec);
      expect(new SpecIndex(specs).matches(record)).toBe(specs.some((spec) => asksFor(spec, record)));
    }),
  );
});
