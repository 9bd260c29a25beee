import { describe, expect, test } from 'vitest';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { allClauses } from '#ferry/conformance/clauses.js';
import { digestOf } from '#ferry/io/digest.js';
import { breachesOf, readSpecFolder, valuesOf } from './spec.js';

const TYPE = 'application/vnd.conda.';
const TITLE = 'org.opencontainers.image.title';
const digest = digestOf(Buffer.from('x'));

function blob(mediaType: string, title?: string) {
  const annotations = title === undefined ? {} : { annotations: { [TITLE]: title } };
  return { mediaType: TYPE + mediaType, digest, size: 1, ...annotations };
}

const OUR_SCHEMAS = [
  'package-manifest-v0',
  'package-manifest-v1',
  'metadata-manifest-v0',
  'metadata-manifest-v1',
  'ledger',
  'publish-attestation',
];

describe('schemas', () => {
  const files = readSpecFolder('schemas');
  const known = new Set<string>(allClauses().map(({ id }) => id));

  test.each(OUR_SCHEMAS)('%s says what it is', (kind) => {
    const { content } = files.find(({ name }) => name === `${kind}.schema.json`)!;
    expect(content).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: `urn:conda-ferry:schema:${kind}`,
      title: expect.any(String) as string,
      description: expect.any(String) as string,
    });
    expect([...valuesOf(content, 'x-clause')].filter((id) => !known.has(id as string))).toEqual([]);
  });
});

describe('the manifest of a package in schema v0', () => {
  const check = breachesOf('package-manifest-v0');
  const archive = (extension: 'conda' | 'tar.bz2') => {
    return { filename: `a-1-0.${extension}`, extension, digest, size: 1, md5: '0'.repeat(32) };
  };
  const make = (...extensions: ('conda' | 'tar.bz2')[]) => {
    const part = { digest, size: 1 };
    return schemaV0.packageManifest({ packages: extensions.map(archive), info: part, index: part });
  };
  const manifest = make('conda');

  test.each([
    ['of a .conda', manifest],
    ['of a .tar.bz2', make('tar.bz2')],
    ['of both', make('conda', 'tar.bz2')],
    ['with annotations', { ...manifest, annotations: { a: 'b' } }],
  ])('is accepted as we write it, %s', (_, document) => {
    expect(check(document)).toEqual([]);
  });

  test('v0/D5: is accepted without info and index', () => {
    expect(check({ ...manifest, layers: manifest.layers.slice(0, 1) })).toEqual([]);
  });

  test('v0/X4: is accepted with an empty config', () => {
    const config = { ...manifest.config, size: 0, digest: digestOf(new Uint8Array(0)) };
    expect(check({ ...manifest, config })).toEqual([]);
  });

  test('v0/D4: is refused without an archive', () => {
    expect(check({ ...manifest, layers: manifest.layers.slice(1) })).toEqual(['v0/D4 /layers']);
  });

  test('v0/D6: is refused with two layers of one type', () => {
    expect(check({ ...manifest, layers: [...manifest.layers, manifest.layers[2]] })).toEqual([
      'v0/D6 /layers',
    ]);
  });

  test.each(['mediaType', 'digest', 'size'])('v0/D9: is refused with a layer without %s', (key) => {
    const layers = manifest.layers.map((layer, index) =>
      index === 1 ? { ...layer, [key]: undefined } : layer,
    );
    const document: unknown = JSON.parse(JSON.stringify({ ...manifest, layers }));
    expect(check(document)).toEqual(['v0/D9 /layers/1']);
  });

  test('v0/X11: is refused with a layer of another type', () => {
    const other = { ...blob(''), mediaType: 'application/vnd.oci.image.layer.v1.tar' };
    expect(check({ ...manifest, layers: [other, ...manifest.layers] })).toEqual([
      'v0/X11 /layers/0/mediaType',
    ]);
  });
});

