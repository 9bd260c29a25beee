import { readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { FerryError } from '#ferry/errors.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { openerOf } from '#ferry/io/bytes.js';
import { digestOf, type Digest } from '#ferry/io/digest.js';
import type { BlobFolder } from '#ferry/oci/blob-folder.js';
import type { ContentOrigin } from '#ferry/serve/cache/content-source.js';
import { contentOf, pushContent, rejection } from '../../contracts/artifacts.js';
import { tempFolder } from '../../support/temp.js';
import { gated, openScene, originOf, read, readOpened, type Scene } from './scene.js';

async function filesOf({ path }: Scene): Promise<string[]> {
  return readdir(join(path, 'blobs', 'sha256'));
}

describe('content that is fetched', () => {
  test('is read from the disk from then on, also by a later process', async () => {
    const scene = await openScene();
    const origin = originOf();
    for (const cache of [scene.cache, scene.cache, await scene.reopen()]) {
      expect((await read(await cache.get(origin))).equals(Buffer.from(origin.bytes))).toBe(true);
    }
    expect(origin.opens).toBe(1);
    expect(scene.cache.stats).toEqual({ bytes: 100_000, blobs: 1, hits: 1, misses: 1, evictions: 0 });
  });

  test('is in memory too if it is small', async () => {
    const scene = await openScene();
    const origin = originOf(Buffer.from('a shard'));
    const [first, second] = [await scene.cache.get(origin), await scene.cache.get(origin)];
    expect(Buffer.from(first.bytes ?? []).toString()).toBe('a shard');
    await rm(scene.path, { recursive: true });
    expect(Buffer.from(second.bytes ?? []).toString()).toBe('a shard');
    expect((await read(await scene.cache.get(origin))).toString()).toBe('a shard');
    const large = originOf(70_000);
    expect((await scene.cache.get(large)).bytes).toBeUndefined();
  });

  test('may be of any size where none is told, and of no bytes', async () => {
    const { cache } = await openScene();
    for (const length of [0, 10, 200_000]) {
      const origin = originOf(length, { size: undefined });
      const content = await cache.get(origin);
      expect(content.size).toBe(length);
      expect((await read(content)).equals(Buffer.from(origin.bytes))).toBe(true);
    }
  });

  test('is fetched once for 200 who ask at the same time', async () => {
    const { cache } = await openScene();
    const origin = originOf(3_000_000);
    const contents = await Promise.all(Array.from({ length: 200 }, () => cache.get({ ...origin })));
    const reads = await Promise.all(contents.map(read));
    expect(reads.every((bytes) => bytes.equals(Buffer.from(origin.bytes)))).toBe(true);
    expect(origin.opens).toBe(1);
    expect(cache.stats).toMatchObject({ misses: 200, bytes: 3_000_000 });
  });

  test.each<[string, Partial<ContentOrigin>, string]>([
    ['other bytes', { digest: digestOf(Buffer.from('other')) }, 'DIGEST_MISMATCH'],
    ['too few bytes', { size: 100_001 }, 'SIZE_MISMATCH'],
    ['too many bytes', { size: 99_999 }, 'SIZE_EXCEEDED'],
  ])('is given to nobody if it is %s', async (_, wrong, code) => {
    const scene = await openScene();
    const origin = originOf(100_000, wrong);
    const errors = await Promise.all([1, 2, 3].map(() => rejection(scene.cache.get(origin))));
    for (const error of errors) expect(error).toMatchObject({ code });
    expect(await scene.cache.find(origin.digest)).toBeUndefined();
    expect(scene.cache.stats).toMatchObject({ bytes: 0, blobs: 0 });
    expect(await filesOf(scene)).toEqual([]);
  });

  test('whoever tells a wrong size of what is there is told', async () => {
    const { cache } = await openScene();
    const origin = originOf();
    await cache.get(origin);
    expect(await rejection(cache.get({ ...origin, size: 5 }))).toMatchObject({ code: 'SIZE_MISMATCH' });
  });

  test('a failure of the origin is that of all who wait, and the next one tries anew', async () => {
    const { cache } = await openScene();
    const origin = originOf();
    const failure = new FerryError('NETWORK', 'no way');
    const broken: ContentOrigin = {
      ...origin,
      open: async function* () {
        yield await Promise.resolve(origin.bytes.subarray(0, 1000));
        throw failure;
      },
    };
    const errors = await Promise.all([1, 2, 3].map(() => rejection(cache.get(broken))));
    expect(errors).toEqual([failure, failure, failure]);
    expect((await read(await cache.get(origin))).equals(Buffer.from(origin.bytes))).toBe(true);
  });
});

describe('who leaves', () => {
  test('does so alone, and what all have left is there for the next', async () => {
    const { cache } = await openScene();
    const origin = originOf();
    const { open, release } = gated(origin.open);
    const leaving = [new AbortController(), new AbortController()];
    const gets = leaving.map(({ signal }) => rejection(cache.get({ ...origin, open }, { signal })));
    await vi.waitFor(() => {
      expect(origin.opens).toBe(1);
    });
    const reason = new Error('gone');
    leaving[0]?.abort(reason);
    expect(await gets[0]).toBe(reason);
    const staying = cache.get({ ...origin, open });
    leaving[1]?.abort(reason);
    expect(await gets[1]).toBe(reason);
    release();
    expect((await read(await staying)).equals(Buffer.from(origin.bytes))).toBe(true);
    expect(origin.opens).toBe(1);
  });

  test('leaves a fetch behind that ends by itself', async () => {
    const { cache } = await openScene();
    const origin = originOf();
    const { open, release } = gated(origin.open);
    const leaving = new AbortController();
    const get = rejection(cache.get({ ...origin, open }, { signal: leaving.signal }));
    await vi.waitFor(() => {
      expect(origin.opens).toBe(1);
    });
    leaving.abort(new Error('gone'));
    await get;
    release();
    await vi.waitFor(async () => {
      expect(await cache.find(origin.digest)).toBeDefined();
    });
    await cache.get({ ...origin, open });
    expect(origin.opens).toBe(1);
  });

  test('leaves a fetch behind that is given up after its time', async () => {
    const scene = await openScene({ lingerMs: 5 });
    const origin = originOf();
    const { open } = gated(origin.open);
    const leaving = new AbortController();
    const get = rejection(scene.cache.get({ ...origin, open }, { signal: leaving.signal }));
    await vi.waitFor(() => {
      expect(origin.opens).toBe(1);
    });
    leaving.abort(new Error('gone'));
    await get;
    await vi.waitFor(async () => {
      expect(await filesOf(scene)).toEqual([]);
    });
    expect((await read(await scene.cache.get(origin))).byteLength).toBe(100_000);
    expect(origin.opens).toBe(2);
  });

  test('closing gives up what is being fetched', async () => {
    const scene = await openScene();
    const origin = originOf();
    const get = rejection(scene.cache.get({ ...origin, open: gated(origin.open).open }));
    await vi.waitFor(() => {
      expect(origin.opens).toBe(1);
    });
    await scene.cache[Symbol.asyncDispose]();
    expect(await get).toMatchObject({ code: 'TIMEOUT' });
    expect(await filesOf(scene)).toEqual([]);
  });
});

describe('the bound', () => {
  async function fill(scene: Scene, count: number): Promise<ReturnType<typeof originOf>[]> {
    const origins = Array.from({ length: count }, () => originOf());
    for (const origin of origins) await read(await scene.cache.get(origin));
    return origins;
  }

  test('is kept by letting go of what was used least recently', async () => {
    const scene = await openScene({ maxBytes: 350_000 });
    const [a, b, c] = await fill(scene, 3);
    await read(await scene.cache.get(a!));
    const [d] = await fill(scene, 1);
    const there = await Promise.all([a, b, c, d].map((origin) => scene.cache.find(origin!.digest)));
    expect(there.map((content) => content !== undefined)).toEqual([true, false, true, true]);
    expect(scene.cache.stats).toMatchObject({ bytes: 300_000, blobs: 3, evictions: 1 });
    await scene.cache[Symbol.asyncDispose]();
    expect(await filesOf(scene)).toHaveLength(3);
  });

  test('also for what an earlier process left, in the order of its use', async () => {
    const scene = await openScene();
    const origins = await fill(scene, 4);
    for (const [index, time] of [3, 1, 4, 2].entries()) {
      await utimes(scene.pathOf(origins[index]!.digest), time, time);
    }
    const smaller = await scene.reopen({ maxBytes: 200_000 });
    const there = await Promise.all(origins.map(({ digest }) => smaller.find(digest)));
    expect(there.map((content) => content !== undefined)).toEqual([true, false, true, false]);
  });

  test('a use is noted on disk', async () => {
    const scene = await openScene();
    const [origin] = await fill(scene, 1);
    const path = scene.pathOf(origin!.digest);
    await utimes(path, 1, 1);
    const later = await scene.reopen();
    await read(await later.get(origin!));
    await vi.waitFor(async () => {
      expect((await stat(path)).mtimeMs).toBeGreaterThan(1_000_000);
    });
  });

  test('never takes away what is being read', async () => {
    const scene = await openScene({ maxBytes: 150_000 });
    const first = originOf();
    const opened = await (await scene.cache.get(first)).open();
    const [second] = await fill(scene, 1);
    expect(await scene.cache.find(first.digest)).toBeDefined();
    expect(await scene.cache.find(second!.digest)).toBeUndefined();
    expect((await readOpened(opened)).equals(Buffer.from(first.bytes))).toBe(true);
    await opened[Symbol.asyncDispose]();
    await opened[Symbol.asyncDispose]();
    await fill(scene, 1);
    expect(await scene.cache.find(first.digest)).toBeUndefined();
    expect(scene.cache.stats).toMatchObject({ bytes: 100_000, blobs: 1 });
  });

  test('is passed where all is pinned, and kept again when it is not', async () => {
    const scene = await openScene({ maxBytes: 150_000 });
    const origins = [originOf(), originOf(), originOf()];
    const pins = origins.map(({ digest }) => scene.cache.pin(digest));
    for (const origin of origins) await read(await scene.cache.get(origin));
    expect(scene.cache.stats).toMatchObject({ bytes: 300_000, evictions: 0 });
    const twice = scene.cache.pin(origins[0]!.digest);
    pins[0]?.[Symbol.dispose]();
    pins[0]?.[Symbol.dispose]();
    expect(scene.cache.stats.blobs).toBe(3);
    twice[Symbol.dispose]();
    expect(scene.cache.stats.blobs).toBe(2);
    for (const pin of pins) pin[Symbol.dispose]();
    expect(scene.cache.stats).toMatchObject({ bytes: 100_000, evictions: 2 });
  });

  test('what is larger than all of it is given, drives nothing out, and goes after its readers', async () => {
    const scene = await openScene({ maxBytes: 150_000 });
    const [small] = await fill(scene, 1);
    const large = originOf(1_000_000);
    const contents = await Promise.all([1, 2, 3].map(() => scene.cache.get(large)));
    expect(scene.cache.stats.bytes).toBe(1_100_000);
    const reads = await Promise.all(contents.map(read));
    for (const bytes of reads) expect(bytes.equals(Buffer.from(large.bytes))).toBe(true);
    expect(large.opens).toBe(1);
    expect(scene.cache.stats).toMatchObject({ bytes: 100_000, blobs: 1 });
    expect(await scene.cache.find(small!.digest)).toBeDefined();
  });

  test('content in the hand that was evicted is fetched again where that can be, or is gone', async () => {
    const scene = await openScene({ maxBytes: 150_000 });
    const origin = originOf();
    const fetched = await scene.cache.get(origin);
    await read(fetched);
    const found = await scene.cache.find(origin.digest);
    await fill(scene, 1);
    expect(await rejection(read(found))).toMatchObject({ code: 'NOT_FOUND' });
    expect((await read(fetched)).equals(Buffer.from(origin.bytes))).toBe(true);
    expect(origin.opens).toBe(2);
  });
});

describe('content that is put', () => {
  test('is found, and nothing is read where it is there', async () => {
    const { cache } = await openScene();
    const { bytes, digest } = originOf();
    const size = bytes.byteLength;
    expect((await read(await cache.put(openerOf(bytes), { digest, size }))).equals(Buffer.from(bytes))).toBe(
      true,
    );
    await cache.put(
      () => {
        throw new Error('nobody should read this');
      },
      { digest, size },
    );
    expect((await read(await cache.find(digest))).equals(Buffer.from(bytes))).toBe(true);
    expect(cache.stats).toMatchObject({ hits: 0, misses: 0 });
  });

  test('is refused where it is something else', async () => {
    const { cache } = await openScene();
    const put = cache.put(openerOf(Buffer.from('x')), { digest: digestOf(Buffer.from('y')), size: 1 });
    expect(await rejection(put)).toMatchObject({ code: 'DIGEST_MISMATCH' });
  });
});

describe('a folder that is not what it was', () => {
  test.each([1000, 100_000])(
    'deleted: %i bytes are fetched again, and all counts are right',
    async (size) => {
      const scene = await openScene({ memoryBytes: 0 });
      const origins = Array.from({ length: 5 }, () => originOf(size));
      for (const origin of origins) await read(await scene.cache.get(origin));
      await rm(scene.path, { recursive: true });
      const [first] = origins;
      expect((await read(await scene.cache.get(first!))).equals(Buffer.from(first!.bytes))).toBe(true);
      expect(first?.opens).toBe(2);
      await vi.waitFor(() => {
        expect(scene.cache.stats).toMatchObject({ blobs: 1, bytes: size });
      });
    },
  );

  test.each([1000, 100_000])('a blob of %i bytes that was tampered with is fetched again', async (size) => {
    const corrupt: Digest[] = [];
    const reporter = { corrupt: (digest: Digest) => corrupt.push(digest) };
    const scene = await openScene({ memoryBytes: 0, reporter });
    const origin = originOf(size);
    await read(await scene.cache.get(origin));
    await writeFile(scene.pathOf(origin.digest), Buffer.alloc(size));
    await utimes(scene.pathOf(origin.digest), 5, 5);
    for (const cache of [scene.cache, await scene.reopen()]) {
      expect((await read(await cache.get(origin))).equals(Buffer.from(origin.bytes))).toBe(true);
    }
    expect([origin.opens, corrupt]).toEqual([2, [origin.digest]]);
  });

  test('a blob that a killed machine left cut off is fetched again', async () => {
    const scene = await openScene();
    const origin = originOf();
    await read(await scene.cache.get(origin));
    await writeFile(scene.pathOf(origin.digest), origin.bytes.subarray(0, 50_000));
    const cache = await scene.reopen();
    expect(await cache.find(origin.digest)).toBeUndefined();
    expect((await read(await cache.get(origin))).equals(Buffer.from(origin.bytes))).toBe(true);
    expect(cache.stats).toMatchObject({ blobs: 1, bytes: 100_000 });
  });

  test('what another process fetched is taken as it is', async () => {
    const scene = await openScene();
    const other = await scene.reopen();
    const origin = originOf();
    await other.get(origin);
    expect((await read(await scene.cache.get(origin))).equals(Buffer.from(origin.bytes))).toBe(true);
    expect(origin.opens).toBe(1);
  });

  test('a file in its place: what is small goes through memory, what is large is an error', async () => {
    const scene = await openScene({ memoryBytes: 0 });
    await scene.cache.get(originOf());
    await rm(scene.path, { recursive: true });
    await writeFile(scene.path, '');
    const [small, large] = [originOf(5_000_000), originOf(9_000_000)];
    for (const origin of [small, { ...small, size: undefined }]) {
      expect((await read(await scene.cache.get(origin))).equals(Buffer.from(small.bytes))).toBe(true);
    }
    for (const origin of [large, { ...large, size: undefined }]) {
      expect(await rejection(scene.cache.get(origin))).toMatchObject({ code: 'DISK_FULL' });
    }
    const wrong = originOf(5000, { digest: large.digest });
    expect(await rejection(scene.cache.get(wrong))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    await rm(scene.path);
    expect((await read(await scene.cache.get(large))).equals(Buffer.from(large.bytes))).toBe(true);
  });

  /** A disk with room for so many bytes. */
  function diskOf(bytes: number): (folder: BlobFolder) => BlobFolder {
    return (folder) => ({
      location: folder.location,
      blobs: (options) => folder.blobs(options),
      open: (digest) => folder.open(digest),
      touch: (digest) => folder.touch(digest),
      remove: (digest) => folder.remove(digest),
      write: async (expected, open, options) => {
        let used = 0;
        for await (const blob of folder.blobs()) used += blob.size;
        return folder
          .write(
            expected,
            async function* (more) {
              for await (const chunk of open(more)) {
                used += chunk.byteLength;
                yield chunk;
              }
            },
            options,
          )
          .then((written) => {
            if (used <= bytes) return written;
            return folder.remove(expected.digest).then(() => {
              throw new FerryError('DISK_FULL', 'no room left');
            });
          });
      },
    });
  }

  test('a full disk gets room from what was used least recently', async () => {
    const scene = await openScene({ wrap: diskOf(450_000) });
    const origins = Array.from({ length: 6 }, () => originOf());
    for (const origin of origins) {
      expect((await read(await scene.cache.get(origin))).equals(Buffer.from(origin.bytes))).toBe(true);
    }
    expect(scene.cache.stats).toMatchObject({ blobs: 4, bytes: 400_000, evictions: 2 });
  });

  test('a full disk where nothing can go leaves memory, for what is small', async () => {
    const troubles: unknown[] = [];
    const scene = await openScene({
      wrap: diskOf(450_000),
      reporter: { troubled: (error) => troubles.push(error) },
    });
    const origins = Array.from({ length: 4 }, () => originOf());
    const readers = await Promise.all(origins.map(async (origin) => (await scene.cache.get(origin)).open()));
    const more = originOf();
    expect((await scene.cache.get(more)).bytes).toBeDefined();
    expect(await rejection(scene.cache.get(originOf(9_000_000)))).toMatchObject({ code: 'DISK_FULL' });
    for (const [index, reader] of readers.entries()) {
      expect((await readOpened(reader)).equals(Buffer.from(origins[index]!.bytes))).toBe(true);
      await reader[Symbol.asyncDispose]();
    }
    expect(troubles).not.toEqual([]);
    expect((await read(await scene.cache.get(originOf()))).byteLength).toBe(100_000);
  });
});

describe('files of a store on this disk', () => {
  async function stored(bytes: Uint8Array) {
    const root = await tempFolder();
    const blob = contentOf(bytes);
    const repository = openLayoutRegistry(root).repository('a/b');
    await pushContent(repository, blob);
    const { digest } = blob.descriptor;
    const counted = { opens: 0 };
    const origin = originOf(bytes, {
      openFile: (options) => {
        counted.opens += 1;
        return repository.openBlob(digest, options);
      },
    });
    return { origin, counted, repository, blob, path: join(root, 'a/b/blobs/sha256', digest.slice(7)) };
  }

  test.each([1000, 200_000])('of %i bytes are given as they lie, and nothing is copied', async (size) => {
    const scene = await openScene();
    const { origin } = await stored(originOf(size).bytes);
    const contents = await Promise.all(Array.from({ length: 20 }, () => scene.cache.get(origin)));
    for (const bytes of await Promise.all(contents.map(read))) {
      expect(bytes.equals(Buffer.from(origin.bytes))).toBe(true);
    }
    expect(origin.opens).toBe(0);
    expect(scene.cache.stats).toMatchObject({ blobs: 0, hits: 0, misses: 0 });
  });

  test('with wrong bytes are given to nobody, until they are right again', async () => {
    const { cache } = await openScene();
    const { origin, path } = await stored(originOf(200_000).bytes);
    const content = await cache.get(origin);
    await writeFile(path, Buffer.alloc(200_000));
    await utimes(path, 5, 5);
    expect(await rejection(content.open())).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await rejection(cache.get(origin))).toMatchObject({ code: 'DIGEST_MISMATCH' });
    await writeFile(path, origin.bytes);
    expect((await read(await cache.get(origin))).equals(Buffer.from(origin.bytes))).toBe(true);
    expect((await read(content)).equals(Buffer.from(origin.bytes))).toBe(true);
  });

  test('that are gone are gone for who has them in the hand, and fetched otherwise', async () => {
    const { cache } = await openScene();
    const { origin, repository, blob } = await stored(originOf(200_000).bytes);
    const content = await cache.get(origin);
    const opened = await content.open();
    await repository.delete(blob.descriptor);
    expect((await readOpened(opened)).equals(Buffer.from(origin.bytes))).toBe(true);
    await opened[Symbol.asyncDispose]();
    expect(await rejection(content.open())).toMatchObject({ code: 'NOT_FOUND' });
    expect((await read(await cache.get(origin))).equals(Buffer.from(origin.bytes))).toBe(true);
    expect(origin.opens).toBe(1);
  });
});
