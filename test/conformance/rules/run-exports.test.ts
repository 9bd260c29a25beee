import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { clauseOf } from '#ferry/conformance/clauses.js';
import { RepodataText } from '#ferry/conformance/rules/repodata-text.js';
import { checkRunExports, checkRunExportsOfArchive } from '#ferry/conformance/rules/run-exports.js';
import { clausesOf } from '../../support/findings.js';

const FIXTURES = new URL('../../../fixtures/channel/', import.meta.url);
const where = 'noarch/run_exports.json';
const good = {
  info: { platform: 'noarch', arch: '', subdir: 'noarch', version: 1 },
  packages: { 'a-1-0.tar.bz2': { run_exports: { weak: ['a'], noarch: [] } } },
  'packages.conda': { 'a-1-0.conda': { run_exports: {} } },
};

function check(value: unknown, repodata?: RepodataText, removed?: ReadonlySet<string>): string[] {
  return clausesOf((log) => {
    checkRunExports({ value, subdir: 'noarch', where, repodata, removed }, log);
  });
}

test('cep12/document: the fixture channel breaks nothing', async () => {
  for (const subdir of ['noarch', 'linux-64', 'osx-arm64']) {
    const repodata = new RepodataText(await readFile(new URL(`${subdir}/repodata.json`, FIXTURES)));
    const value: unknown = JSON.parse(
      await readFile(new URL(`${subdir}/run_exports.json`, FIXTURES), 'utf8'),
    );
    const removed = new Set(repodata.outline()['removed'] as string[]);
    expect(
      clausesOf((log) => {
        checkRunExports({ value, subdir, where, repodata, removed }, log);
      }),
    ).toEqual([]);
  }
});

test.each([
  ['cep12/document', []],
  ['cep12/info', { ...good, info: { version: '1' } }],
  ['cep12/info-subdir', { ...good, info: { subdir: 'linux-64' } }],
  ['cep12/packages', { packages: [] }],
  ['cep12/packages', { packages: { 'a-1-0.tar.bz2': [] } }],
  ['cep12/packages', { packages: { 'a-1-0.conda': { run_exports: {} } } }],
  ['cep12/packages-conda', { 'packages.conda': { 'a-1-0.tar.bz2': { run_exports: {} } } }],
  ['cep12/empty-item', { 'packages.conda': { 'a-1-0.conda': {} } }],
  ['cep12/kinds', { 'packages.conda': { 'a-1-0.conda': { run_exports: { weakest: [] } } } }],
  ['cep12/kinds', { 'packages.conda': { 'a-1-0.conda': { run_exports: ['a'] } } }],
  ['cep12/specs', { 'packages.conda': { 'a-1-0.conda': { run_exports: { weak: 'a' } } } }],
])('%s: not %j', (clause, value) => {
  expect(check(good)).toEqual([]);
  expect(check(value)).toEqual([clause]);
});

test('cep12/all-packages: lists what the repodata lists, and no more', () => {
  const listing = (...filenames: string[]) =>
    new RepodataText(
      Buffer.from(JSON.stringify({ packages: Object.fromEntries(filenames.map((name) => [name, {}])) })),
    );
  expect(check(good, listing('a-1-0.tar.bz2', 'a-1-0.conda'))).toEqual([]);
  expect(check(good, listing('a-1-0.tar.bz2', 'a-1-0.conda', 'b-1-0.tar.bz2'))).toEqual([
    'cep12/all-packages',
  ]);
  expect(check(good, listing('a-1-0.tar.bz2'))).toEqual(['cep12/known-packages']);
  expect(check(good, listing('a-1-0.tar.bz2'), new Set(['a-1-0.conda']))).toEqual([]);
});

test.each([
  [{ weak: ['a'] }, { weak: ['a'], strong: [] }],
  [{ weak: ['a', 'b'] }, ['b', 'a']],
  [{}, undefined],
  [{ strong: ['c'] }, { strong: ['c'], schema_version: 1 }],
])('cep12/equals-archive: %j says the same as %j in the archive', (run_exports, own) => {
  expect(ofArchive(run_exports, own)).toEqual([]);
  expect(ofArchive({ noarch: ['other'] }, own)).toEqual(['cep12/equals-archive']);
});

test('cep12/not-patched: what patches make of it is only noted', () => {
  const patches = { 'packages.conda': { 'a-1-0.conda': { run_exports: { weak: ['b'] } } } };
  expect(ofArchive({ weak: ['b'] }, { weak: ['a'] }, patches)).toEqual(['cep12/not-patched']);
  expect(clauseOf('cep12/not-patched').severity).toBe('info');
});

function ofArchive(run_exports: unknown, own: unknown, patches?: unknown): string[] {
  const bytes = own === undefined ? undefined : Buffer.from(JSON.stringify(own));
  const runExports = { 'packages.conda': { 'a-1-0.conda': { run_exports } } };
  const subject = { bytes, filename: 'a-1-0.conda', where: 'noarch/a-1-0.conda', runExports, patches };
  return clausesOf((log) => {
    checkRunExportsOfArchive(subject, log);
  });
}