describe('the manifest of a package in schema v1', () => {
  const check = breachesOf('package-manifest-v1');
  const layers = [blob('package.v2'), blob('info.v1.tar+gzip'), blob('info.index.v1+json')];
  const annotations = {
    'org.conda.oci.schema': '1',
    'org.conda.package.name': 'a',
    'org.conda.package.version': '1!2+x',
    'org.conda.package.build': 'py_0',
  };
  const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest, size: 2 };
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    artifactType: layers[0]?.mediaType,
    config,
    layers,
    annotations,
  };
  const without = (key: string) =>
    Object.fromEntries(Object.entries(annotations).filter(([name]) => name !== key));

  test.each([
    ['of a .conda', manifest],
    ['of a .tar.bz2', { ...manifest, layers: [blob('package.v1'), ...layers.slice(1)] }],
    ['with its layers in another order', { ...manifest, layers: layers.toReversed() }],
    ['with annotations of others', { ...manifest, annotations: { ...annotations, 'org.condax': '', a: '' } }],
    ['with the least it may say', { schemaVersion: 2, config, layers, annotations }],
  ])('v1/P8: is accepted, %s', (_, document) => {
    expect(check(document)).toEqual([]);
  });

  test.each([
    ['no manifest of OCI 1', { ...manifest, schemaVersion: 1 }, '/schemaVersion'],
    ['an image index', { ...manifest, mediaType: 'application/vnd.oci.image.index.v1+json' }, '/mediaType'],
    [
      'an annotation that is no text',
      { ...manifest, annotations: { ...annotations, a: 1 } },
      '/annotations/a',
    ],
  ])('v1/G1: %s is refused', (_, document, place) => {
    expect(check(document)).toEqual([`v1/G1 ${place}`]);
  });

  test.each([
    ['v1/P1', 'no archive', layers.slice(1), ['v1/P1', 'v1/P5']],
    ['v1/P1', 'two archives', [blob('package.v1'), layers[0], layers[1]], ['v1/P1', 'v1/P4']],
    [
      'v1/P1',
      'its archive under another type',
      [{ ...layers[0], mediaType: 'application/zip' }, ...layers.slice(1)],
      ['v1/P1', 'v1/P5'],
    ],
    ['v1/P3', 'no info folder', [layers[0], layers[2]], ['v1/P3', 'v1/P5']],
    ['v1/P4', 'no index.json', layers.slice(0, 2), ['v1/P4', 'v1/P5']],
    ['v1/P5', 'a fourth layer', [...layers, { ...blob(''), mediaType: 'text/plain' }], ['v1/P5']],
    ['v1/P5', 'index.json twice', [...layers, layers[2]], ['v1/P4', 'v1/P5']],
    [
      'v1/G1',
      'a layer without a digest',
      [{ ...layers[0], digest: undefined }, ...layers.slice(1)],
      ['v1/G1'],
    ],
  ])('%s: with %s it is refused', (_, _what, changed, clauses) => {
    const document: unknown = JSON.parse(JSON.stringify({ ...manifest, layers: changed }));
    expect([...new Set(check(document).map((breach) => breach.split(' ')[0]))].sort()).toEqual(clauses);
  });

  test.each([
    ['v1/A1', 'org.conda.oci.schema'],
    ['v1/A2', 'org.conda.package.name'],
    ['v1/A3', 'org.conda.package.version'],
    ['v1/A4', 'org.conda.package.build'],
  ])('%s: without the annotation %s, or with a number there, it is refused', (clause, key) => {
    expect(check({ ...manifest, annotations: without(key) })).toEqual([`${clause} /annotations`]);
    expect(check({ ...manifest, annotations: { ...annotations, [key]: 1 } })).toEqual([
      `${clause} /annotations/${key}`,
    ]);
  });

  test('v1/A1: of another schema it is refused', () => {
    const other = { ...annotations, 'org.conda.oci.schema': '2' };
    expect(check({ ...manifest, annotations: other })).toEqual(['v1/A1 /annotations/org.conda.oci.schema']);
  });

  test.each(['org.conda.md5', 'org.conda.package.subdir', 'org.conda.package.name.x', 'org.conda.'])(
    'v1/A5: with the annotation %s it is refused',
    (key) => {
      expect(check({ ...manifest, annotations: { ...annotations, [key]: '' } })).toEqual([
        'v1/A5 /annotations',
      ]);
    },
  );

  test('v1/B23: with an annotation of ours or of v0 on a layer it is accepted', () => {
    for (const key of ['io.conda-ferry.md5', 'org.conda.md5']) {
      const archive = { ...layers[0], annotations: { [key]: '0'.repeat(32) } };
      expect(check({ ...manifest, layers: [archive, ...layers.slice(1)] })).toEqual([]);
    }
  });
});

