import { describe, expect, test } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import { deleteTags } from '#ferry/oci/delete-tags.js';
import { MemoryRegistry, type MemoryRepository } from '#ferry/oci/memory-store.js';
import type { DeleteOptions, Repository } from '#ferry/oci/storage.js';
import type { Descriptor } from '#ferry/oci/descriptor.js';
import { indexOf, pushArtifact, pushContent, pushNew, rejection, tagsOf } from '../contracts/artifacts.js';
import { CountingRepository } from '../contracts/counting-repository.js';
import { referrerOf } from '../contracts/referrer-contract.js';

/** Like ghcr.io without a token, or a store of others: some powers are absent, some present and refused. */
class WeakRepository extends CountingRepository {
  delete?: (descriptor: Descriptor, options?: DeleteOptions) => Promise<void>;
  untag?: (tag: string) => Promise<void>;
}

const refuse = (): Promise<void> => Promise.reject(new FerryError('UNSUPPORTED', 'cannot'));

function store(): MemoryRepository {
  return new MemoryRegistry().repository('a/b');
}

describe('deleteTags', () => {
  test('tags to keep are kept, be they to delete too, and so is what they name', async () => {
    const repository = store();
    const { manifest } = await pushNew(repository, 'a', ['1', '2']);
    const result = await deleteTags(repository, ['1', '2'], { keep: ['2'] });
    expect(result).toMatchObject({
      deleted: [],
      untagged: ['1'],
      kept: [{ tag: '2', digest: manifest.descriptor.digest, reason: 'asked' }],
    });
    expect(await tagsOf(repository)).toEqual(['2']);
  });

  test('a tag that is not listed is found by its name, and protects by it', async () => {
    const repository = store();
    const gone = await pushNew(repository, 'unlisted', ['unlisted']);
    const kept = await pushNew(repository, 'shared', ['old', 'unlisted-keep']);
    repository.tags = async function* () {
      yield await Promise.resolve('old');
    };
    const result = await deleteTags(repository, ['unlisted', 'old'], { keep: ['unlisted-keep'] });
    expect(result).toMatchObject({ deleted: [{ tags: ['unlisted'] }], untagged: ['old'] });
    expect(await repository.exists(gone.manifest.descriptor)).toBe(false);
    expect(await repository.exists(kept.manifest.descriptor)).toBe(true);
  });

  test.each<[string, Partial<WeakRepository>]>([
    ['has no such powers', {}],
    ['refuses both', { delete: refuse, untag: refuse }],
  ])('a store that %s keeps everything, and the reasons are told', async (_, powers) => {
    const inner = store();
    await pushNew(inner, 'alone', ['alone']);
    await pushNew(inner, 'shared', ['one', 'two']);
    const child = await pushNew(inner, 'child', ['child']);
    await pushContent(inner, indexOf(child.manifest), ['index']);
    const repository: Repository = Object.assign(new WeakRepository(inner), powers);
    const result = await deleteTags(repository, ['alone', 'one', 'child']);
    expect(result).toMatchObject({ deleted: [], untagged: [] });
    expect(Object.fromEntries(result.kept.map(({ tag, reason }) => [tag, reason]))).toEqual({
      alone: 'alone',
      one: 'shared',
      child: 'needed',
    });
    expect(await tagsOf(inner)).toEqual(['alone', 'child', 'index', 'one', 'two']);
  });

  test('a store that only removes tags does that', async () => {
    const inner = store();
    const { manifest } = await pushNew(inner, 'alone', ['alone']);
    const repository: Repository = Object.assign(new WeakRepository(inner), {
      delete: refuse,
      untag: (tag: string) => inner.untag(tag),
    });
    expect(await deleteTags(repository, ['alone'])).toEqual({
      deleted: [],
      untagged: ['alone'],
      kept: [],
      others: 0,
    });
    expect(await inner.exists(manifest.descriptor)).toBe(true);
  });

  test('tells the store which tags the manifest has', async () => {
    const inner = store();
    await pushNew(inner, 'a', ['1', '2']);
    const asked: (readonly string[] | undefined)[] = [];
    const repository: Repository = Object.assign(new WeakRepository(inner), {
      delete: (_: Descriptor, options?: DeleteOptions) => Promise.resolve(void asked.push(options?.tags)),
    });
    await deleteTags(repository, ['1', '2']);
    expect(asked.map((tags) => [...(tags ?? [])].sort())).toEqual([['1', '2']]);
  });

  test('any other failure is a failure', async () => {
    const inner = store();
    await pushNew(inner, 'a', ['1']);
    const failure = new FerryError('DENIED', 'no');
    const repository = Object.assign(new WeakRepository(inner), { delete: () => Promise.reject(failure) });
    expect(await rejection(deleteTags(repository, ['1']))).toBe(failure);
  });

  test('an index that goes leaves its children; the children of one that goes hold nothing', async () => {
    const repository = store();
    const child = await pushNew(repository, 'child', ['child']);
    const index = indexOf(child.manifest);
    await pushContent(repository, index, ['index']);
    const result = await deleteTags(repository, ['index', 'child']);
    expect(result.deleted).toHaveLength(2);
    expect(await tagsOf(repository)).toEqual([]);
  });

  test('manifests that refer to each other in circles come to an end', async () => {
    const repository = store();
    const base = await pushNew(repository, 'base', []);
    const first = referrerOf(base.manifest.descriptor, 'first');
    await pushArtifact(repository, first);
    const second = referrerOf(first.manifest.descriptor, 'second');
    await pushArtifact(repository, second, ['second']);
    await repository.tag(base.manifest.descriptor, 'base');
    const result = await deleteTags(repository, ['base']);
    expect(result).toMatchObject({ deleted: [], untagged: ['base'] });
  });

  test('a bad tag deletes nothing', async () => {
    const repository = store();
    await pushNew(repository, 'a', ['1']);
    expect(await rejection(deleteTags(repository, ['1', 'b/ad']))).toMatchObject({
      code: 'REFERENCE_INVALID',
    });
    expect(await tagsOf(repository)).toEqual(['1']);
  });

  test('what stays and cannot be read stops it before anything is deleted', async () => {
    const repository = store();
    await pushNew(repository, 'a', ['1']);
    const { manifest } = await pushNew(repository, 'broken', ['broken']);
    const read = repository.fetchManifest.bind(repository);
    repository.fetchManifest = async (reference) =>
      reference === 'broken'
        ? { descriptor: manifest.descriptor, bytes: Buffer.from('<html>') }
        : read(reference);
    expect(await rejection(deleteTags(repository, ['1']))).toMatchObject({ code: 'MANIFEST_INVALID' });
    expect(await tagsOf(repository)).toEqual(['1', 'broken']);
    // But it may go itself.
    expect((await deleteTags(repository, ['1', 'broken'])).deleted).toHaveLength(2);
  });

  test('an abort rejects with its reason', async () => {
    const repository = store();
    await pushNew(repository, 'a', ['1']);
    const reason = new Error('enough');
    const deleting = deleteTags(repository, ['1'], { signal: AbortSignal.abort(reason) });
    expect(await rejection(deleting)).toBe(reason);
    expect(await tagsOf(repository)).toEqual(['1']);
  });
});
