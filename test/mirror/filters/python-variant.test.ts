import { expect, test } from 'vitest';
import { pythonVariantOf } from '#ferry/mirror/filters/python-variant.js';
import { makeDetails } from '../../support/records.js';

test.each([
  [['python >=3.11,<3.12.0a0', 'python_abi 3.11.* *_cp311'], '3.11'],
  [['python_abi 3.13.* *_cp313t'], '3.13t'],
  [['python_abi 3.9 *_pypy39_pp73', 'python >=3.9,<3.10.0a0'], 'pypy3.9'],
  [['python_abi 3.8.*'], '3.8'],
  [['numpy', 'python >=3.9,<3.10.0a0'], '3.9'],
  [['python >=2.7,<2.8'], '2.7'],
  [['python 2.7*'], '2.7'],
  [['python 3.10.*'], '3.10'],
  [['python=3.10'], '3.10'],
  [['python==3.10.2'], '3.10'],
  [['python >=3.9'], 'python >=3.9'],
  [['python >=3.9,<4'], 'python >=3.9,<4'],
  [['python 3.9.*|3.10.*'], 'python 3.9.*|3.10.*'],
  [['python'], 'python'],
  [['python-dateutil >=2.8', 'python_other 3.9.*'], ''],
  [[], ''],
])('what depends on %j is of variant %j', (depends, variant) => {
  expect(pythonVariantOf(makeDetails('linux-64', 'foo-1-0', { depends }))).toBe(variant);
});

test('noarch is a variant of its own, in whatever subdir it lies', () => {
  const depends = ['python >=3.9,<3.10.0a0'];
  expect(pythonVariantOf(makeDetails('noarch', 'foo-1-0', { depends }))).toBe('noarch');
  expect(pythonVariantOf(makeDetails('linux-64', 'foo-1-0', { depends, noarch: 'python' }))).toBe('noarch');
});

test.each([
  ['python-3.12.4-h194c7f8_0_cpython', '3.12'],
  ['python-3.13.1-h9a34b6e_5_cp313t', '3.13t'],
  ['python_abi-3.11-5_cp311', '3.11'],
  ['python_abi-3.9-4_pypy39_pp73', 'pypy3.9'],
  ['cpython-3.12.4-py312hd8ed1ab_0', '3.12'],
])('%s is of variant %s, its own series', (stem, variant) => {
  expect(pythonVariantOf(makeDetails('linux-64', stem))).toBe(variant);
});
