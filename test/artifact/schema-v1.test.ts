import { describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import {
  BUILD_ANNOTATION,
  isHashed,
  NAME_ANNOTATION,
  SCHEMA_ANNOTATION,
  schemaV1,
  VERSION_ANNOTATION,
} from '#ferry/artifact/schema-v1.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import type { PackageContent, PackageIdentity, PackageLayer, PackagePlace } from '#ferry/artifact/schema.js';
import { parseLocation } from '#ferry/cli/locations.js';
import { checkIndexJson } from '#ferry/conda/archive/index-json.js';
import { isSubdir, parseArchiveFilename } from '#ferry/conda/names.js';
import { isFerryError, UnrepresentableError } from '#ferry/errors.js';
import { digestOf } from '#ferry/io/digest.js';
import { isRepositoryName, isTag, parseReference } from '#ferry/oci/reference.js';
import { rejection } from '../contracts/artifacts.js';
import { RecordingRegistry } from './recording-registry.js';

/** The clause for which a package or a place is refused; `undefined` where it is not. */
function refusal(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof UnrepresentableError && isFerryError(error, 'NAME_UNREPRESENTABLE'))
      return error.clause;
    throw error;
  }
  return undefined;
}

const zlib = { name: 'zlib', version: '1.2.11', build: 'h7b6447c_3' };
const foo = { name: 'foo', version: '1.0', build: '0' };
const g63 = 'g'.repeat(63);
const g64 = 'g'.repeat(64);

/** Hashes that the draft's rules give, made with another program. */
const HASH_OF_G64 = 'h7008598d269d3cb5f2e14b5847671d3e21479d6907824e3c8ab1973a7638e4a9';
const HASH_OF_FOO = 'ha45584242a16080d9712cc1c94743296178f74948522e8ace3e070845cb16c9d';
const HASH_OF_SHORT_TAG = 'ha2e4a5ec4b951e4727a204277a99b08ecf65db55d1d812fb4ffa6ba3ed249b59';
const HASH_OF_LONG_TAG = 'h2f9d65b91604cfc6a8286a453446d5dc2435837013a9277b69f6c3f14c6ca605';
/** 129 characters as a tag, legal by CEP 26. */
const long = { version: '1'.repeat(64), build: 'b'.repeat(64) };

function expectBack(archive: PackageIdentity): PackagePlace {
  const place = schemaV1.placeOf(archive);
  expect(schemaV1.packageAt(place, schemaV1.packageAnnotations(archive))).toEqual(archive);
  return place;
}

