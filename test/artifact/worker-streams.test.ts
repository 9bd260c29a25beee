import { describe, expect, test } from 'vitest';
import { WorkerPool } from '#ferry/artifact/worker-pool.js';
import { collect, openerOf, type Bytes, type OpenBytes } from '#ferry/io/bytes.js';
import { compressZstd } from '#ferry/io/zstd.js';
import { incompressible } from '../../fixtures/build/bytes.mjs';
import { sha256 } from '../support/audit.js';

const LIMIT = 1_000_000_000;
const options = { maxBytes: LIMIT, what: 'it' };

function inPieces(bytes: Uint8Array, size: number): OpenBytes {
  return async function* open() {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  };
}

async function all(source: Bytes): Promise<Uint8Array> {
  return collect(source, LIMIT, 'it');
}

describe('decompressing in a worker', () => {
  test('gives the plain bytes, whatever the pieces, from any offset, again and again', async () => {
    await using pool = new WorkerPool(1);
    const plain = incompressible(1_500_000);
    const packed = await compressZstd(plain, 3);
    for (const size of [1000, 65_536, packed.length]) {
      const open = pool.decompressing(inPieces(packed, size), options);
      for (const offset of [0, 1, 262_144, 1_499_999, 1_500_000, 2_000_000]) {
        expect(sha256(await all(open({ offset })))).toBe(sha256(plain.subarray(offset)));
      }
    }
  });

  test('tells the digest of all plain bytes, and of a whole read only', async () => {
    await using pool = new WorkerPool(1);
    const plain = incompressible(600_000);
    const packed = await compressZstd(plain, 3);
    const told: string[] = [];
    const open = pool.decompressing(openerOf(packed), {
      ...options,
      onDigest: (digest) => told.push(digest),
    });
    await all(open());
    await all(open({ offset: 500_000 }));
    expect(told).toEqual([sha256(plain), sha256(plain)]);
    for await (const piece of open()) {
      expect(piece.length).toBeLessThan(plain.length);
      break;
    }
    expect(told).toHaveLength(2);
  });

  test('takes several frames, and the empty one', async () => {
    await using pool = new WorkerPool(1);
    const frames = await Promise.all(['a', '', 'b'].map((text) => compressZstd(Buffer.from(text), 3)));
    expect(
      Buffer.from(await all(pool.decompressing(openerOf(Buffer.concat(frames)), options)())).toString(),
    ).toBe('ab');
  });

  test.each([0, 1, 5, 20, 300])('cut short to %i bytes it is REPODATA_INVALID', async (length) => {
    await using pool = new WorkerPool(1);
    const packed = await compressZstd(incompressible(1000), 3);
    const read = all(pool.decompressing(openerOf(packed.subarray(0, length)), options)());
    await expect(read).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
  });

  test('what is no zstd, and what follows a frame, is REPODATA_INVALID', async () => {
    await using pool = new WorkerPool(1);
    const packed = await compressZstd(Buffer.from('a'), 3);
    for (const bytes of [
      Buffer.from('nonsense, and more of it'),
      Buffer.concat([packed, Buffer.from('tail of it')]),
    ]) {
      const read = all(pool.decompressing(openerOf(bytes), options)());
      await expect(read).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
    }
  });

  test('more than allowed is SIZE_EXCEEDED, and more than a hundredfold is refused', async () => {
    await using pool = new WorkerPool(1);
    const packed = await compressZstd(Buffer.alloc(100_000_000), 3);
    const small = all(pool.decompressing(openerOf(packed), { ...options, maxBytes: 1_000_000 })());
    await expect(small).rejects.toMatchObject({ code: 'SIZE_EXCEEDED' });
    const large = all(pool.decompressing(openerOf(packed), options)());
    await expect(large).rejects.toMatchObject({ code: 'REPODATA_INVALID' });
  });

  test('what the source fails with comes as it is', async () => {
    await using pool = new WorkerPool(1);
    const failure = new TypeError('the source failed');
    const packed = await compressZstd(incompressible(1_000_000), 3);
    const open: OpenBytes = async function* () {
      yield packed.subarray(0, 500_000);
      throw failure;
    };
    await expect(all(pool.decompressing(open, options)())).rejects.toBe(failure);
  });

  test('stops when it is aborted, and when nobody wants more', async () => {
    await using pool = new WorkerPool(1);
    const packed = await compressZstd(incompressible(30_000_000), 3);
    let given = 0;
    let isLeft = false;
    const open: OpenBytes = async function* () {
      try {
        for (let at = 0; at < packed.length; at += 100_000) {
          yield packed.subarray(at, at + 100_000);
          given += 100_000;
        }
      } finally {
        isLeft = true;
      }
    };
    for await (const piece of pool.decompressing(open, options)()) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    expect(isLeft).toBe(true);
    expect(given).toBeLessThan(15_000_000);

    const controller = new AbortController();
    const reason = new Error('enough');
    const read = (async () => {
      for await (const piece of pool.decompressing(open, options)({ signal: controller.signal })) {
        expect(piece.length).toBeGreaterThan(0);
        controller.abort(reason);
      }
    })();
    await expect(read).rejects.toBe(reason);
  });
});

describe('compressing in a worker', () => {
  test('gives the same bytes whatever the pieces, with the size where it is told', async () => {
    await using pool = new WorkerPool(2);
    const text = Buffer.from(
      Array.from({ length: 100_000 }, (_, i) => `{"name":"package-${i % 977}","size":${i * 7}}`).join(),
    );
    const plain = Buffer.concat([text, incompressible(300_000)]);
    for (const size of [undefined, plain.length]) {
      const results = new Set<string>();
      for (const pieceBytes of [1000, 131_072, 1_000_000, plain.length]) {
        const compressed = await all(pool.compressing(inPieces(plain, pieceBytes)(), { level: 5, size }));
        results.add(sha256(compressed));
        expect(compressed[4]! & 0b100).toBe(0b100);
        const again = await all(pool.decompressing(openerOf(compressed), options)());
        expect(sha256(again)).toBe(sha256(plain));
      }
      expect(results.size).toBe(1);
    }
  });

  test('of nothing is a frame of nothing', async () => {
    await using pool = new WorkerPool(1);
    const compressed = await all(pool.compressing(openerOf(new Uint8Array())(), { level: 5 }));
    expect(compressed.length).toBeGreaterThan(0);
    expect(await all(pool.decompressing(openerOf(compressed), options)())).toHaveLength(0);
  });

  test('a wrong size is an error', async () => {
    await using pool = new WorkerPool(1);
    const read = all(pool.compressing(openerOf(Buffer.from('abc'))(), { level: 5, size: 4 }));
    await expect(read).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  test('many streams that feed each other need no thread each', async () => {
    await using pool = new WorkerPool(1);
    let bytes: Bytes = openerOf(incompressible(2_000_000))();
    for (let i = 0; i < 5; i += 1) {
      const packed = pool.compressing(bytes, { level: 1 });
      bytes = pool.decompressing(() => packed, options)();
    }
    expect(sha256(await all(bytes))).toBe(sha256(incompressible(2_000_000)));
  });
});
