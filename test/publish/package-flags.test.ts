import { expect, test } from 'vitest';
import {
  flagsOfLists,
  flagsOfPaths,
  PACKAGE_FLAGS,
  type PackageFlags,
} from '#ferry/publish/package-flags.js';

/** Names of the flags that are set. */
function set(flags: PackageFlags): readonly string[] {
  return PACKAGE_FLAGS.filter((flag) => flags[flag]);
}

const paths = (...items: readonly unknown[]) => set(flagsOfPaths({ paths_version: 1, paths: items }));

test.each([
  ['etc/conda/activate.d/a.sh', ['activate.d']],
  ['etc/conda/deactivate.d/a.sh', ['deactivate.d']],
  ['bin/.a-post-link.sh', ['post_link']],
  ['Scripts/.a-pre-link.bat', ['pre_link']],
  ['bin/.a-pre-unlink.sh', ['pre_unlink']],
  ['share/etc/conda/activate.d/a.sh', []],
  ['etc/conda/activate.d', []],
  ['bin/a-post-link.sh', []],
  ['bin/.a-post-link', []],
  ['.a-post-link.sh', []],
])('flags of %s', (path, flags) => {
  expect(paths({ _path: path })).toEqual(flags);
  expect(set(flagsOfLists(`${path}\n`, ''))).toEqual(flags);
});

test('prefixes are put into files that name a placeholder', () => {
  expect(paths({ _path: 'a', prefix_placeholder: '/opt/x', file_mode: 'text' })).toEqual(['text_prefix']);
  expect(paths({ _path: 'a', prefix_placeholder: '/opt/x', file_mode: 'binary' })).toEqual(['binary_prefix']);
  expect(
    paths({ _path: 'a', prefix_placeholder: '', file_mode: 'binary' }, { _path: 'b', file_mode: 'text' }),
  ).toEqual([]);
});

test('prefixes of old packages stand in has_prefix', () => {
  expect(set(flagsOfLists('', '/opt/x binary lib/a.so\n"/opt/y z" text bin/a\n'))).toEqual([
    'binary_prefix',
    'text_prefix',
  ]);
  expect(set(flagsOfLists('', 'bin/some script\n'))).toEqual(['text_prefix']);
});

test.each([undefined, null, [], { paths: {} }, { paths: [null, 1, { _path: 5 }] }])(
  'nothing is flagged by %j',
  (value) => {
    expect(set(flagsOfPaths(value))).toEqual([]);
  },
);