describe('names', () => {
  test.each([
    ['_libgcc_mutex', 'c_libgcc_mutex'],
    ['python', 'cpython'],
    ['__glibc', 'c__glibc'],
    ['ferry.dotted_name', 'cferry.dotted_name'],
    ['zzz_foo', 'czzz_foo'],
    ['repodata.json', 'crepodata.json'],
  ])('v1/N1, v1/N2, v1/N4: %s stands in %s, and is read back from it', (name, repository) => {
    const archive = { ...zlib, name };
    expect(expectBack(archive)).toEqual({ repository, tag: '1.2.11-h7b6447c__3' });
    expect(schemaV1.packageAt({ repository, tag: '1.2.11-h7b6447c__3' })).toEqual(archive);
    expect(schemaV1.readLeaf(repository)).toEqual({ kind: 'package', name });
  });

  test('v1/B1: the rule holds and not the example that contradicts it', () => {
    expect(schemaV1.placeOf({ ...zlib, name: 'c_libgcc_mutex' }).repository).toBe('cc_libgcc_mutex');
  });

  test('v1/N3: a name of 63 characters stands as it is, one of 64 is hashed with its `c`', () => {
    expect(schemaV1.placeOf({ ...foo, name: g63 })).toEqual({ repository: `c${g63}`, tag: '1.0-0' });
    expect(schemaV1.placeOf({ ...foo, name: g64 }).repository).toBe(HASH_OF_G64);
  });

  test('v1/B2: the hash is longer than the limit, and is not hashed again', () => {
    expect(expectBack({ ...foo, name: g64 }).repository).toHaveLength(65);
  });

  test('v1/N5, v1/B30: hashes are in lower case, and one in upper case is none', () => {
    const place = schemaV1.placeOf({ ...foo, name: g64 });
    expect(place.repository).toBe(place.repository.toLowerCase());
    expect(place.tag).toBe(place.tag.toLowerCase());
    const upper = `h${HASH_OF_SHORT_TAG.slice(1).toUpperCase()}`;
    expect(isHashed(upper)).toBe(false);
    expect(refusal(() => schemaV1.packageAt({ repository: HASH_OF_G64, tag: upper }))).toBe('v1/T5');
  });

  test.each(['foo_', 'foo.', 'foo-', '_', '_.a', '_-a', 'a._b'])(
    'v1/B4, v1/G2: %s, legal by CEP 26 but not in OCI, is refused, also where it is long',
    (name) => {
      expect(refusal(() => schemaV1.placeOf({ ...zlib, name }))).toBe('v1/G2');
      const longer = name.replace(/^(?=[fa])/, g64);
      expect(refusal(() => schemaV1.placeOf({ ...zlib, name: longer }))).toBe('v1/G2');
    },
  );

  test.each(['a..b', 'a___b', '___a', 'Foo', 'a/b', 'a b', 'é', '../a', 'a\n'])(
    'v1/G2, v1/L6: %j is refused',
    (name) => {
      expect(refusal(() => schemaV1.placeOf({ ...zlib, name }))).toBe('v1/G2');
    },
  );

  test('v1/N2: no name is refused, and `c` alone is the place of none', () => {
    expect(refusal(() => schemaV1.placeOf({ ...zlib, name: '' }))).toBe('v1/N2');
    expect(refusal(() => schemaV1.packageAt({ repository: 'c', tag: '1.0-0' }))).toBe('v1/N2');
    expect(schemaV1.readLeaf('c')).toEqual({ kind: 'other' });
  });

  test('v1/B14: packages of both schemas would meet in one channel', () => {
    for (const [v1, v0] of [
      ['make', 'cmake'],
      ['cache', 'ccache'],
    ] as const) {
      const archive = { version: '4.3', build: '0' };
      expect(schemaV1.placeOf({ ...archive, name: v1 })).toEqual(schemaV0.placeOf({ ...archive, name: v0 }));
    }
  });
});

