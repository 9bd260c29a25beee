import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { CheckLog } from '#ferry/conformance/check-log.js';
import { checkRepodata, type RepodataSubject } from '#ferry/conformance/rules/repodata.js';
import { clausesOf, findingsOf } from '../../support/findings.js';

const FIXTURES = new URL('../../../fixtures/channel/', import.meta.url);
const REAL_CHANNELS = new URL('../../../../shared/channels/', import.meta.url);
const NOW = Date.UTC(2026, 0, 1);
const WHERE = 'noarch/repodata.json';
const RECORD = `${WHERE}#/packages.conda/foo-1.0-0.conda`;

const good: Readonly<Record<string, unknown>> = {
  name: 'foo',
  version: '1.0',
  build: '0',
  build_number: 0,
  depends: [],
  md5: '0123456789abcdef'.repeat(2),
  sha256: '0123456789abcdef'.repeat(4),
  size: 1000,
  subdir: 'noarch',
  timestamp: 1_700_000_000_000,
  indexed_timestamp: 1_700_000_100_000,
};

type Check = (log: CheckLog) => void;

function check(document: unknown, options: Partial<RepodataSubject> = {}): Check {
  const text = typeof document === 'string' ? document : JSON.stringify(document);
  const subject = { bytes: Buffer.from(text), subdir: 'noarch', where: WHERE, nowMs: NOW, ...options };
  return (log) => void checkRepodata(subject, log);
}

/** A document with one record, which differs from the good one in these fields; `undefined` takes one out. */
function withRecord(fields: Readonly<Record<string, unknown>>, filename = 'foo-1.0-0.conda'): Check {
  return check({ info: { subdir: 'noarch' }, 'packages.conda': { [filename]: { ...good, ...fields } } });
}

function withInfo(
  info: Readonly<Record<string, unknown>>,
  top: Readonly<Record<string, unknown>> = {},
): Check {
  return check({ info: { subdir: 'noarch', ...info }, ...top });
}

describe('good repodata', () => {
  test.each(['', '{}', '{"info":{"subdir":"noarch"},"x":1,"signatures":{}}'])(
    'cep36/empty-file: `%s` is in order',
    (text) => {
      expect(clausesOf(check(text))).toEqual([]);
    },
  );

  test('cep36/record: so is one with all that the CEPs know', () => {
    const record = {
      ...good,
      constrains: ['bar >1'],
      noarch: 'generic',
      track_features: 'x',
      flags: ['cuda', 'blas:mkl'],
      extra_depends: { 'group-1': ['bar'] },
      run_exports: { weak: ['foo'] },
      attestations_sha256: '0f'.repeat(32),
      legacy_bz2_md5: good['md5'],
      legacy_bz2_size: 1000,
      license_family: 'unknown keys are legal',
    };
    const document = {
      repodata_version: 2,
      info: {
        subdir: 'noarch',
        base_url: 'https://ferry.example/noarch/',
        channel_relations: { base: '../base', overrides: '../..' },
        repodata_revisions: {
          v3: {
            message: 'Hello',
            n_packages: 1,
            newest: good['indexed_timestamp'],
            oldest: good['indexed_timestamp'],
          },
        },
      },
      packages: { 'foo-1.0-0.tar.bz2': good },
      'packages.conda': { 'foo-1.0-0.conda': record },
      removed: ['foo-0.9-0.conda'],
      v3: {
        conda: {
          'foo-1.0-0': {
            ...good,
            depends: ['bar', 'baz[version=">=1,<2",build_number=0,when="__unix"]', 'qux[extras=[a, b]]'],
          },
        },
        'tar.bz2': {},
        whl: {},
      },
    };
    expect(findingsOf(check(document))).toEqual([]);
  });

  test('the fixture channel breaks nothing', async () => {
    for (const subdir of ['noarch', 'linux-64', 'osx-arm64']) {
      const bytes = await readFile(new URL(`${subdir}/repodata.json`, FIXTURES));
      expect(clausesOf(check('', { bytes, subdir, where: `${subdir}/repodata.json` }))).toEqual([
        'cep47/present',
      ]);
    }
  });

  test('records come past one by one, decoded', () => {
    const seen: string[] = [];
    const document = {
      'packages.conda': { 'foo-1.0-0.conda': good },
      v3: { conda: { 'bar-1-0': { ...good, name: 'bar', version: '1' } } },
    };
    const onRecord: RepodataSubject['onRecord'] = ({ section, filename, value }) => {
      seen.push(`${section.join('/')} ${filename} ${String((value as typeof good)['name'])}`);
    };
    expect(clausesOf(check(document, { onRecord }))).toEqual([]);
    expect(seen).toEqual(['packages.conda foo-1.0-0.conda foo', 'v3/conda bar-1-0.conda bar']);
  });
});

