import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import type { PackagePlace } from '#ferry/artifact/schema.js';
import { isFerryError } from '#ferry/errors.js';
import { digestOf } from '#ferry/io/digest.js';
import { isRepositoryName, isTag } from '#ferry/oci/reference.js';

interface Package {
  readonly name: string;
  readonly version: string;
  readonly build: string;
}

/** The place of a package, or `undefined` where it is refused in the one way that is right. */
function placeOf(archive: Package): PackagePlace | undefined {
  try {
    return schemaV0.placeOf(archive);
  } catch (error) {
    if (isFerryError(error, 'NAME_UNREPRESENTABLE')) return undefined;
    throw error;
  }
}

const zlib = { name: 'zlib', version: '1.2.11', build: 'h7b6447c_3' };

describe('places', () => {
  test.each([
    ['v0/D1', zlib, 'zlib', '1.2.11-h7b6447c_3'],
    ['v0/D2', { ...zlib, name: '_libgcc_mutex' }, 'zzz_libgcc_mutex', '1.2.11-h7b6447c_3'],
    ['v0/D2', { ...zlib, name: '__glibc' }, 'zzz__glibc', '1.2.11-h7b6447c_3'],
    ['v0/D3', { ...zlib, version: '1!2.0', build: '0' }, 'zlib', '1__e__2.0-0'],
    ['v0/D3', { ...zlib, version: '1.0+abc', build: 'h1+cuda_0' }, 'zlib', '1.0__p__abc-h1__p__cuda_0'],
    ['v0/D3', { ...zlib, version: '1=2', build: '0' }, 'zlib', '1__eq__2-0'],
    ['v0/D3', { ...zlib, version: '1.0_1', build: '_0_' }, 'zlib', '1.0_1-_0_'],
    ['v0/X1', { ...zlib, name: 'ferry.dotted_name' }, 'ferry.dotted_name', '1.2.11-h7b6447c_3'],
  ])('%s: %j stands at %s:%s', (_, archive, repository, tag) => {
    expect(schemaV0.placeOf(archive)).toEqual({ repository, tag });
    expect(schemaV0.packageAt({ repository, tag })).toEqual(archive);
  });

  test('v0/D3: of all builds over `_+!peq=a` up to five characters no two share a place, and none reads back changed', () => {
    const taken = new Map<string, string>();
    let accepted = 0;
    const visit = (build: string): void => {
      const place = placeOf({ ...zlib, build });
      if (place !== undefined) {
        accepted += 1;
        if (taken.has(place.tag))
          throw new Error(`${build} and ${String(taken.get(place.tag))} share ${place.tag}`);
        taken.set(place.tag, build);
        if (!isTag(place.tag)) throw new Error(`${place.tag} is no tag`);
        if (schemaV0.packageAt(place).build !== build) throw new Error(`${build} reads back changed`);
      }
      if (build.length < 5) for (const character of Array.from('_+!peq=a')) visit(build + character);
    };
    visit('');
    // 37,449 strings; all but the empty one and those with a literal escape have a place.
    expect(accepted).toBeGreaterThan(37_000);
    for (const literal of ['__p__', '__e__']) expect(placeOf({ ...zlib, build: literal })).toBeUndefined();
  });

  test.each(['a__p__b', '__p__', 'x__eq__', '__e__0', '+p__', '__p+', '__p__p__', '_+__p__'])(
    'v0/D3: build %s, the place of another package or not, is never given another place than it reads back from',
    (build) => {
      const place = placeOf({ ...zlib, build });
      if (place !== undefined) expect(schemaV0.packageAt(place).build).toBe(build);
      else expect(build).toMatch(/__p__|__e__|__eq__|\+p__|__p\+/);
    },
  );

  test('cep26: whatever has a place reads back the same, no two share one, and each is legal in OCI', () => {
    const text = (alphabet: string, maxLength: number) =>
      fc
        .array(fc.constantFrom(...Array.from(alphabet)), { minLength: 1, maxLength })
        .map((characters) => characters.join(''));
    const archive = fc.record({
      name: fc.oneof(text('az_.-', 6), text('az09_.-', 64)).map((name) => name.toLowerCase()),
      version: fc.oneof(text('1_.+!pe', 8), text('0123456789abcdefghijklmnopqrstuvwxyz_.+!', 64)),
      build: fc.oneof(text('h_+pe', 8), text('0123456789abcdefABCDEFp_.+', 64)),
    });
    fc.assert(
      fc.property(archive, archive, (a, b) => {
        const [placeA, placeB] = [placeOf(a), placeOf(b)];
        if (placeA !== undefined) {
          expect(schemaV0.packageAt(placeA)).toEqual(a);
          expect(isTag(placeA.tag)).toBe(true);
          expect(isRepositoryName(placeA.repository)).toBe(true);
          expect(placeA.repository).not.toContain('/');
        }
        const isSamePlace = placeA?.repository === placeB?.repository && placeA?.tag === placeB?.tag;
        if (placeA !== undefined && isSamePlace) expect(a).toEqual(b);
      }),
      { numRuns: 2000 },
    );
  });

  test.each(['zzz_foo', 'zzz__foo', 'zzz_libgcc_mutex'])(
    'v0/D2: %s is refused: a name with an underscore stands there',
    (name) => {
      expect(() => schemaV0.placeOf({ ...zlib, name })).toThrow(
        expect.objectContaining({ code: 'NAME_UNREPRESENTABLE' }) as Error,
      );
    },
  );

  test.each(['zzz', 'zzzfoo', 'zzz.foo', 'zzz-foo'])('v0/D2: %s is a name as any other', (name) => {
    expect(schemaV0.placeOf({ ...zlib, name }).repository).toBe(name);
  });

  test.each([
    'repodata.json',
    'current_repodata.json',
    'repodata_from_packages.json',
    'repodata_ledger.json',
    'run_exports.json',
    'patch_instructions.json',
    'channeldata.json',
    'notices.json',
    'attestations.sigs',
  ])('a package named %s is refused: metadata stands there', (name) => {
    expect(placeOf({ ...zlib, name })).toBeUndefined();
  });

  test('every metadata repository is reserved', () => {
    for (const file of ['repodata.json', 'ledger'] as const) {
      expect(placeOf({ ...zlib, name: schemaV0.metadataRepository(file) })).toBeUndefined();
    }
  });

  test.each([
    '',
    '_',
    'foo_',
    'foo.',
    'foo-',
    '.foo',
    '-foo',
    'a..b',
    'a._b',
    'a___b',
    'Foo',
    'a/b',
    'a b',
    'é',
    '../a',
    'a\n',
  ])('cep26: name %j, which OCI does not allow, is refused', (name) => {
    expect(placeOf({ ...zlib, name })).toBeUndefined();
  });

  test.each([
    ['version', { ...zlib, version: '' }],
    ['version', { ...zlib, version: '1.0-rc1' }],
    ['version', { ...zlib, version: '2.0.0~alpha0' }],
    ['version', { ...zlib, version: '.1' }],
    ['version', { ...zlib, version: '1\n' }],
    ['build', { ...zlib, build: '' }],
    ['build', { ...zlib, build: 'h0-1' }],
    ['build', { ...zlib, build: 'h*' }],
    ['build', { ...zlib, build: 'é' }],
  ])('%s of %j is refused', (_, archive) => {
    expect(placeOf(archive)).toBeUndefined();
  });

  test('a tag has at most 128 characters, counted after encoding', () => {
    const fits = { ...zlib, version: '1'.repeat(63), build: 'b'.repeat(64) };
    expect(schemaV0.placeOf(fits).tag).toHaveLength(128);
    expect(placeOf({ ...fits, version: '1'.repeat(64) })).toBeUndefined();
    expect(placeOf({ ...fits, version: `${'1'.repeat(62)}+` })).toBeUndefined();
    expect(() => schemaV0.placeOf({ ...fits, version: '1'.repeat(64) })).toThrow(/128 characters/);
  });

  test.each(['latest', '2026.11.21.07.35.00', '1.0', '1.0-', '-0', '1.0-rc1-0', '1.0-0\n', '1+0-0'])(
    'v0/D1: the tag %j is no package',
    (tag) => {
      expect(() => schemaV0.packageAt({ repository: 'zlib', tag })).toThrow(
        expect.objectContaining({ code: 'NAME_UNREPRESENTABLE' }) as Error,
      );
    },
  );
});