describe('name spaces below a subdir', () => {
  test.each([
    ['mrepodata.json', 'repodata.json'],
    ['mcurrent_repodata.json', 'current_repodata.json'],
    ['mrepodata_from_packages.json', 'repodata_from_packages.json'],
    ['mrun_exports.json', 'run_exports.json'],
    ['mpatch_instructions.json', 'patch_instructions.json'],
    ['msigs', 'attestations'],
    ['mledger', 'ledger'],
  ] as const)('v1/S1, v1/R1, v1/R2: %s is for %s', (repository, file) => {
    expect(schemaV1.metadataRepository(file)).toBe(repository);
    expect(schemaV1.readLeaf(repository)).toEqual({ kind: 'metadata', file });
    expect(isRepositoryName(repository)).toBe(true);
  });

  test('v1/S1: other `m` are kept for metadata', () => {
    expect(schemaV1.readLeaf('mshards')).toEqual({ kind: 'metadata', file: undefined });
  });

  test('v1/S2, v1/S3: `c` is a package by its name, `h` and a hash one by its annotations', () => {
    expect(schemaV1.readLeaf('czlib')).toEqual({ kind: 'package', name: 'zlib' });
    expect(schemaV1.readLeaf(HASH_OF_FOO)).toEqual({ kind: 'package', name: undefined });
  });

  test.each(['hello', 'h', HASH_OF_FOO.slice(0, -1), `${HASH_OF_FOO}0`, `h${'g'.repeat(64)}`])(
    'v1/S3: %s is no hash',
    (repository) => {
      expect(schemaV1.readLeaf(repository)).toEqual({ kind: 'other' });
      expect(refusal(() => schemaV1.packageAt({ repository, tag: '1.0-0' }))).toBe('v1/S3');
    },
  );

  test.each(['zlib', 'zzz_libgcc_mutex', 'repodata.json', 'shards', 'notices.json'])(
    'v1/S4, v1/B15: %s is none of the three',
    (repository) => {
      expect(schemaV1.readLeaf(repository)).toEqual({ kind: 'other' });
      expect(refusal(() => schemaV1.packageAt({ repository, tag: '1.0-0' }))).toBe('v1/S4');
    },
  );

  test.each(['cfoo_', 'cFoo', 'cfoo/bar', 'mfoo_', 'cfoo\n', ''])('v1/G2: %j is no repository', (leaf) => {
    expect(schemaV1.readLeaf(leaf)).toEqual({ kind: 'other' });
  });

  test('v1/C1, v1/B12: channeldata keeps its name, and no package takes its place', () => {
    expect(schemaV1.metadataRepository('channeldata.json')).toBe('channeldata.json');
    expect(schemaV1.readLeaf('channeldata.json')).toEqual({ kind: 'metadata', file: 'channeldata.json' });
    expect(refusal(() => schemaV1.placeOf({ ...zlib, name: 'hanneldata.json' }))).toBe('v1/C1');
  });
});

