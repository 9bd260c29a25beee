import { describe, expect, test } from 'vitest';
import { identifyArtifact } from '#ferry/artifact/identify-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { digestOf } from '#ferry/io/digest.js';
import type { ImageManifest } from '#ferry/oci/manifest.js';

const part = { digest: digestOf(Buffer.from('x')), size: 1 };
const identity = { name: 'a_b', version: '1.0+c', build: 'py_0' };
const filename = 'a_b-1.0+c-py_0.conda';
const content = {
  packages: [{ ...part, filename, extension: 'conda', md5: '' } as const],
  info: part,
  index: part,
};

describe.each([schemaV0, schemaV1])('an artifact of schema $id', (schema) => {
  const manifest = schema.packageManifest(content);
  const { repository, tag } = schema.placeOf(identity);

  test('is told with its package, by tag and by digest alone', () => {
    const told = { schema: schema.id, package: identity, file: undefined };
    expect(identifyArtifact(manifest, repository, tag)).toEqual(told);
    expect(identifyArtifact(manifest, repository, undefined)).toEqual(told);
  });

  test('under a tag of other form is what it says of itself', () => {
    expect(identifyArtifact(manifest, repository, 'latest')).toMatchObject({ package: identity });
  });

  test('that is a metadata file is told with it', () => {
    const layer = { mediaType: 'application/vnd.conda.repodata.v1+json', ...part };
    const metadata = schema.metadataManifest([layer]);
    const leaf = schema.metadataRepository('repodata.json');
    expect(identifyArtifact(metadata, leaf, 'latest')).toEqual({
      schema: schema.id,
      package: undefined,
      file: 'repodata.json',
    });
    expect(identifyArtifact(metadata, 'elsewhere', 'latest').file).toBeUndefined();
  });
});

test('v1/N4: of a hashed name the annotations know the package', () => {
  const name = 'g'.repeat(64);
  const manifest = schemaV1.packageManifest({
    ...content,
    packages: [{ ...part, filename: `${name}-1.0-0.conda`, extension: 'conda', md5: '' }],
  });
  const { repository, tag } = schemaV1.placeOf({ name, version: '1.0', build: '0' });
  expect(identifyArtifact(manifest, repository, tag).package?.name).toBe(name);
});

test('v0/X5: an artifact without tag and titles is a package without a name', () => {
  const manifest = schemaV0.packageManifest(content);
  const untitled: ImageManifest = {
    ...manifest,
    layers: manifest.layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  };
  expect(identifyArtifact(untitled, 'x', undefined)).toMatchObject({ schema: 'v0', package: undefined });
});

test('what has nothing of conda has no schema', () => {
  const manifest = { schemaVersion: 2, config: { mediaType: 'a/b', ...part }, layers: [] } as const;
  expect(identifyArtifact(manifest, 'czlib', '1-0')).toEqual({
    schema: undefined,
    package: undefined,
    file: undefined,
  });
});
