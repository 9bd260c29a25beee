import { expect, test } from 'vitest';
import { makeRunExports, parseRunExports } from '#ferry/publish/run-exports.js';

test('run exports are an object by kind, or a list of weak ones', () => {
  expect(parseRunExports({ strong: ['a'] })).toEqual({ strong: ['a'] });
  expect(parseRunExports(['a >=1'])).toEqual({ weak: ['a >=1'] });
  for (const nothing of [[], {}, null, undefined, 'a', 1]) expect(parseRunExports(nothing)).toEqual({});
});

test('run_exports.json lists every archive, by format', () => {
  const said = { weak: ['a >=1,<2.0a0'] };
  const document = makeRunExports('linux-64', [
    ['a-1-0.tar.bz2', said],
    ['a-1-0.conda', said],
    ['b-1-0.conda', {}],
  ]);
  expect(document).toEqual({
    info: { subdir: 'linux-64', version: 1 },
    packages: { 'a-1-0.tar.bz2': { run_exports: said } },
    'packages.conda': { 'a-1-0.conda': { run_exports: said }, 'b-1-0.conda': { run_exports: {} } },
  });
});