describe('tags', () => {
  test.each([
    ['1!2_3+4', '1_N2__3_P4'],
    ['1.0.0_+1_1', '1.0.0___P1__1'],
    ['_', '__'],
    ['+', '_P'],
    ['!', '_N'],
    ['PN', 'PN'],
  ])('v1/T1, v1/T6: %s is written as %s, as version and as build string', (text, encoded) => {
    expect(expectBack({ ...foo, version: text }).tag).toBe(`${encoded}-0`);
    expect(expectBack({ ...foo, build: text }).tag).toBe(`1.0-${encoded}`);
  });

  test.each([
    ['py_P0', 'py__P0'],
    ['a_N', 'a__N'],
    ['_P', '__P'],
  ])('v1/T2, v1/B3: %s reads back as it was', (build, encoded) => {
    expect(expectBack({ ...foo, build }).tag).toBe(`1.0-${encoded}`);
  });

  test.each(['1.0-a_', '1.0-a_b', '1.0-_p', '1.0_-0', '1.0-___'])(
    'v1/T2, v1/B3: %s has an underscore that begins no escape',
    (tag) => {
      expect(refusal(() => schemaV1.packageAt({ repository: 'cfoo', tag }))).toBe('v1/T2');
    },
  );

  test.each(['1.0-rc1-0', '1.0', 'latest', '-0', '1.0-', '20261121T073500Z'])(
    'v1/T3: %s is no tag of a package',
    (tag) => {
      expect(refusal(() => schemaV1.packageAt({ repository: 'cfoo', tag }))).toBe('v1/T3');
    },
  );

  test.each([
    ['', '0'],
    ['1.0', ''],
    ['1.0-rc1', '0'],
    ['1.0', 'h0-1'],
  ])('v1/T3, v1/B7: version %j with build string %j is refused', (version, build) => {
    expect(refusal(() => schemaV1.placeOf({ ...foo, version, build }))).toBe('v1/T3');
  });

  test('v1/B7: a file name whose version has a dash disagrees with the index.json inside', () => {
    const filename = 'foo-1.0-rc1-0.conda';
    const name = parseArchiveFilename(filename);
    expect(name).toMatchObject({ name: 'foo-1.0', version: 'rc1' });
    const index = { name: 'foo', version: '1.0-rc1', build: '0' };
    expect(() => {
      checkIndexJson(index, { ...name, filename, subdir: 'noarch' });
    }).toThrow(expect.objectContaining({ code: 'ARCHIVE_INDEX_MISMATCH' }) as Error);
  });

  test.each([
    { name: 'pyside2', version: '2.0.0~alpha0', build: 'py27_0' },
    { ...foo, version: '1=2' },
    { ...foo, version: '1*' },
    { ...foo, version: '1,2' },
    { ...foo, version: '.1' },
    { ...foo, build: 'é' },
    { ...foo, build: '0\n' },
    { ...foo, ...long, build: `${long.build.slice(1)}~` },
  ])('v1/G3, v1/B8: %j is refused, not hashed', (archive) => {
    expect(refusal(() => schemaV1.placeOf(archive))).toBe('v1/G3');
  });

  test('v1/T4, v1/B5: a tag of 128 characters stands as it is, one of 129 is hashed, escapes counted', () => {
    const fits = { ...foo, ...long, version: '1'.repeat(63) };
    expect(expectBack(fits)).toEqual({ repository: 'cfoo', tag: `${fits.version}-${fits.build}` });
    expect(schemaV1.placeOf({ ...foo, ...long }).tag).toBe(HASH_OF_LONG_TAG);
    expect(isHashed(expectBack({ ...fits, version: `${'1'.repeat(61)}+` }).tag)).toBe(false);
    expect(isHashed(expectBack({ ...fits, version: `${'1'.repeat(62)}+` }).tag)).toBe(true);
  });

  test('v1/T5: both are hashed or none', () => {
    expect(expectBack(foo)).toEqual({ repository: 'cfoo', tag: '1.0-0' });
    expect(expectBack({ ...foo, ...long })).toEqual({ repository: HASH_OF_FOO, tag: HASH_OF_LONG_TAG });
    expect(expectBack({ ...foo, name: g64 })).toEqual({ repository: HASH_OF_G64, tag: HASH_OF_SHORT_TAG });
    expect(expectBack({ ...long, name: g64 })).toEqual({ repository: HASH_OF_G64, tag: HASH_OF_LONG_TAG });
    for (const place of [
      { repository: HASH_OF_G64, tag: '1.0-0' },
      { repository: 'cfoo', tag: HASH_OF_SHORT_TAG },
    ]) {
      expect(refusal(() => schemaV1.packageAt(place, schemaV1.packageAnnotations(foo)))).toBe('v1/T5');
    }
  });

  test('v1/B6: a tag that begins with `h` is hashed only if it is a whole hash', () => {
    expect(expectBack({ ...foo, version: 'h1.0' })).toEqual({ repository: 'cfoo', tag: 'h1.0-0' });
    expect(expectBack({ ...foo, version: HASH_OF_FOO }).repository).toBe('cfoo');
  });

  test('v1/B13: one package can have two repositories', () => {
    expect(schemaV1.placeOf(foo).repository).toBe('cfoo');
    expect(schemaV1.placeOf({ ...foo, ...long }).repository).toBe(HASH_OF_FOO);
  });

  test('v1/B17: the tag of a list of referrers may be that of a package too: only the manifest tells', () => {
    const build = HASH_OF_FOO.slice(1);
    const archive = { ...foo, version: 'sha256', build };
    expect(expectBack(archive).tag).toBe(`sha256-${build}`);
  });

  test.each([
    ['v1/N4', { repository: HASH_OF_FOO, tag: HASH_OF_LONG_TAG }, {}],
    [
      'v1/N3',
      { repository: HASH_OF_G64, tag: HASH_OF_LONG_TAG },
      schemaV1.packageAnnotations({ ...foo, ...long }),
    ],
    [
      'v1/T4',
      { repository: HASH_OF_FOO, tag: HASH_OF_SHORT_TAG },
      schemaV1.packageAnnotations({ ...foo, ...long }),
    ],
    ['v1/N3', { repository: HASH_OF_FOO, tag: HASH_OF_SHORT_TAG }, schemaV1.packageAnnotations(foo)],
    ['v1/N3', { repository: `c${g64}`, tag: '1.0-0' }, schemaV1.packageAnnotations({ ...foo, name: g64 })],
    ['v1/T4', { repository: 'cfoo', tag: `${long.version}-${long.build}` }, {}],
    ['v1/T1', { repository: 'cfoo', tag: '1+0-0' }, {}],
  ])('%s: %j is the place of no package', (clause, place, annotations) => {
    expect(refusal(() => schemaV1.packageAt(place, annotations))).toBe(clause);
  });
});

