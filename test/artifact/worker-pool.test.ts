import { createRequire } from 'node:module';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { FerryError } from '#ferry/errors.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { incompressible } from '../../fixtures/build/bytes.mjs';
import { rejection } from '../contracts/artifacts.js';
import { sha256 } from '../support/audit.js';
import { FIXTURE_CHANNEL } from '../support/channels.js';
import { tempFolder } from '../support/temp.js';
import { ROOT } from '../support/ferry.js';

const spec = { name: 'a', version: '1', build: '0', subdir: 'noarch' };

describe('a worker', () => {
  test('takes the info out of an archive, the same from memory and from a file', async () => {
    await using pool = new WorkerPool(2);
    for (const { filename, bytes } of [condaPackage(spec), tarBz2Package(spec)]) {
      const extension = filename.endsWith('.conda') ? 'conda' : 'tar.bz2';
      const path = join(await tempFolder(), filename);
      await writeFile(path, bytes);
      const [inMemory, inFile] = await Promise.all([
        pool.run('pack', { archive: { bytes }, extension }),
        pool.run('pack', { archive: { path }, extension }),
      ]);
      expect(sha256(inMemory.infoLayer)).toBe(sha256(inFile.infoLayer));
      expect(JSON.parse(Buffer.from(inFile.indexJson).toString())).toMatchObject({
        name: 'a',
        version: '1',
        build: '0',
      });
      expect(inFile.innerStem).toBe(extension === 'conda' ? 'a-1-0' : undefined);
      // The caller's bytes are still there.
      expect(bytes.byteLength).toBeGreaterThan(100);
    }
  });

  test('gives the same whether an archive is small enough for the asking thread or not', async () => {
    await using pool = new WorkerPool(1);
    for (const bytes of [10, 100_000, 5_000_000]) {
      const archive = condaPackage({ ...spec, infoFiles: { 'info/long': Buffer.alloc(bytes, 'conda ') } });
      const path = join(await tempFolder(), archive.filename);
      await writeFile(path, archive.bytes);
      const inMemory = await pool.run('pack', { archive: { bytes: archive.bytes }, extension: 'conda' });
      const inFile = await pool.run('pack', { archive: { path }, extension: 'conda' });
      expect(sha256(inMemory.infoLayer)).toBe(sha256(inFile.infoLayer));
      expect(sha256(inMemory.indexJson)).toBe(sha256(inFile.indexJson));
    }
    const zeros = new Uint8Array(5_000_000);
    const compressed = await pool.run('compress', { bytes: zeros, level: 3 });
    const unpacked = await pool.run('decompress', { bytes: compressed, maxBytes: 5_000_000, what: 'it' });
    expect(sha256(unpacked)).toBe(sha256(zeros));
  });

  test('compresses to zstd with size and checksum, and decompresses', async () => {
    await using pool = new WorkerPool(1);
    const bytes = incompressible(300_000);
    const compressed = await pool.run('compress', { bytes, level: 15 });
    // Bit 2 of the frame header's descriptor is the checksum, its upper bits tell that the size is there.
    expect(compressed[4]! & 0b100).toBe(0b100);
    expect(compressed[4]! >> 6).toBeGreaterThan(0);
    expect(sha256(await pool.run('compress', { bytes, level: 15 }))).toBe(sha256(compressed));
    const again = await pool.run('decompress', { bytes: compressed, maxBytes: 300_000, what: 'it' });
    expect(sha256(again)).toBe(sha256(bytes));
  });

  test('reads what others compressed', async () => {
    await using pool = new WorkerPool(1);
    const [plain, zst] = await Promise.all(
      ['repodata.json', 'repodata.json.zst'].map(async (file) =>
        readFile(join(FIXTURE_CHANNEL, 'linux-64', file)),
      ),
    );
    const unpacked = await pool.run('decompress', { bytes: zst!, maxBytes: plain!.length, what: 'it' });
    expect(plain!.equals(unpacked)).toBe(true);
  });
});

describe('what fails in a worker', () => {
  test('keeps its code and its message', async () => {
    await using pool = new WorkerPool(1);
    const fail = async (bytes: Uint8Array) =>
      rejection(pool.run('pack', { archive: { bytes }, extension: 'conda' }));
    expect(await fail(new Uint8Array(0))).toMatchObject({ code: 'ARCHIVE_EMPTY' });
    const failure = await fail(Buffer.from('no archive at all, just text'));
    expect(failure).toBeInstanceOf(FerryError);
    expect(failure).toMatchObject({
      code: 'ARCHIVE_NOT_CONDA',
      message: expect.stringMatching(/./) as string,
    });
    const compressed = await pool.run('compress', { bytes: Buffer.alloc(1000), level: 3 });
    const decompress = async (bytes: Uint8Array, maxBytes: number) =>
      rejection(pool.run('decompress', { bytes, maxBytes, what: '`it`' }));
    expect(await decompress(compressed, 999)).toMatchObject({
      code: 'SIZE_EXCEEDED',
      message: expect.stringContaining('`it`') as string,
    });
    expect(await decompress(compressed.subarray(0, -1), 1000)).toMatchObject({ code: 'REPODATA_INVALID' });
    expect(await decompress(Buffer.from('nope'), 1000)).toMatchObject({ code: 'REPODATA_INVALID' });
  });

  test('and is no fault of ours stays what it is', async () => {
    await using pool = new WorkerPool(1);
    const path = join(await tempFolder(), 'absent.conda');
    expect(await rejection(pool.run('pack', { archive: { path }, extension: 'conda' }))).toMatchObject({
      message: expect.stringContaining('ENOENT') as string,
    });
    expect((await pool.run('compress', { bytes: Buffer.from('x'), level: 1 })).byteLength).toBeGreaterThan(0);
  });
});

describe('an abort', () => {
  const reason = new Error('enough');

  test('before a task rejects with its reason', async () => {
    await using pool = new WorkerPool(1);
    const run = pool.run('compress', { bytes: Buffer.from('x'), level: 1 }, AbortSignal.abort(reason));
    expect(await rejection(run)).toBe(reason);
  });

  test('during a task, and while it waits for its turn, rejects with its reason at once, and others go on', async () => {
    await using pool = new WorkerPool(1);
    const controller = new AbortController();
    const slow = incompressible(3_000_000);
    const aborted = [0, 1].map(async () =>
      rejection(pool.run('compress', { bytes: slow, level: 19 }, controller.signal)),
    );
    const other = pool.run('compress', { bytes: Buffer.from('x'), level: 1 });
    setTimeout(() => {
      controller.abort(reason);
    }, 50);
    expect(await Promise.all(aborted)).toEqual([reason, reason]);
    expect((await other).byteLength).toBeGreaterThan(0);
  });

  test('after a task changes nothing', async () => {
    await using pool = new WorkerPool(1);
    const controller = new AbortController();
    const done = await pool.run('compress', { bytes: Buffer.from('x'), level: 1 }, controller.signal);
    controller.abort(reason);
    expect(done.byteLength).toBeGreaterThan(0);
  });
});

test('the worker cannot be loaded by `require`: a thread that is ended in the middle of that ends the process', () => {
  const require = createRequire(import.meta.url);
  const worker = join(ROOT, 'dist', 'artifact', 'worker.js');
  expect(() => void require(worker)).toThrow(
    expect.objectContaining({ code: 'ERR_REQUIRE_ASYNC_MODULE' }) as Error,
  );
});