test.each(['repodata.json', 'Foo', 'foo_', 'a/b', ''])(
  'v0/D1, v0/D7: in %j stands no package',
  (repository) => {
    expect(() => schemaV0.packageAt({ repository, tag: '1.0-0' })).toThrow(
      expect.objectContaining({ code: 'NAME_UNREPRESENTABLE' }) as Error,
    );
  },
);

test.each([
  ['zlib', { kind: 'package', name: 'zlib' }],
  ['zzz_libgcc_mutex', { kind: 'package', name: '_libgcc_mutex' }],
  ['repodata.json', { kind: 'metadata', file: 'repodata.json' }],
  ['repodata_ledger.json', { kind: 'metadata', file: 'ledger' }],
  ['repodata_shards.msgpack.zst', { kind: 'metadata', file: undefined }],
  ['Foo', { kind: 'other' }],
  ['a/b', { kind: 'other' }],
])('v0/D1, v0/D2, v0/D7: the repository %s is known for what it is', (repository, leaf) => {
  expect(schemaV0.readLeaf(repository)).toEqual(leaf);
});

test.each(['2026.11.21.07.35', '2026.02.30.00.00.00', '2026.13.01.00.00.00', '20261121T073500Z', 'latest'])(
  'v0/D7, v0/X6: %s is no history tag',
  (tag) => {
    expect(schemaV0.parseHistoryTag(tag)).toBeUndefined();
  },
);