describe('history tags', () => {
  test.each([
    ['2026-11-21T07:35:09.999Z', '20261121T073509Z'],
    ['2026-01-01T00:00:00+02:00', '20251231T220000Z'],
  ])('v1/R4, v1/C3: %s is %s, in UTC and to the second', (time, tag) => {
    expect(schemaV1.historyTag(new Date(time))).toBe(tag);
    expect(schemaV1.parseHistoryTag(tag)?.getTime()).toBe(Math.floor(Date.parse(time) / 1000) * 1000);
    expect(isTag(tag)).toBe(true);
  });

  test.each([
    '20261121T0735Z',
    '20261121T073509',
    '20261121T073509+0200',
    '20260230T000000Z',
    '20261301T000000Z',
    '20261121T240000Z',
    '20261231T235960Z',
    '2026.11.21.07.35.09',
    'latest',
    '20261121T073509Z\n',
    '1.0-0',
  ])('v1/R4: %j is none', (tag) => {
    expect(schemaV1.parseHistoryTag(tag)).toBeUndefined();
  });
});

describe('manifests', () => {
  const blob = (text: string) => ({ digest: digestOf(Buffer.from(text)), size: text.length });
  const conda: PackageLayer = {
    filename: '_a-1!2_3+4-py_P0.conda',
    extension: 'conda',
    ...blob('conda'),
    md5: '1'.repeat(32),
  };
  const tarBz2: PackageLayer = {
    ...conda,
    filename: '_a-1!2_3+4-py_P0.tar.bz2',
    extension: 'tar.bz2',
    ...blob('tar.bz2'),
  };
  const content: PackageContent = { packages: [conda], info: blob('info'), index: blob('index') };

  test('v1/P1, v1/P3, v1/P4, v1/P5, v1/P8, v1/M1, v1/B23: are this very document', () => {
    expect(JSON.stringify(schemaV1.packageManifest(content))).toBe(
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",' +
        '"artifactType":"application/vnd.conda.package.v2",' +
        '"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[' +
        `{"mediaType":"application/vnd.conda.package.v2","digest":"${conda.digest}","size":5,"annotations":{"org.opencontainers.image.title":"_a-1!2_3+4-py_P0.conda","io.conda-ferry.md5":"${conda.md5}"}},` +
        `{"mediaType":"application/vnd.conda.info.v1.tar+gzip","digest":"${content.info.digest}","size":4,"annotations":{"org.opencontainers.image.title":"_a-1!2_3+4-py_P0/info.tar.gz"}},` +
        `{"mediaType":"application/vnd.conda.info.index.v1+json","digest":"${content.index.digest}","size":5,"annotations":{"org.opencontainers.image.title":"_a-1!2_3+4-py_P0/info/index.json"}}],` +
        '"annotations":{"org.conda.oci.schema":"1","org.conda.package.name":"_a","org.conda.package.version":"1!2_3+4","org.conda.package.build":"py_P0"}}',
    );
    expect(Buffer.from(schemaV1.configBytes).toString()).toBe('{}');
  });

  test('v1/G8, v1/A1, v1/A2, v1/A3, v1/A4: annotations are as conda writes them, also where the place is hashed', () => {
    const filename = `${g64}-1!2_3+4-py_P0.tar.bz2`;
    const { annotations } = schemaV1.packageManifest({ ...content, packages: [{ ...tarBz2, filename }] });
    expect(annotations).toEqual({
      [SCHEMA_ANNOTATION]: '1',
      [NAME_ANNOTATION]: g64,
      [VERSION_ANNOTATION]: '1!2_3+4',
      [BUILD_ANNOTATION]: 'py_P0',
    });
  });

  test("v1/A5: the user's annotations come last, and none of them is the draft's", () => {
    const plain = JSON.stringify(schemaV1.packageManifest(content));
    const make = (annotations: Readonly<Record<string, string>>) =>
      JSON.stringify(schemaV1.packageManifest({ ...content, annotations }));
    expect(make({})).toBe(plain);
    expect(make({ 'org.example.by': 'me' })).toBe(`${plain.slice(0, -2)},"org.example.by":"me"}}`);
    for (const key of ['org.conda.md5', 'org.conda.package.subdir', 'org.conda.']) {
      expect(() => make({ [key]: 'x' })).toThrow(
        expect.objectContaining({ code: 'MANIFEST_INVALID' }) as Error,
      );
    }
    // What an artifact had before is what it says of itself now.
    expect(make({ [NAME_ANNOTATION]: 'other', [SCHEMA_ANNOTATION]: '2' })).toBe(plain);
  });

  test('v1/P5, v1/P6, v1/B16: there are exactly three layers; twins make none', () => {
    for (const packages of [[conda], [tarBz2]]) {
      expect(schemaV1.packageManifest({ ...content, packages }).layers).toHaveLength(3);
    }
    expect(schemaV1.holdsTwins).toBe(false);
    expect(() => schemaV1.packageManifest({ ...content, packages: [conda, tarBz2] })).toThrow();
    expect(() => schemaV1.packageManifest({ ...content, packages: [] })).toThrow();
  });

  test('v1/P1, v1/M1: the artifact is of its archive’s type', () => {
    expect(schemaV1.packageManifest({ ...content, packages: [tarBz2] })).toMatchObject({
      artifactType: 'application/vnd.conda.package.v1',
      layers: [{ mediaType: 'application/vnd.conda.package.v1' }, {}, {}],
    });
  });
});

