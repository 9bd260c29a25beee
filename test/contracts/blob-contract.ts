import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { openerOf, type OpenBytes } from '#ferry/io/bytes.js';
import { chainOf, CONFIG, contentOf, inChunks, pushContent, readAll, rejection } from './artifacts.js';
import type { Subject } from './subject.js';

/** Blobs: pushed whole or not at all, read from anywhere. */
export function describeBlobs(subject: Subject): void {
  describe('blobs', () => {
    test('a pushed blob is there and reads as it was', async () => {
      const repository = subject.newRepository();
      const blob = contentOf('some bytes');
      expect(await repository.exists(blob.descriptor)).toBe(false);
      await pushContent(repository, blob);
      expect(await repository.exists(blob.descriptor)).toBe(true);
      expect((await readAll(repository.fetch(blob.descriptor))).toString()).toBe('some bytes');
    });

    test.each([1, 5, 9])('reads from offset %i', async (offset) => {
      const repository = subject.newRepository();
      const blob = contentOf('0123456789');
      await pushContent(repository, blob);
      const rest = await readAll(repository.fetch(blob.descriptor, { offset }));
      expect(rest.toString()).toBe('0123456789'.slice(offset));
    });

    test('a pushed blob may be pushed again', async () => {
      const repository = subject.newRepository();
      const blob = contentOf('twice');
      await pushContent(repository, blob);
      await pushContent(repository, blob);
      expect((await readAll(repository.fetch(blob.descriptor))).toString()).toBe('twice');
    });

    test('takes the smallest JSON blob', async () => {
      const repository = subject.newRepository();
      const blob = contentOf('{}', CONFIG);
      await pushContent(repository, blob);
      expect((await readAll(repository.fetch(blob.descriptor))).toString()).toBe('{}');
    });

    test('takes a blob of no bytes if it can', async () => {
      if (!subject.capabilities.emptyBlob) return;
      const repository = subject.newRepository();
      const blob = contentOf('');
      await pushContent(repository, blob);
      expect(await repository.exists(blob.descriptor)).toBe(true);
      expect(await readAll(repository.fetch(blob.descriptor))).toHaveLength(0);
    });

    test('takes a large blob in odd chunks', async () => {
      const repository = subject.newRepository();
      const bytes = randomBytes(20 * 1024 * 1024);
      const blob = contentOf(bytes);
      await repository.push(blob.descriptor, inChunks(bytes));
      const hash = createHash('sha256');
      let size = 0;
      for await (const chunk of repository.fetch(blob.descriptor)) {
        hash.update(chunk);
        size += chunk.byteLength;
      }
      expect(size).toBe(bytes.byteLength);
      expect(`sha256:${hash.digest('hex')}`).toBe(blob.descriptor.digest);
      const tail = await readAll(repository.fetch(blob.descriptor, { offset: bytes.byteLength - 1000 }));
      expect(tail.equals(bytes.subarray(-1000))).toBe(true);
    });

    test.each([
      ['other bytes of the same size', 'other', ['DIGEST_MISMATCH']],
      ['too few bytes', 'righ', ['SIZE_MISMATCH']],
      ['no bytes', '', ['SIZE_MISMATCH']],
      ['too many bytes', 'right and more', ['SIZE_EXCEEDED', 'SIZE_MISMATCH']],
    ])('refuses %s and keeps nothing', async (_, actual, codes) => {
      const repository = subject.newRepository();
      const expected = contentOf('right');
      const error = await rejection(repository.push(expected.descriptor, openerOf(Buffer.from(actual))));
      const vague = subject.capabilities.namesWrongDigest === false ? ['REGISTRY_REFUSED'] : [];
      expect([...codes, ...vague]).toContain((error as { code?: string }).code);
      expect(await repository.exists(expected.descriptor)).toBe(false);
      if (actual !== '') expect(await repository.exists(contentOf(actual).descriptor)).toBe(false);
      await expect(readAll(repository.fetch(expected.descriptor))).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      await pushContent(repository, expected);
      expect((await readAll(repository.fetch(expected.descriptor))).toString()).toBe('right');
    });

    test('a source that fails leaves nothing, and its error comes through', async () => {
      const repository = subject.newRepository();
      const blob = contentOf('never complete');
      const failure = new Error('the source broke');
      const open: OpenBytes = async function* () {
        yield await Promise.resolve(blob.bytes.subarray(0, 5));
        throw failure;
      };
      const error = await rejection(repository.push(blob.descriptor, open));
      expect(chainOf(error)).toContain(failure);
      expect(await repository.exists(blob.descriptor)).toBe(false);
    });

    test('reading notices a size that is not the one stored', async () => {
      const repository = subject.newRepository();
      const blob = contentOf('ten bytes.');
      await pushContent(repository, blob);
      for (const size of [9, 11]) {
        const error = await rejection(readAll(repository.fetch({ ...blob.descriptor, size })));
        expect(['SIZE_MISMATCH', 'SIZE_EXCEEDED']).toContain((error as { code?: string }).code);
      }
    });

    test('many may push the same blob at once', async () => {
      const repository = subject.newRepository();
      const blob = contentOf(randomBytes(100_000));
      await Promise.all(Array.from({ length: 8 }, () => pushContent(repository, blob)));
      expect((await readAll(repository.fetch(blob.descriptor))).equals(blob.bytes)).toBe(true);
    });

    test('absent content is not there', async () => {
      const repository = subject.newRepository();
      const { descriptor } = contentOf('never pushed');
      expect(await repository.exists(descriptor)).toBe(false);
      await expect(readAll(repository.fetch(descriptor))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
  });

  describe('looking at a blob by its digest', () => {
    test('tells its size if it can', async () => {
      const repository = subject.newRepository();
      if (repository.statBlob === undefined) return;
      const [blob, absent] = [contentOf('ten bytes.'), contentOf('never pushed')];
      expect(await repository.statBlob(blob.descriptor.digest)).toBeUndefined();
      await pushContent(repository, blob);
      expect(await repository.statBlob(blob.descriptor.digest)).toEqual({ size: 10 });
      expect(await repository.statBlob(absent.descriptor.digest)).toBeUndefined();
      if (!subject.capabilities.emptyBlob) return;
      const empty = contentOf('');
      await pushContent(repository, empty);
      expect(await repository.statBlob(empty.descriptor.digest)).toEqual({ size: 0 });
    });

    test('opens it where it lies if it can, and it stays readable when it is deleted', async () => {
      const repository = subject.newRepository();
      if (repository.openBlob === undefined) return;
      const blob = contentOf(randomBytes(300_000));
      expect(await repository.openBlob(blob.descriptor.digest)).toBeUndefined();
      await pushContent(repository, blob);
      await using opened = await repository.openBlob(blob.descriptor.digest);
      await repository.delete?.(blob.descriptor);
      expect(opened?.size).toBe(300_000);
      const target = Buffer.alloc(400_000);
      const count = await opened?.read(target.subarray(0, 1000), 299_500);
      expect(count).toBe(500);
      expect(target.subarray(0, 500).equals(Buffer.from(blob.bytes.subarray(299_500)))).toBe(true);
      expect(await opened?.read(target, 300_000)).toBe(0);
    });

    test('says where it is if it can: a place for anybody, or nowhere else', async () => {
      const repository = subject.newRepository();
      if (repository.locateBlob === undefined) return;
      const blob = contentOf('to be fetched from elsewhere');
      await expect(repository.locateBlob(blob.descriptor)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await pushContent(repository, blob);
      const url = await repository.locateBlob(blob.descriptor);
      if (url === undefined) return;
      const response = await fetch(url);
      expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.from(blob.bytes))).toBe(true);
    });
  });

  describe('mount', () => {
    test('takes a blob over from another repository, or says that it did not', async () => {
      const [from, to] = [subject.newRepository(), subject.newRepository()];
      if (to.mount === undefined) return;
      const blob = contentOf('shared between repositories');
      await pushContent(from, blob);
      const isMounted = await to.mount(blob.descriptor, from.name);
      expect(await to.exists(blob.descriptor)).toBe(isMounted);
      if (isMounted) expect((await readAll(to.fetch(blob.descriptor))).equals(blob.bytes)).toBe(true);
      const absent = contentOf('nowhere').descriptor;
      expect(await to.mount(absent, from.name)).toBe(false);
      expect(await to.exists(absent)).toBe(false);
    });
  });
}
