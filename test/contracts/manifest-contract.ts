import { describe, expect, test } from 'vitest';
import { openerOf } from '#ferry/io/bytes.js';
import { digestOf } from '#ferry/io/digest.js';
import { IMAGE_MANIFEST } from '#ferry/oci/media-types.js';
import {
  artifactOf,
  contentOf,
  essence,
  indexOf,
  pushArtifact,
  pushContent,
  readAll,
  tagsOf,
} from './artifacts.js';
import type { Subject } from './subject.js';

/** Manifests by tag and by digest. */
export function describeManifests(subject: Subject): void {
  describe('manifests', () => {
    test('resolves and reads by tag and by digest', async () => {
      const repository = subject.newRepository();
      const artifact = artifactOf('a layer');
      await pushArtifact(repository, artifact, ['1.0-0']);
      const { descriptor, bytes } = artifact.manifest;
      for (const reference of ['1.0-0', descriptor.digest]) {
        expect(essence(await repository.resolve(reference))).toEqual(descriptor);
        const stored = await repository.fetchManifest(reference);
        expect(essence(stored?.descriptor)).toEqual(descriptor);
        expect(Buffer.from(stored?.bytes ?? []).equals(bytes)).toBe(true);
      }
      expect(await repository.exists(descriptor)).toBe(true);
      expect((await readAll(repository.fetch(descriptor))).equals(bytes)).toBe(true);
    });

    test('keeps the bytes of a manifest, white space and unknown fields too', async () => {
      const repository = subject.newRepository();
      const { blobs } = artifactOf('a layer');
      for (const blob of blobs) await pushContent(repository, blob);
      const [config, layer] = blobs;
      const text = `${JSON.stringify(
        {
          'x-unknown': { of: [1, 'ü'] },
          layers: [{ ...layer?.descriptor, 'x-more': true }],
          config: config?.descriptor,
          mediaType: IMAGE_MANIFEST,
          schemaVersion: 2,
          annotations: { 'org.example.note': 'kept' },
        },
        null,
        3,
      )}\n\n`;
      const manifest = contentOf(text, IMAGE_MANIFEST);
      await pushContent(repository, manifest, ['odd']);
      const stored = await repository.fetchManifest('odd');
      expect(Buffer.from(stored?.bytes ?? []).toString()).toBe(text);
      expect(stored?.descriptor.digest).toBe(digestOf(Buffer.from(text)));
    });

    test('a manifest without tags is there by digest alone', async () => {
      const repository = subject.newRepository();
      const artifact = artifactOf('untagged');
      await pushArtifact(repository, artifact);
      const { descriptor } = artifact.manifest;
      expect(essence(await repository.resolve(descriptor.digest))).toEqual(descriptor);
      expect(await tagsOf(repository)).toEqual([]);
    });

    test('nothing absent resolves: tag, digest, repository', async () => {
      const repository = subject.newRepository();
      const { digest } = contentOf('never pushed').descriptor;
      expect(await repository.resolve('1.0-0')).toBeUndefined();
      expect(await repository.resolve(digest)).toBeUndefined();
      expect(await repository.fetchManifest('1.0-0')).toBeUndefined();
      expect(await repository.fetchManifest(digest)).toBeUndefined();
      expect(await tagsOf(repository)).toEqual([]);
      await pushArtifact(repository, artifactOf('something'), ['there']);
      expect(await repository.resolve('1.0-0')).toBeUndefined();
      expect(await repository.fetchManifest('1.0-0')).toBeUndefined();
      expect(await repository.resolve(digest)).toBeUndefined();
      expect(await repository.fetchManifest(digest)).toBeUndefined();
    });

    test('a blob does not resolve as a manifest', async () => {
      if (subject.capabilities.tellsBlobsFromManifests === false) return;
      const repository = subject.newRepository();
      const artifact = artifactOf('a layer');
      await pushArtifact(repository, artifact, ['latest']);
      for (const blob of artifact.blobs)
        expect(await repository.resolve(blob.descriptor.digest)).toBeUndefined();
    });

    test('refuses a manifest whose blob is not there', async () => {
      const repository = subject.newRepository();
      const { blobs, manifest } = artifactOf('present', 'missing');
      for (const blob of blobs.slice(0, -1)) await pushContent(repository, blob);
      await expect(pushContent(repository, manifest, ['broken'])).rejects.toMatchObject({
        code: 'MANIFEST_BLOB_UNKNOWN',
      });
      expect(await repository.resolve('broken')).toBeUndefined();
      expect(await repository.resolve(manifest.descriptor.digest)).toBeUndefined();
      expect(await repository.exists(manifest.descriptor)).toBe(false);
    });

    test('refuses a manifest whose bytes are not those of its descriptor', async () => {
      const repository = subject.newRepository();
      const { blobs, manifest } = artifactOf('a layer');
      for (const blob of blobs) await pushContent(repository, blob);
      const other = Buffer.from(Buffer.from(manifest.bytes).toString().replace('example', 'exampel'));
      const pushing = repository.push(manifest.descriptor, openerOf(other), { tags: ['wrong'] });
      await expect(pushing).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
      expect(await repository.resolve('wrong')).toBeUndefined();
      expect(await repository.resolve(manifest.descriptor.digest)).toBeUndefined();
    });

    test('an index and what it lists are there', async () => {
      const repository = subject.newRepository();
      const first = artifactOf('first');
      const second = artifactOf('second');
      await pushArtifact(repository, first);
      await pushArtifact(repository, second);
      const index = indexOf(first.manifest, second.manifest);
      await pushContent(repository, index, ['both']);
      expect(essence(await repository.resolve('both'))).toEqual(index.descriptor);
      for (const { manifest } of [first, second]) {
        expect(essence(await repository.resolve(manifest.descriptor.digest))).toEqual(manifest.descriptor);
      }
    });
  });
}