test('v0/D7: a history tag is in UTC, to the second', () => {
  expect(schemaV0.historyTag(new Date('2026-11-21T07:35:09.999Z'))).toBe('2026.11.21.07.35.09');
  expect(schemaV0.historyTag(new Date('2026-01-01T00:00:00+02:00'))).toBe('2025.12.31.22.00.00');
  expect(isTag(schemaV0.historyTag(new Date()))).toBe(true);
  expect(schemaV0.parseHistoryTag('2026.11.21.07.35.09')).toEqual(new Date('2026-11-21T07:35:09Z'));
});

test('v0/X4: the config is `{}`', () => {
  expect(Buffer.from(schemaV0.configBytes).toString()).toBe('{}');
  expect(schemaV0.config).toEqual({
    mediaType: 'application/vnd.unknown.config.v1+json',
    digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
    size: 2,
  });
});

describe('manifests', () => {
  const blob = (text: string) => ({ digest: digestOf(Buffer.from(text)), size: text.length });
  const conda = {
    filename: 'a-1-0.conda',
    extension: 'conda',
    ...blob('conda'),
    md5: '1'.repeat(32),
  } as const;
  const tarBz2 = {
    filename: 'a-1-0.tar.bz2',
    extension: 'tar.bz2',
    ...blob('tar.bz2'),
    md5: '2'.repeat(32),
  } as const;
  const content = { info: blob('info'), index: blob('index') };

  test('v0/X2, v0/X5: of twins is this very document, whatever their order', () => {
    const text = JSON.stringify(schemaV0.packageManifest({ ...content, packages: [tarBz2, conda] }));
    expect(text).toBe(JSON.stringify(schemaV0.packageManifest({ ...content, packages: [conda, tarBz2] })));
    expect(text).toBe(
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",' +
        `"config":{"mediaType":"application/vnd.unknown.config.v1+json","digest":"${schemaV0.config.digest}","size":2},"layers":[` +
        `{"mediaType":"application/vnd.conda.package.v2","digest":"${conda.digest}","size":5,"annotations":{"org.opencontainers.image.title":"a-1-0.conda","org.conda.md5":"${conda.md5}"}},` +
        `{"mediaType":"application/vnd.conda.package.v1","digest":"${tarBz2.digest}","size":7,"annotations":{"org.opencontainers.image.title":"a-1-0.tar.bz2","org.conda.md5":"${tarBz2.md5}"}},` +
        `{"mediaType":"application/vnd.conda.info.v1.tar+gzip","digest":"${content.info.digest}","size":4,"annotations":{"org.opencontainers.image.title":"a-1-0/info.tar.gz"}},` +
        `{"mediaType":"application/vnd.conda.info.index.v1+json","digest":"${content.index.digest}","size":5,"annotations":{"org.opencontainers.image.title":"a-1-0/info/index.json"}}]}`,
    );
  });

  test("the user's annotations come last; none and an empty set are the same", () => {
    const packages = [conda];
    const plain = schemaV0.packageManifest({ ...content, packages });
    expect(schemaV0.packageManifest({ ...content, packages, annotations: {} })).toEqual(plain);
    const annotated = schemaV0.packageManifest({
      ...content,
      packages,
      annotations: { 'org.example.by': 'me' },
    });
    expect(JSON.stringify(annotated)).toBe(
      `${JSON.stringify(plain).slice(0, -1)},"annotations":{"org.example.by":"me"}}`,
    );
  });
});