describe('the manifest of metadata in schema v0', () => {
  const check = breachesOf('metadata-manifest-v0');
  const plain = blob('repodata.v1+json', 'repodata.json');
  const make = (...layers: ReturnType<typeof blob>[]) => schemaV0.metadataManifest(layers);

  test.each([
    ['repodata', make(plain)],
    ['repodata with a compressed copy', make(plain, blob('repodata.v1+json+zst', 'repodata.json.zst'))],
    ['a compressed copy without a title', make(plain, blob('repodata.v1+json+bz2'))],
    ['run exports', make(blob('run_exports.v1+json', 'run_exports.json'))],
    ['a ledger', make({ ...plain, mediaType: 'application/vnd.conda-ferry.ledger.v1+json' })],
  ])('v0/D8: is accepted, %s', (_, document) => {
    expect(check(document)).toEqual([]);
  });

  test.each([
    ['v0/D8', 'no JSON', make(blob('repodata.v1+json+zst', 'repodata.json.zst'))],
    ['v0/D8', 'a compressed copy of another file', make(plain, blob('run_exports.v1+json+zst'))],
    ['v0/D6', 'the JSON twice', make(plain, plain)],
    ['v0/D9', 'a layer without a size', make({ ...plain, size: undefined } as unknown as typeof plain)],
  ])('%s: with %s it is refused', (clause, _, document) => {
    expect(check(JSON.parse(JSON.stringify(document)))).toEqual([expect.stringMatching(`^${clause} `)]);
  });

  test('v0/X7: with compressed bytes under the title of the JSON it is refused', () => {
    const compressed = blob('repodata.v1+json+zst', 'repodata.json');
    expect(check(make(plain, compressed))).toEqual([`v0/X7 /layers/1/annotations/${TITLE}`]);
  });
});

describe('the manifest of metadata in schema v1', () => {
  const check = breachesOf('metadata-manifest-v1');
  const schema = { 'org.conda.oci.schema': '1' };
  const make = (layers: readonly object[], annotations: object = schema) => {
    const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest, size: 2 };
    return { schemaVersion: 2, config, layers, annotations };
  };
  const plain = blob('repodata.v1+json');

  test.each([
    ['repodata', make([plain])],
    ['repodata of version 2', make([blob('repodata.v2+json'), blob('repodata.v2+json+gzip')])],
    ['patches', make([blob('patch_instructions.v1+json'), blob('patch_instructions.v1+json+zst')])],
    ['annotations of others', make([plain], { ...schema, 'io.conda-ferry.x': '' })],
  ])('v1/R6: is accepted, %s', (_, document) => {
    expect(check(document)).toEqual([]);
  });

  test.each([
    ['v1/R5', 'no JSON', make([blob('repodata.v1+json+zst')])],
    ['v1/R6', 'a compressed copy of another file', make([plain, blob('run_exports.v1+json+zst')])],
    ['v1/M1', 'a type that is none', make([plain, { ...plain, mediaType: `${TYPE}repodata.v3+json` }])],
    ['v1/R7', 'no schema', make([plain], {})],
    ['v1/R7', 'the schema as a number', make([plain], { 'org.conda.oci.schema': 1 })],
    ['v1/R8', 'another annotation of conda', make([plain], { ...schema, 'org.conda.package.name': 'a' })],
  ])('%s: with %s it is refused', (clause, _, document) => {
    expect(check(document)).toContainEqual(expect.stringMatching(`^${clause} `));
  });
});
