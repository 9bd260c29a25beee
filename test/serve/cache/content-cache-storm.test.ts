import { createHash } from 'node:crypto';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { isFerryError } from '#ferry/errors.js';
import { openBlobFolder } from '#ferry/image-layout/blob-folder.js';
import { digestHex } from '#ferry/io/digest.js';
import { ContentCache } from '#ferry/serve/cache/content-cache.js';
import { tempFolder } from '../../support/temp.js';
import { originOf, read, type CountedOrigin } from './scene.js';

const MAX_BYTES = 400_000;
/** The larger ones are read from the disk, and one is larger than the whole bound. */
const SIZES = [10, 5000, 66_000, 90_000, 120_000, 200_000, 500_000];

const which = fc.nat(SIZES.length - 1);
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('get' as const), which }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('abort' as const), which }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('fail' as const), which }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('find' as const), which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pin' as const), which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('tamper' as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), which }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('settle' as const), which }) },
);

/** Gets it with an origin that gives something else first. */
function failing(origin: CountedOrigin): CountedOrigin {
  const wrong = originOf(Buffer.alloc(origin.bytes.byteLength, 1));
  return { ...origin, open: wrong.open };
}

/** Overwrites a file in its place, if it is there. */
async function tamper(path: string): Promise<void> {
  const file = await open(path, 'r+').catch(() => undefined);
  if (file === undefined) return;
  await file.write(Buffer.alloc((await file.stat()).size), 0, null, 0);
  await file.utimes(1, 1);
  await file.close();
}

test('whatever happens at once, no wrong byte is given, and what is counted is what is there', async () => {
  const root = await tempFolder();
  const origins = SIZES.map((size) => originOf(size));
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
      runs += 1;
      const path = join(root, String(runs));
      const cache = await ContentCache.open(openBlobFolder(path), { maxBytes: MAX_BYTES, memoryBytes: 6000 });
      const under: Promise<void>[] = [];
      const pins: Disposable[] = [];
      const readOf = async (origin: CountedOrigin, signal?: AbortSignal, from = origin): Promise<void> => {
        try {
          const bytes = await read(await cache.get(from, { signal }));
          if (!bytes.equals(Buffer.from(origin.bytes))) throw new Error('wrong bytes');
        } catch (error) {
          // A fetch that another began may have had the wrong bytes, and folders are deleted again and again.
          if (isFerryError(error, 'DIGEST_MISMATCH') || isFerryError(error, 'NOT_FOUND')) return;
          if (isFerryError(error, 'DISK_FULL') && origin.bytes.byteLength > 0) return;
          if (signal?.aborted !== true) throw error;
        }
      };
      for (const { kind, which } of steps) {
        const origin = origins[which];
        if (origin === undefined) continue;
        if (kind === 'get') under.push(readOf(origin));
        if (kind === 'fail') under.push(readOf(origin, undefined, failing(origin)));
        if (kind === 'abort') {
          const control = new AbortController();
          under.push(readOf(origin, control.signal));
          setImmediate(() => {
            control.abort(new Error('gone'));
          });
        }
        if (kind === 'find') {
          const found = await cache.find(origin.digest);
          const reading = found === undefined ? undefined : read(found);
          under.push(
            Promise.resolve(reading).then(
              (bytes) => {
                if (bytes?.equals(Buffer.from(origin.bytes)) === false) throw new Error('wrong bytes');
              },
              (error: unknown) => {
                expect(error).toMatchObject({ code: 'NOT_FOUND' });
              },
            ),
          );
        }
        if (kind === 'pin') pins.push(cache.pin(origin.digest));
        if (kind === 'tamper') {
          // Not while somebody reads or writes it: files are not made to change under their readers.
          await Promise.all([...under.splice(0), readOf(origin)]);
          await tamper(join(path, 'blobs', 'sha256', digestHex(origin.digest)));
        }
        if (kind === 'delete')
          await rm(path, { recursive: true, force: true, maxRetries: 5 }).catch(() => undefined);
        if (kind === 'settle') await Promise.all(under.splice(0));
      }
      await Promise.all(under);
      for (const pin of pins) pin[Symbol.dispose]();
      // Whoever meets something that is gone has all counted anew.
      for (const origin of origins) await readOf(origin);
      for (const origin of origins) await cache.find(origin.digest);
      await cache[Symbol.asyncDispose]();
      const folder = join(path, 'blobs', 'sha256');
      const files = await readdir(folder);
      expect(files.filter((name) => name.startsWith('.'))).toEqual([]);
      let bytes = 0;
      for (const name of files) bytes += (await stat(join(folder, name))).size;
      expect(cache.stats).toMatchObject({ bytes, blobs: files.length });
      expect(bytes).toBeLessThanOrEqual(MAX_BYTES);
      await rm(path, { recursive: true });
    }),
    { numRuns: 60 },
  );
}, 120_000);

test('200 MB for 20 readers take little memory', async () => {
  const path = join(await tempFolder(), 'cache');
  const cache = await ContentCache.open(openBlobFolder(path), { maxBytes: 1e9 });
  onTestFinished(async () => cache[Symbol.asyncDispose]());
  const chunk = Buffer.alloc(64 * 1024, 7);
  const chunks = 3200;
  const hash = createHash('sha256');
  for (let count = 0; count < chunks; count += 1) hash.update(chunk);
  const size = chunks * chunk.byteLength;
  let opens = 0;
  const before = process.memoryUsage().rss;
  let most = before;
  const contents = await Promise.all(
    Array.from({ length: 20 }, () =>
      cache.get({
        digest: `sha256:${hash.copy().digest('hex')}`,
        size,
        open: async function* () {
          opens += 1;
          for (let count = 0; count < chunks; count += 1) {
            yield await Promise.resolve(Buffer.from(chunk));
            most = Math.max(most, process.memoryUsage().rss);
          }
        },
      }),
    ),
  );
  await Promise.all(
    contents.map(async (content) => {
      await using opened = await content.open();
      const target = Buffer.alloc(256 * 1024);
      for (let position = 0; position < size;) {
        position += await opened.read(target, position);
        if (target[0] !== 7) throw new Error('wrong bytes');
      }
      most = Math.max(most, process.memoryUsage().rss);
    }),
  );
  expect(opens).toBe(1);
  expect((most - before) / 1e6).toBeLessThan(100);
});