describe('paths', () => {
  const label = 'l'.repeat(128);
  const subdir = `${'a'.repeat(15)}-${'b'.repeat(16)}`;
  const ghcr = () => new RecordingRegistry({ maxNameLength: 255 - 'ghcr.io/'.length });

  test('v1/G4, v1/G9, v1/B28: 13 characters are left for the channel, and beyond nothing is stored', async () => {
    const place = schemaV1.placeOf({ ...foo, name: g64 });
    const fits = new ChannelStore(ghcr(), 'p'.repeat(13), schemaV1, label);
    expect(`ghcr.io/${fits.packageRepository(subdir, place).name}`).toHaveLength(255);
    const registry = ghcr();
    const store = new ChannelStore(registry, 'p'.repeat(14), schemaV1, label);
    expect(refusal(() => store.packageRepository(subdir, place))).toBe('v1/G9');
    expect(await registry.repositories()).toEqual([]);
  });

  test('v1/B31, v1/L6: the leaf is hashed, never the path before it', () => {
    const store = new ChannelStore(new RecordingRegistry(), 'p'.repeat(120), schemaV1, 'dev');
    const { name } = store.packageRepository('noarch', schemaV1.placeOf({ ...foo, name: g64 }));
    expect(name).toBe(`${'p'.repeat(120)}/label/dev/noarch/${HASH_OF_G64}`);
    expect(isRepositoryName(name)).toBe(true);
  });
});

