import { expect, test } from 'vitest';
import { checkPatchInstructions } from '#ferry/conformance/rules/patch-instructions.js';
import { clausesOf } from '../../support/findings.js';

const where = 'noarch/patch_instructions.json';
const good = {
  patch_instructions_version: 2,
  packages: { 'a-1-0.tar.bz2': { depends: ['b'] } },
  'packages.conda': { 'a-1-0.conda': { run_exports: { weak: ['a'] } } },
  remove: ['c-1-0.conda'],
  revoke: [],
};

function check(value: unknown, hasRunExports?: boolean): string[] {
  return clausesOf((log) => {
    checkPatchInstructions({ value, where, hasRunExports }, log);
  });
}

test.each([
  ['cep21/patch-document', []],
  ['cep21/patch-version-known', {}],
  [
    'cep21/patch-version-known',
    { ...good, packages: {}, 'packages.conda': {}, patch_instructions_version: 3 },
  ],
  ['cep21/patch-packages', { ...good, packages: [] }],
  ['cep21/patch-packages', { ...good, packages: { 'a-1-0.tar.bz2': null } }],
  ['cep21/patch-remove', { ...good, remove: {} }],
  ['cep21/patch-revoke', { ...good, revoke: [1] }],
  ['cep21/patch-run-exports', { ...good, packages: { 'a-1-0.tar.bz2': { run_exports: { weak: 'a' } } } }],
  ['cep21/patch-version', { ...good, patch_instructions_version: 1 }],
  ['cep47/not-patched', { ...good, packages: { 'a-1-0.tar.bz2': { indexed_timestamp: 1 } } }],
  ['cep142/patch-keeps', { ...good, packages: { 'a-1-0.tar.bz2': { attestations_sha256: null } } }],
])('%s: not %j', (clause, value) => {
  expect(check(good)).toEqual([]);
  expect(check(value)).toEqual([clause]);
});

test('cep21/patch-needs-run-exports: patched run exports need the file', () => {
  expect(check(good, true)).toEqual([]);
  expect(check(good, false)).toEqual(['cep21/patch-needs-run-exports']);
  expect(check({ patch_instructions_version: 1 }, false)).toEqual([]);
});

test('cep21/patch-applied: `run_exports.json` says what the patches say', () => {
  const withRunExports = (run_exports: unknown): string[] =>
    clausesOf((log) => {
      const runExports = { 'packages.conda': { 'a-1-0.conda': { run_exports } } };
      checkPatchInstructions({ value: good, where, hasRunExports: true, runExports }, log);
    });
  expect(withRunExports({ weak: ['a'] })).toEqual([]);
  expect(withRunExports({ weak: ['b'] })).toEqual(['cep21/patch-applied']);
  expect(withRunExports({})).toEqual(['cep21/patch-applied']);
});
