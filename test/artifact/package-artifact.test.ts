import { describe, expect, test } from 'vitest';
import {
  checkPackedInfo,
  isCanonical,
  layersOf,
  makePackageArtifact,
  type PackedArchive,
} from '#ferry/artifact/package-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import type { PackedInfo } from '#ferry/artifact/worker.js';
import { parseArchiveFilename } from '#ferry/conda/names.js';
import { openerOf } from '#ferry/io/bytes.js';
import { digestOf } from '#ferry/io/digest.js';
import { encodeJson, parseImageManifest, type ImageManifest } from '#ferry/oci/manifest.js';
import { readAll } from '../contracts/artifacts.js';

const STEM = 'a-1-0';

function archiveOf(filename: string, text = filename): PackedArchive {
  const bytes = Buffer.from(text);
  const name = parseArchiveFilename(filename);
  const layer = {
    filename,
    extension: name.extension,
    digest: digestOf(bytes),
    size: bytes.length,
    md5: '0'.repeat(32),
  };
  return { name, layer, info: infoOf({}, `info of ${text}`), open: openerOf(bytes) };
}

function infoOf(index: object, infoLayer = 'info', innerStem?: string): PackedInfo {
  const indexJson = Buffer.from(JSON.stringify({ name: 'a', version: '1', build: '0', ...index }));
  return { indexJson, infoLayer: Buffer.from(infoLayer), innerStem };
}

const conda = archiveOf(`${STEM}.conda`);
const tarBz2 = archiveOf(`${STEM}.tar.bz2`);
const both = makePackageArtifact(schemaV0, [conda, tarBz2]);

/** A manifest with some of its layers changed. */
function withLayers(
  manifest: ImageManifest,
  change: (layers: ImageManifest['layers']) => ImageManifest['layers'],
): ImageManifest {
  return { ...manifest, layers: change(manifest.layers) };
}

