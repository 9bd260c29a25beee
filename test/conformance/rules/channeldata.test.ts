import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { checkChanneldata, PackageSummaries } from '#ferry/conformance/rules/channeldata.js';
import { RepodataText } from '#ferry/conformance/rules/repodata-text.js';
import { clausesOf } from '../../support/findings.js';

const FIXTURES = new URL('../../../fixtures/channel/', import.meta.url);
const item = {
  'activate.d': false,
  binary_prefix: false,
  'deactivate.d': false,
  text_prefix: true,
  pre_link: false,
  post_link: false,
  pre_unlink: false,
  run_exports: { '1.0': { weak: ['foo'] } },
  subdirs: ['noarch'],
  timestamp: 1_700_000_000,
  version: '1.0',
  source_url: ['https://ferry.example/foo.tar.gz'],
  dev_url: null,
};
const good = { channeldata_version: 1, subdirs: ['noarch', 'linux-64'], packages: { foo: item } };

function check(value: unknown, ...records: readonly object[]): string[] {
  return clausesOf((log) => {
    const packages = new PackageSummaries();
    for (const record of records) packages.add({ value: record }, 'noarch');
    checkChanneldata({ value, where: 'channeldata.json', subdirs: ['noarch'], packages }, log);
  });
}

function withItem(fields: object): unknown {
  return JSON.parse(JSON.stringify({ ...good, packages: { foo: { ...item, ...fields } } }));
}

test('cep38/document: the fixture channel breaks nothing', async () => {
  const packages = new PackageSummaries();
  const subdirs = ['noarch', 'linux-64', 'osx-arm64'];
  for (const subdir of subdirs) {
    const repodata = new RepodataText(await readFile(new URL(`${subdir}/repodata.json`, FIXTURES)));
    for (const record of repodata.records()) packages.add(record, subdir);
  }
  const value: unknown = JSON.parse(await readFile(new URL('channeldata.json', FIXTURES), 'utf8'));
  expect(
    clausesOf((log) => {
      checkChanneldata({ value, where: 'channeldata.json', subdirs, packages }, log);
    }),
  ).toEqual([]);
});

test.each([
  ['cep38/document', []],
  ['cep38/version', { ...good, channeldata_version: 2 }],
  ['cep38/subdirs', { ...good, subdirs: 'noarch' }],
  ['cep38/subdirs-complete', { ...good, subdirs: ['linux-64'], packages: {} }],
  ['cep36/subdir-names', { ...good, subdirs: ['noarch', 'linux-64', 'Linux', 'a-b-c'] }],
  ['cep38/packages', { ...good, packages: [] }],
  ['cep38/packages', { ...good, packages: { foo: null } }],
  ['cep38/package-flags', withItem({ pre_link: undefined })],
  ['cep38/package-flags', withItem({ 'activate.d': 'no' })],
  ['cep38/package-run-exports', withItem({ run_exports: { weak: ['foo'] } })],
  ['cep38/package-subdirs', withItem({ subdirs: 'noarch' })],
  ['cep38/package-subdirs-agree', withItem({ subdirs: ['noarch', 'osx-64'] })],
  ['cep38/package-timestamp', withItem({ timestamp: undefined })],
  ['cep38/timestamp-seconds', withItem({ timestamp: 1_700_000_000_000 })],
  ['cep38/package-version', withItem({ version: 1 })],
  ['cep38/package-texts', withItem({ license: ['MIT'] })],
])('%s: not %j', (clause, value) => {
  expect(check(good)).toEqual([]);
  expect(check(value)).toEqual([clause]);
});

test('cep38/packages-complete: says of each package what the records say', () => {
  const record = { name: 'foo', version: '1.0', timestamp: 1_700_000_000_999 };
  expect(check(good, record)).toEqual([]);
  expect(check(good, record, { ...record, name: 'bar' })).toEqual(['cep38/packages-complete']);
  expect(check(good, { ...record, version: '2.0' })).toEqual(['cep38/version-listed']);
  expect(check(good, record, { ...record, timestamp: 1_700_000_100_000 })).toEqual([
    'cep38/timestamp-newest',
  ]);
  expect(check(withItem({ subdirs: ['linux-64'] }), record)).toEqual(['cep38/package-subdirs-agree']);
});
