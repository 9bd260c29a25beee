import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { openerOf, type OpenBytes } from '#ferry/io/bytes.js';
import { copyGraph } from '#ferry/oci/copy-graph.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { isManifestMediaType } from '#ferry/oci/media-types.js';
import type { Repository } from '#ferry/oci/storage.js';
import {
  artifactOf,
  contentOf,
  essence,
  inChunks,
  indexOf,
  pushArtifact,
  pushContent,
  pushNew,
  readAll,
  tagsOf,
} from './artifacts.js';
import { CountingRepository } from './counting-repository.js';
import type { Subject } from './subject.js';

/** Copies into and out of the store, and giving up in the middle. */
export function describeCopies(subject: Subject): void {
  describe('abort', () => {
    test('a push is given up in its middle with the reason given', async () => {
      const repository = subject.newRepository();
      const bytes = randomBytes(1_000_000);
      const { descriptor } = contentOf(bytes);
      const controller = new AbortController();
      const reason = new Error('enough');
      const open: OpenBytes = async function* (options = {}) {
        for await (const chunk of inChunks(bytes)(options)) {
          options.signal?.throwIfAborted();
          yield chunk;
          controller.abort(reason);
        }
      };
      await expect(repository.push(descriptor, open, { signal: controller.signal })).rejects.toBe(reason);
      expect(await repository.exists(descriptor)).toBe(false);
    });

    test('what is aborted before it starts does nothing', async () => {
      const repository = subject.newRepository();
      const reason = new Error('not today');
      const signal = AbortSignal.abort(reason);
      const { blobs, manifest } = artifactOf('aborted');
      for (const blob of blobs) await pushContent(repository, blob);
      const unpushed = contentOf('aborted blob');
      const open = openerOf(unpushed.bytes);
      await expect(repository.push(unpushed.descriptor, open, { signal })).rejects.toBe(reason);
      const pushing = repository.push(manifest.descriptor, openerOf(manifest.bytes), {
        signal,
        tags: ['latest'],
      });
      await expect(pushing).rejects.toBe(reason);
      expect(await repository.exists(unpushed.descriptor)).toBe(false);
      expect(await repository.resolve('latest')).toBeUndefined();
    });

    test('a fetch rejects with the reason given', async () => {
      const repository = subject.newRepository();
      const blob = contentOf('to be fetched');
      await pushContent(repository, blob);
      const reason = new Error('no more');
      const fetching = readAll(repository.fetch(blob.descriptor, { signal: AbortSignal.abort(reason) }));
      await expect(fetching).rejects.toBe(reason);
    });
  });

  describe('copyGraph', () => {
    const sourceWith = async (): Promise<{ source: Repository; root: ReturnType<typeof indexOf> }> => {
      const source = new MemoryRegistry().repository('source');
      const first = artifactOf('in both', 'in the first');
      const second = artifactOf('in both', 'in the second');
      await pushArtifact(source, first);
      await pushArtifact(source, second);
      const root = indexOf(first.manifest, second.manifest);
      await pushContent(source, root, ['root']);
      return { source, root };
    };

    test('copies a graph, and a second time pushes nothing below the root', async () => {
      const { source, root } = await sourceWith();
      const destination = new CountingRepository(subject.newRepository());
      await copyGraph(source, destination, root.descriptor, { tags: ['copied'] });
      expect(essence(await destination.resolve('copied'))).toEqual(root.descriptor);
      for (const text of ['in both', 'in the first', 'in the second']) {
        expect((await readAll(destination.fetch(contentOf(text).descriptor))).toString()).toBe(text);
      }
      destination.pushed.length = 0;
      await copyGraph(source, destination, root.descriptor, { tags: ['copied'] });
      expect(destination.pushed.filter((digest) => digest !== root.descriptor.digest)).toEqual([]);
      expect(await tagsOf(destination)).toEqual(['copied']);
    });

    test('copies back out what it holds', async () => {
      const repository = subject.newRepository();
      const { manifest } = await pushNew(repository, 'on its way out', ['latest']);
      const destination = new MemoryRegistry().repository('destination');
      await copyGraph(repository, destination, manifest.descriptor, { tags: ['latest'] });
      expect((await destination.fetchManifest('latest'))?.bytes).toEqual(manifest.bytes);
    });

    test.each(['the right one', 'another one'])(
      'arrives whole where blobs may be mounted from %s',
      async (which) => {
        const source = subject.newRepository();
        const { blobs, manifest } = await pushNew(source, `mounted from ${which}`, ['latest']);
        const other = subject.newRepository();
        await pushNew(other, 'something else', ['latest']);
        const destination = subject.newRepository();
        const mountFrom = which === 'the right one' ? source.name : other.name;
        await copyGraph(source, destination, manifest.descriptor, {
          tags: ['latest'],
          destinationHas: () => false,
          mountFrom,
        });
        expect(essence(await destination.resolve('latest'))).toEqual(manifest.descriptor);
        for (const { descriptor, bytes } of blobs)
          expect(await readAll(destination.fetch(descriptor))).toEqual(Buffer.from(bytes));
      },
    );

    test('pushes the blobs once more if the store does not know one that was taken for there', async () => {
      const source = new MemoryRegistry().repository('source');
      const { blobs, manifest } = artifactOf('forgotten', 'by the registry');
      await pushArtifact(source, { blobs, manifest });
      const destination = new CountingRepository(subject.newRepository());
      await copyGraph(source, destination, manifest.descriptor, {
        tags: ['healed'],
        destinationHas: (descriptor) => !isManifestMediaType(descriptor.mediaType),
      });
      expect(essence(await destination.resolve('healed'))).toEqual(manifest.descriptor);
      const { digest } = manifest.descriptor;
      expect(destination.pushed.filter((pushedDigest) => pushedDigest === digest)).toHaveLength(2);
      expect(destination.pushed).toHaveLength(2 + blobs.length);
    });
  });
}