describe('defects of conda-oci that are not ours', () => {
  test('conda-oci/E1: hashes are SHA-256', () => {
    expect(schemaV1.placeOf({ ...foo, name: 'g'.repeat(300) }).repository).toBe(
      'h6e56421d8e6eb2962454e1395d20be2be63167c71e88ad1e88afa5d8222c8a14',
    );
  });

  test('conda-oci/E2: the encoded name alone decides, not the path', () => {
    expect(isHashed(schemaV1.placeOf({ ...foo, name: g64 }).repository)).toBe(true);
    const store = new ChannelStore(new RecordingRegistry(), 'a'.repeat(120), schemaV1);
    const place = schemaV1.placeOf({ ...foo, name: 'numpy' });
    expect(store.packageRepository('linux-64', place).name).toBe(`${'a'.repeat(120)}/linux-64/cnumpy`);
  });

  test('conda-oci/E3: tags are read from left to right', () => {
    expect(schemaV1.packageAt({ repository: 'cfoo', tag: '1.0-py__P0' })).toEqual({ ...foo, build: 'py_P0' });
  });

  test('conda-oci/E4: what is no tag of a package is refused with a reason', () => {
    expect(refusal(() => schemaV1.packageAt({ repository: 'cfoo', tag: '1.0-rc1-0' }))).toBe('v1/T3');
    expect(refusal(() => schemaV1.packageAt({ repository: 'mrepodata.json', tag: 'latest' }))).toBe('v1/S1');
  });

  test('conda-oci/E5: a tag may begin with `h`', () => {
    expect(schemaV1.packageAt({ repository: 'cfoo', tag: 'h1.0-0' })).toEqual({ ...foo, version: 'h1.0' });
  });

  test('conda-oci/E6: only a `c` is dropped', () => {
    expect(refusal(() => schemaV1.packageAt({ repository: 'zlib', tag: '1.2.11-0' }))).toBe('v1/S4');
    expect(refusal(() => schemaV1.packageAt({ repository: 'mfoo', tag: '1.0-0' }))).toBe('v1/S1');
  });

  test('conda-oci/E10: a subdir is `noarch` or two parts', () => {
    expect(['linux', 'a-b-c', 'noarch-64', 'linux-64', 'noarch'].filter(isSubdir)).toEqual([
      'noarch-64',
      'linux-64',
      'noarch',
    ]);
  });

  test('conda-oci/E11: a host may have a port', () => {
    expect(parseReference('localhost:5000/conda-forge/linux-64/cfoo:1-0')).toMatchObject({
      registry: 'localhost:5000',
      repository: 'conda-forge/linux-64/cfoo',
      tag: '1-0',
    });
    expect(parseLocation('oci://localhost:5000/conda-forge')).toMatchObject({ host: 'localhost:5000' });
  });

  test('conda-oci/E12: a line feed at the end is no part of anything', async () => {
    expect(isTag('1-0\n')).toBe(false);
    expect(isRepositoryName('cfoo\n')).toBe(false);
    expect(isSubdir('linux-64\n')).toBe(false);
    expect(isHashed(`${HASH_OF_FOO}\n`)).toBe(false);
    const parse = async () => parseReference('ghcr.io/conda-forge/linux-64/cfoo:1-0\n');
    expect(await rejection(parse())).toMatchObject({ code: 'REFERENCE_INVALID' });
    expect(refusal(() => schemaV1.packageAt({ repository: 'cfoo', tag: '1-0\n' }))).toBe('v1/G3');
  });

  test.each(['foo-1-0.zip', `${'g'.repeat(300)}-1-0.conda`, 'foo-1-0', 'foo-1-0.tar.gz'])(
    'conda-oci/E13: %s is no archive name',
    (filename) => {
      expect(() => parseArchiveFilename(filename)).toThrow(
        expect.objectContaining({ code: 'RECORD_INVALID' }) as Error,
      );
    },
  );

  test('conda-oci/E13: what is written is a repository name', () => {
    expect(refusal(() => schemaV1.placeOf({ ...foo, name: 'foo_' }))).toBe('v1/G2');
  });
});