function codeOf(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

describe('an artifact of archives', () => {
  test('is the same in whatever order they come, and merging one with the other gives it too', () => {
    const merged = (own: PackedArchive, other: PackedArchive) =>
      makePackageArtifact(schemaV0, [own], { existing: makePackageArtifact(schemaV0, [other]).manifest });
    const digests = [
      makePackageArtifact(schemaV0, [tarBz2, conda]),
      merged(conda, tarBz2),
      merged(tarBz2, conda),
      merged(conda, conda),
    ];
    expect(digests.slice(0, 3).map(({ descriptor }) => descriptor)).toEqual([
      both.descriptor,
      both.descriptor,
      both.descriptor,
    ]);
    expect(digests[3]?.descriptor).toEqual(makePackageArtifact(schemaV0, [conda]).descriptor);
    expect(makePackageArtifact(schemaV0, [tarBz2], { existing: both.manifest }).descriptor).toEqual(
      both.descriptor,
    );
  });

  test('hands out its manifest and each blob at hand, from any offset, and nothing else', async () => {
    for (const wanted of [both.manifest.config, ...both.manifest.layers, both.descriptor]) {
      const whole = await readAll(both.fetch(wanted));
      expect(digestOf(whole)).toBe(wanted.digest);
      expect(await readAll(both.fetch(wanted, { offset: 1 }))).toEqual(whole.subarray(1));
    }
    const merged = makePackageArtifact(schemaV0, [conda], {
      existing: makePackageArtifact(schemaV0, [tarBz2]).manifest,
    });
    expect(codeOf(() => merged.fetch({ ...tarBz2.layer, mediaType: 'x' }))).toBe('NOT_FOUND');
  });

  test("takes the kept archive's name from its place, not from a title that another tool gave it", () => {
    const foreign = withLayers(makePackageArtifact(schemaV0, [tarBz2]).manifest, (layers) =>
      layers.map((layer) => ({
        ...layer,
        annotations: { ...layer.annotations, 'org.opencontainers.image.title': '../evil', creationTime: 'x' },
      })),
    );
    expect(makePackageArtifact(schemaV0, [conda], { existing: foreign }).descriptor).toEqual(both.descriptor);
  });

  test('needs nothing of the info that it replaces', () => {
    const bare = withLayers(makePackageArtifact(schemaV0, [tarBz2]).manifest, (layers) => layers.slice(0, 1));
    expect(makePackageArtifact(schemaV0, [conda], { existing: bare }).descriptor).toEqual(both.descriptor);
    const bareConda = withLayers(makePackageArtifact(schemaV0, [conda]).manifest, (layers) =>
      layers.slice(0, 2),
    );
    expect(codeOf(() => makePackageArtifact(schemaV0, [tarBz2], { existing: bareConda }))).toBe(
      'MANIFEST_INVALID',
    );
  });

  test('cannot keep an archive whose md5 nobody noted', () => {
    const foreign = withLayers(makePackageArtifact(schemaV0, [tarBz2]).manifest, (layers) =>
      layers.map(({ annotations: _, ...layer }) => layer),
    );
    expect(codeOf(() => makePackageArtifact(schemaV0, [conda], { existing: foreign }))).toBe(
      'MANIFEST_INVALID',
    );
  });

  test('has the annotations asked for, else those of an artifact of ours, and never those of another tool', () => {
    const mine = { 'org.example.by': 'me' };
    const annotated = makePackageArtifact(schemaV0, [conda], { annotations: mine });
    expect(annotated.manifest.annotations).toEqual(mine);
    expect(
      makePackageArtifact(schemaV0, [tarBz2], { existing: annotated.manifest }).manifest.annotations,
    ).toEqual(mine);
    const reread = parseImageManifest(encodeJson(annotated.manifest));
    expect(makePackageArtifact(schemaV0, [tarBz2], { existing: reread }).manifest.annotations).toEqual(mine);
    const foreign = { ...annotated.manifest, artifactType: 'x' };
    expect(
      makePackageArtifact(schemaV0, [tarBz2], { existing: foreign }).manifest.annotations,
    ).toBeUndefined();
    const empty = { ...makePackageArtifact(schemaV0, [conda]).manifest, annotations: {} };
    expect(makePackageArtifact(schemaV0, [tarBz2], { existing: empty }).descriptor).toEqual(both.descriptor);
  });
});

describe('an artifact is canonical', () => {
  const bytes = encodeJson(both.manifest);
  const text = Buffer.from(bytes).toString();

  test('if it is one of ours, with annotations of a user or without', () => {
    expect(isCanonical(schemaV0, bytes)).toBe(true);
    const annotated = makePackageArtifact(schemaV0, [conda], { annotations: { a: 'b' } }).manifest;
    expect(isCanonical(schemaV0, encodeJson(annotated))).toBe(true);
  });

  test.each([
    ['white space', `${text}\n`],
    ['an empty set of annotations', `${text.slice(0, -1)},"annotations":{}}`],
    ['an unknown field', `${text.slice(0, -1)},"x":1}`],
    ['another config', text.replace('"size":2', '"size":3')],
    ['a further annotation', text.replace('"annotations":{', '"annotations":{"creationTime":"x",')],
    ['no md5', text.replaceAll('org.conda.md5', 'md5')],
    ['no info layer', text.replace('info.v1.tar+gzip', 'info.v9.tar+gzip')],
    [
      'the archives in another order',
      JSON.stringify(withLayers(both.manifest, ([a, b, ...rest]) => [b!, a!, ...rest])),
    ],
    ['no JSON', 'nope'],
    ['nothing', ''],
  ])('but not with %s', (_, other) => {
    expect(other).not.toBe(text);
    expect(isCanonical(schemaV0, Buffer.from(other))).toBe(false);
  });
});

test('v0/X11: layers of unknown types are passed over', () => {
  const strange = {
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest: digestOf(Buffer.from('x')),
    size: 1,
  };
  const layers = layersOf(withLayers(both.manifest, (known) => [strange, ...known, strange]));
  expect(layers).toEqual(layersOf(both.manifest));
  expect(layers.packages.map(({ extension }) => extension)).toEqual(['conda', 'tar.bz2']);
  expect(layersOf({ ...both.manifest, layers: [] })).toEqual({
    packages: [],
    info: undefined,
    index: undefined,
  });
});

describe('what an archive says of itself', () => {
  test('is taken where it is what the archive is listed as', () => {
    expect(checkPackedInfo(infoOf({ subdir: 'noarch' }, '', STEM), `${STEM}.conda`, 'noarch')).toEqual(
      conda.name,
    );
    expect(checkPackedInfo(infoOf({ subdir: 'noarch' }), `${STEM}.tar.bz2`, undefined)).toEqual(tarBz2.name);
    expect(checkPackedInfo(infoOf({}), `${STEM}.tar.bz2`, 'linux-64')).toEqual(tarBz2.name);
  });

  test.each([
    ['another name', infoOf({ name: 'b' }), 'ARCHIVE_INDEX_MISMATCH'],
    ['another version', infoOf({ version: '2' }), 'ARCHIVE_INDEX_MISMATCH'],
    ['another build string', infoOf({ build: '1' }), 'ARCHIVE_INDEX_MISMATCH'],
    ['another subdir', infoOf({ subdir: 'linux-64' }), 'ARCHIVE_SUBDIR_MISMATCH'],
    ['tarballs of another name', infoOf({}, '', 'a-1-1'), 'ARCHIVE_ENTRY_UNEXPECTED'],
    ['nothing', { ...infoOf({}), indexJson: Buffer.from('[]') }, 'ARCHIVE_INDEX_INVALID'],
  ])('is refused where it has %s', (_, info, code) => {
    expect(codeOf(() => checkPackedInfo(info, `${STEM}.conda`, 'noarch'))).toBe(code);
  });
});