// Outside of the project, so only where they lie.
describe.runIf(existsSync(new URL('test-recipes/', REAL_CHANNELS)))('channels that others made', () => {
  test.each(['test-recipes', 'conda-format'])('%s has no errors', async (name) => {
    const root = fileURLToPath(new URL(name, REAL_CHANNELS));
    for (const subdir of await readdir(root)) {
      if (!existsSync(`${root}/${subdir}/repodata.json`)) continue;
      const bytes = await readFile(`${root}/${subdir}/repodata.json`);
      const log = new CheckLog();
      checkRepodata({ bytes, subdir, where: `${subdir}/repodata.json` }, log);
      expect(log.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    }
  });
});

describe('the document', () => {
  test.each(['[]', '{"info":', 'null', '{} {}'])('cep36/repodata-object: not `%s`', (text) => {
    expect(findingsOf(check(text))).toEqual([`cep36/repodata-object at ${WHERE}`]);
  });

  test.each([
    ['cep36/info', { info: [] }],
    ['cep36/packages', { packages: [] }],
    ['cep36/packages-conda', { 'packages.conda': null }],
    ['cep36/removed', { removed: {} }],
    ['cep36/removed', { removed: [1] }],
    ['cep36/signatures', { signatures: [] }],
    ['cep36/repodata-version', { repodata_version: '1' }],
    ['cep48/repodata-version', { repodata_version: 3 }],
    ['cep48/v3', { v3: [] }],
    ['cep48/v3', { v3: { conda: [] } }],
    ['cep36/info-subdir', { info: {} }],
    ['cep36/info-subdir-agrees', { info: { subdir: 64 } }],
    ['cep36/info-subdir-agrees', { info: { subdir: 'linux-64' } }],
  ])('%s: not %j', (clause, document) => {
    expect(clausesOf(check(document))).toEqual([clause]);
  });

  test('cep36/unique-keys: names every key that stands twice', () => {
    const record = JSON.stringify(good);
    const text = `{"info":{"subdir":"x","subdir":"noarch"},"removed":[],"removed":[],
      "packages.conda":{"foo-1.0-0.conda":{},"foo-1.0-0.conda":${record}}}`;
    expect(findingsOf(check(text))).toEqual([
      `cep36/unique-keys at ${WHERE}#/removed`,
      `cep36/unique-keys at ${WHERE}#/info/subdir`,
      `cep36/unique-keys at ${RECORD}`,
    ]);
  });

  test('cep36/removed-not-listed: what is removed is not listed', () => {
    const document = { 'packages.conda': { 'foo-1.0-0.conda': good }, removed: ['a', 'foo-1.0-0.conda'] };
    expect(findingsOf(check(document))).toEqual([`cep36/removed-not-listed at ${WHERE}#/removed/1`]);
  });

  test('cep36/info-keys: `info` has known keys, two of them deprecated', () => {
    expect(clausesOf(withInfo({ arch: 'x86_64', platform: 'linux' }))).toEqual([
      'cep36/info-deprecated',
      'cep36/info-deprecated',
    ]);
    expect(clausesOf(withInfo({ colour: 'red' }))).toEqual(['cep36/info-keys']);
  });

  test('cep15/repodata-version: is 2 with `base_url`, else 1', () => {
    const base_url = 'https://ferry.example/';
    expect(clausesOf(withInfo({ base_url }, { repodata_version: 1 }))).toEqual(['cep15/repodata-version']);
    expect(clausesOf(withInfo({ base_url }))).toEqual(['cep15/repodata-version']);
    expect(clausesOf(withInfo({}, { repodata_version: 2 }))).toEqual(['cep15/repodata-version']);
    expect(clausesOf(withInfo({ base_url }, { repodata_version: 2 }))).toEqual([]);
    expect(clausesOf(withInfo({}, { repodata_version: 1 }))).toEqual([]);
  });

  test('cep15/version-place: is at the top, and the same in `info`', () => {
    expect(clausesOf(withInfo({ repodata_version: 1 }))).toEqual(['cep15/version-place']);
    expect(clausesOf(withInfo({ repodata_version: 2 }, { repodata_version: 1 }))).toEqual([
      'cep15/version-agrees',
    ]);
    expect(clausesOf(withInfo({ repodata_version: 1 }, { repodata_version: 1 }))).toEqual([]);
  });

  test('cep15/base-url: is a URL, best an absolute one', () => {
    const top = { repodata_version: 2 };
    expect(clausesOf(withInfo({ base_url: 'http://[' }, top))).toEqual(['cep15/base-url']);
    expect(clausesOf(withInfo({ base_url: 1 }, top))).toEqual(['cep15/base-url']);
    expect(clausesOf(withInfo({ base_url: '../elsewhere/' }, top))).toEqual(['cep15/base-url-absolute']);
  });
});

describe('relations and revisions', () => {
  test.each([
    ['cep42/relations', '../base'],
    ['cep42/relations', { base: 1 }],
    ['cep42/reference', { base: 'https://ferry.example/base' }],
    ['cep42/distinct', { base: '../base', overrides: '../x/../base/' }],
    ['cep42/not-itself', { overrides: '../ferry' }],
  ])('%s: not %j', (clause, channel_relations) => {
    const document = { info: { subdir: 'noarch', channel_relations } };
    expect(clausesOf(check(document, { channelUrl: 'https://ferry.example/ferry' }))).toEqual([clause]);
  });

  test('cep42/resolved-from-channel: the subdir is no step on the way', () => {
    const relation = (overrides: string): string[] =>
      clausesOf(
        check(
          { info: { subdir: 'noarch', channel_relations: { overrides } } },
          { channelUrl: 'https://ferry.example/org/ferry' },
        ),
      );
    expect(relation('../../org/ferry')).toEqual(['cep42/not-itself']);
    expect(relation('../../ferry')).toEqual([]);
  });

  test('cep42/unknown-keys: further keys of the relations are passed over', () => {
    const channel_relations = { base: '../base', future: { x: 1 } };
    expect(clausesOf(check({ info: { subdir: 'noarch', channel_relations } }))).toEqual([]);
  });

  test('cep42/not-itself: a label may lead to its channel', () => {
    const document = { info: { subdir: 'noarch', channel_relations: { overrides: '../..' } } };
    const channelUrl = 'https://ferry.example/ferry/label/rc';
    expect(clausesOf(check(document, { channelUrl }))).toEqual([]);
  });

  test.each([
    ['cep48/revisions', []],
    ['cep48/revisions', { v3: null }],
    ['cep48/revision-key', { v2: {} }],
    ['cep48/revision-key', { v4: {} }],
    ['cep48/message', { v3: { message: 1 } }],
    ['cep48/message-length', { v3: { message: 'ü'.repeat(4097) } }],
    ['cep48/n-packages', { v3: { n_packages: 1 } }],
    ['cep48/n-packages', { v3: { n_packages: '2' } }],
    ['cep48/newest', { v3: { newest: 1_700_000_100_000 } }],
    ['cep48/oldest', { v3: { oldest: 1_700_000_000_000 } }],
  ])('%s: not %j', (clause, repodata_revisions) => {
    const later = { ...good, version: '1.1', indexed_timestamp: 1_700_000_200_000 };
    const v3 = { conda: { 'foo-1.0-0': good, 'foo-1.1-0': later } };
    expect(clausesOf(withInfo({ repodata_revisions }, { v2: {}, v3 }))).toEqual([clause]);
  });

  test.each([
    ['cep48/v3-extension', { '': { 'foo-1.0-0': good } }],
    ['cep48/v3-extension-known', { '.conda': {} }],
    ['cep48/v3-filename', { conda: { '': good } }],
    ['cep26/filename', { conda: { 'foo-1.0-0.conda': good } }],
    ['cep48/v3-record', { whl: { 'foo-1.0-0': [] } }],
    ['cep36/record-size', { conda: { 'foo-1.0-0': { ...good, size: -1 } } }],
  ])('%s: %j', (clause, v3) => {
    expect(clausesOf(withInfo({}, { v3 }))).toEqual([clause]);
  });

  test('cep48/v3-indexed-timestamp: a record of v3 says when it was indexed', () => {
    const { indexed_timestamp: _, ...record } = good;
    expect(clausesOf(withInfo({}, { v3: { conda: { 'foo-1.0-0': record } } }))).toEqual([
      'cep48/v3-indexed-timestamp',
      'cep47/present',
    ]);
  });

  test.each([
    ['cep48/spec-form', 'bar >=1'],
    ['cep48/spec-form', 'bar[]'],
    ['cep48/spec-form', 'bar>=1'],
    ['cep48/spec-form', 'bar[version]'],
    ['cep48/spec-fields', 'bar[url="https://ferry.example/"]'],
    ['cep48/spec-fields', 'conda-forge::bar'],
    ['cep48/spec-name', 'ba*'],
    ['cep48/spec-name', '[version=1]'],
  ])('%s: not `%s`', (clause, spec) => {
    for (const fields of [{ depends: [spec] }, { constrains: [spec] }, { extra_depends: { test: [spec] } }]) {
      const v3 = { conda: { 'foo-1.0-0': { ...good, ...fields } } };
      expect(clausesOf(withInfo({}, { v3 }))).toEqual([clause]);
    }
  });
});

test('cep48/spec-form: a long row of blanks takes no time', () => {
  const spec = `bar[version=${' '.repeat(200_000)}"]`;
  const v3 = { conda: { 'foo-1.0-0': { ...good, depends: [spec] } } };
  expect(clausesOf(withInfo({}, { v3 }))).toEqual(['cep48/spec-form']);
});

describe('a record', () => {
  test.each([
    ['cep36/record-size', 'size', undefined],
    ['cep36/record-size', 'size', '1000'],
    ['cep36/record-md5', 'md5', undefined],
    ['cep36/record-md5', 'md5', 'abc'],
    ['cep36/record-sha256', 'sha256', undefined],
    ['cep36/record-sha256', 'sha256', 'sha256:'.padEnd(71, '0')],
    ['cep34/index-keys', 'depends', undefined],
    ['cep34/index-depends', 'depends', 'bar'],
    ['cep34/index-build-number', 'build_number', 0.5],
    ['cep34/index-name', 'name', undefined],
    ['cep34/noarch', 'noarch', 'java'],
    ['cep34/index-timestamp', 'timestamp', 'today'],
    ['cep36/record-subdir', 'subdir', 'linux-64'],
    ['cep48/extra-depends', 'extra_depends', { Test: [] }],
    ['cep48/flags', 'flags', ['a:b:c']],
    ['cep21/record-run-exports', 'run_exports', { weakest: [] }],
    ['cep21/record-run-exports', 'run_exports', ['foo']],
    ['cep36/legacy-bz2-md5', 'legacy_bz2_size', 1],
    ['cep36/legacy-bz2-size', 'legacy_bz2_md5', good['md5']],
    ['cep47/indexed-timestamp', 'indexed_timestamp', '2026-01-01'],
    ['cep47/not-after-indexed', 'timestamp', 1_700_000_200_000],
    ['cep47/indexed-not-in-future', 'indexed_timestamp', NOW + 1],
    ['cep142/attestations-sha256', 'attestations_sha256', '0F'.repeat(32)],
    ['cep151/url', 'url', ''],
    ['cep151/url', 'url', '/foo-1.0-0.conda'],
    ['cep151/url', 'url', '//ferry.example/foo-1.0-0.conda'],
    ['cep151/url', 'url', 'C:\\foo-1.0-0.conda'],
    ['cep151/url', 'url', 'https://[/'],
    ['cep151/no-parent', 'url', 'a/../../foo-1.0-0.conda'],
    ['cep151/no-hidden-parent', 'url', 'a/%2E%2e/foo-1.0-0.conda'],
    ['cep151/no-hidden-parent', 'url', 'a\\..\\foo-1.0-0.conda'],
    ['cep151/non-flat', 'url', 'foo/foo-1.0-0.conda'],
    ['cep151/non-flat', 'url', 'https://ferry.example/foo-1.0-0.conda'],
  ])('%s: `%s` is not %j', (clause, field, value) => {
    expect(clausesOf(withRecord({ [field]: value }))).toEqual([clause]);
  });

  test('cep36/record: is an object', () => {
    const document = { 'packages.conda': { 'foo-1.0-0.conda': 'foo' } };
    expect(clausesOf(check(document))).toEqual(['cep36/record']);
  });

  test('cep36/record-digest: one of its digests may be null, not both', () => {
    expect(clausesOf(withRecord({ md5: null }))).toEqual([]);
    expect(clausesOf(withRecord({ sha256: null }))).toEqual([]);
    expect(findingsOf(withRecord({ sha256: null, md5: null }))).toEqual([`cep36/record-digest at ${RECORD}`]);
  });

  test('cep47/not-in-future: was not built in the future', () => {
    const times = { timestamp: NOW + 1, indexed_timestamp: NOW };
    expect(clausesOf(withRecord(times))).toEqual(['cep47/not-after-indexed', 'cep47/not-in-future']);
  });

  test('cep151/url-scheme: clients fetch by http', () => {
    expect(clausesOf(withRecord({ url: 'file:///etc/passwd' }))).toEqual([
      'cep151/url-scheme',
      'cep151/non-flat',
    ]);
  });

  test.each([
    ['cep26/name', { name: 'foo__bar' }],
    ['cep26/name', { name: 'Foo' }],
    ['cep26/build', { build: 'a b' }],
    ['cep33/version', { version: '1~2' }],
  ])('%s: not %j', (clause, fields) => {
    const { name, version, build } = { ...good, ...fields } as Readonly<Record<string, unknown>>;
    const filename = `${String(name)}-${String(version)}-${String(build)}.conda`;
    expect(clausesOf(withRecord(fields, filename))).toEqual([clause]);
  });

  test('cep26/filename: agrees with its key', () => {
    expect(clausesOf(withRecord({ version: '1.1' }))).toEqual(['cep26/filename']);
    expect(clausesOf(withRecord({}, 'foo-1.0-0.1.conda'))).toEqual(['cep26/filename']);
  });

  test('cep36/key-extension: is in the section for its ending', () => {
    const document = { packages: { 'foo-1.0-0.conda': good } };
    expect(findingsOf(check(document))).toEqual([
      `cep36/key-extension at ${WHERE}#/packages/foo-1.0-0.conda`,
    ]);
  });

  test('cep36/legacy-bz2-agrees: tells of the `.tar.bz2` what its own record tells', () => {
    const conda = { ...good, legacy_bz2_md5: 'f'.repeat(32), legacy_bz2_size: 1000 };
    const document = {
      packages: { 'foo-1.0-0.tar.bz2': good },
      'packages.conda': { 'foo-1.0-0.conda': conda },
    };
    expect(findingsOf(check(document))).toEqual([`cep36/legacy-bz2-agrees at ${RECORD}/legacy_bz2_md5`]);
  });

  test('a place is a JSON pointer', () => {
    expect(findingsOf(withRecord({ size: null }, 'a/b~c.conda'))).toEqual([
      `cep36/record-size at ${WHERE}#/packages.conda/a~1b~0c.conda/size`,
      `cep26/filename at ${WHERE}#/packages.conda/a~1b~0c.conda`,
    ]);
  });
});
