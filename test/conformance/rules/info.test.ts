import { describe, expect, it } from 'vitest';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import { checkBuilt, clausesOfBoth, spec, withContent } from './checked.js';

describe('info/index.json', () => {
  it.each<[string, Record<string, unknown>]>([
    ['cep34/index-schema-version', { schema_version: -1 }],
    ['cep34/index-schema-version', { schema_version: 2, flags: ['gpu:cuda'] }],
    ['cep34/index-schema-version', { extra_depends: { test: ['a'] } }],
    ['cep34/index-version', { version: 1 }],
    ['cep34/index-build', { build: undefined }],
    ['cep34/index-build-number', { build_number: '0' }],
    ['cep34/index-build-has-number', { build_number: 7 }],
    ['cep34/index-keys', { depends: undefined }],
    ['cep34/index-depends', { depends: ['a', 1] }],
    ['cep34/index-constrains', { constrains: 'a' }],
    ['cep26/virtual-name', { depends: ['__glibc >=2.17', '__Cuda'] }],
    ['cep26/virtual-name', { constrains: ['__a__b>1'] }],
    ['cep34/index-subdir', { subdir: 1 }],
    ['cep34/noarch', { noarch: 'java' }],
    ['cep34/noarch', { noarch: true, schema_version: 2 }],
    ['cep34/noarch-historic', { noarch: true }],
    ['cep34/index-timestamp', { timestamp: '1' }],
    ['cep34/index-timestamp-unit', { timestamp: 1_700_000_000 }],
    ['cep34/index-track-features', { track_features: [] }],
    ['cep34/index-track-feature-names', { track_features: 'a b=c' }],
    ['cep34/index-python-site-packages-path', { python_site_packages_path: '../x' }],
    ['cep34/index-python-site-packages-path', { python_site_packages_path: 'a/../../x' }],
    ['cep34/index-python-site-packages-path', { python_site_packages_path: '/x' }],
    ['cep34/index-extra-depends', { schema_version: 3, extra_depends: { 'A B': [] } }],
    ['cep34/index-flags', { schema_version: 3, flags: ['a:b:c'] }],
    ['cep34/index-other-keys', { arch: 1 }],
    ['cep151/not-in-index', { url: 'https://ferry.example/a.conda' }],
  ])('%s: %j', async (clause, index) => {
    expect(await clausesOfBoth({ index })).toEqual([[clause], [clause]]);
  });

  it('cep34/index-json: what is allowed leaves nothing', async () => {
    const index = {
      ...{
        schema_version: 3,
        extra_depends: { a: ['b'] },
        flags: ['a', 'a:b'],
        constrains: ['c >1', '__cuda>=12', '__cu*'],
      },
      ...{ track_features: 'a b,c', python_site_packages_path: 'lib/python3.14/site-packages', odd: [null] },
    };
    expect(await clausesOfBoth({ index })).toEqual([[], []]);
  });

  it('cep34/index-keys: a package of the first years, without a subdir, is no error', async () => {
    const built = tarBz2Package({ ...spec, index: { subdir: undefined, noarch: true } });
    const { findings } = await checkBuilt(built);
    expect(findings.map(({ clause, severity }) => [clause, severity]).sort()).toEqual([
      ['cep34/index-keys', 'info'],
      ['cep34/noarch-historic', 'warning'],
    ]);
  });

  it('cep34/noarch-subdir: noarch in another subdir', async () => {
    const built = condaPackage({ ...spec, subdir: 'linux-64', index: { noarch: 'generic' } });
    expect((await checkBuilt(built, 'linux-64')).clauses).toEqual(['cep34/noarch-subdir']);
  });

  it('cep35/limits: deep nesting and many values are not parsed', async () => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    for (const name of [deep, `[${'1,'.repeat(1_000_000)}1]`])
      expect(await clausesOfBoth({ indexContent: `{"name":${name}}` })).toEqual([
        ['cep35/limits'],
        ['cep35/limits'],
      ]);
  });

  it('cep26/name: names of an index that is not of this file are judged too', async () => {
    const { clauses } = await checkBuilt(tarBz2Package({ ...spec, index: { name: 'Ferry' } }));
    expect(clauses).toEqual(['cep26/name', 'cep35/filename']);
  });

  it('cep34/index-json: is handed back as it was read', async () => {
    const built = condaPackage(spec);
    const { index, indexJson } = await checkBuilt(built);
    expect(index).toEqual(built.index);
    expect(JSON.parse(Buffer.from(indexJson ?? []).toString())).toEqual(built.index);
  });
});

describe('other documents of info/', () => {
  it.each<[string, string, unknown]>([
    ['cep34/run-exports-json', 'info/run_exports.json', { weak: 'a' }],
    ['cep34/run-exports-json', 'info/run_exports.json', [1]],
    ['cep34/run-exports-json', 'info/run_exports.json', { schema_version: 0 }],
    ['cep34/run-exports-json', 'info/run_exports.json', null],
    ['cep34/link-json', 'info/link.json', { noarch: {} }],
    ['cep34/link-json', 'info/link.json', { noarch: { type: 'python', entry_points: 'a' } }],
    ['cep34/hash-input-json', 'info/hash_input.json', []],
  ])('%s: %s %j', async (clause, path, value) => {
    const infoFiles = { [path]: JSON.stringify(value) };
    expect(await clausesOfBoth({ infoFiles })).toEqual([[clause], [clause]]);
  });

  it.each<[string, unknown]>([
    ['info/run_exports.json', ['a >1']],
    ['info/run_exports.json', { strong: ['a'], schema_version: 2 }],
    [
      'info/link.json',
      { noarch: { type: 'python', entry_points: ['a = b:c'] }, package_metadata_version: 1 },
    ],
    ['info/hash_input.json', {}],
  ])('cep34: %s %j is fine', async (path, value) => {
    expect(await clausesOfBoth({ infoFiles: { [path]: JSON.stringify(value) } })).toEqual([[], []]);
  });

  it('cep34/about-json: is an object', async () => {
    expect(await clausesOfBoth(withContent('info/about.json', () => 'text'))).toEqual([
      ['cep34/about-json'],
      ['cep34/about-json'],
    ]);
  });
});
