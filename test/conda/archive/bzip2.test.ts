import { decompressBzip2 } from '#ferry/conda/archive/bzip2.js';
import { isFerryError } from '#ferry/errors.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat, incompressible } from '../../../fixtures/build/bytes.mjs';
import { bzip2, bzip2BlockOffsets, flipBit } from '../../../fixtures/build/bzip2.mjs';
import { codeOf, inChunks } from './streams.js';

const text = new TextEncoder().encode('conda ferry carries packages. '.repeat(20));

/** Unpacks in chunks of `size`. */
async function unpack(packed: Uint8Array, size = 65536): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of decompressBzip2(inChunks(packed, size))) chunks.push(chunk);
  return concat(chunks);
}

/** Bytes whose block header, which lists the bytes in use, reads as these 48-bit numbers. */
function bytesSpelling(...magics: readonly string[]): Uint8Array {
  const values: number[] = [];
  Array.from(magics.join('')).forEach((digit, index) => {
    for (let bit = 0; bit < 4; bit++)
      if ((parseInt(digit, 16) & (8 >> bit)) !== 0) values.push(4 * index + bit);
  });
  return Uint8Array.from(values);
}

describe('decompressBzip2', () => {
  it('reads back what was packed, at every level and chunk size', async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 2000 }),
      fc
        .tuple(fc.integer({ min: 1, max: 250_000 }), fc.integer({ min: 1 }))
        .map(([n, seed]) => incompressible(n, seed)),
      fc
        .tuple(fc.uint8Array({ minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 100_000 }))
        .map(([unit, n]) => {
          return concat(Array.from({ length: n % 20_000 }, () => unit));
        }),
      fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 1_000_000 })).map(([byte, n]) => {
        return new Uint8Array(n).fill(byte);
      }),
    );
    const level = fc.constantFrom(1, 9);
    const chunk = fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 65, max: 100_000 }));
    await fc.assert(
      fc.asyncProperty(bytes, level, chunk, async (original, blockSize, size) => {
        expect(Buffer.compare(await unpack(bzip2(original, blockSize), size), original)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('does not mind where a file of several blocks is cut into chunks', async () => {
    const original = concat([
      incompressible(150_000),
      text,
      new Uint8Array(400_000),
      incompressible(120_000, 7),
    ]);
    const packed = bzip2(original, 1);
    for (const size of [1, 2, 3, 5, 7, 11, 13, 64, 4095, 65537, packed.byteLength]) {
      expect(Buffer.compare(await unpack(packed, size), original), `chunks of ${size}`).toBe(0);
    }
  });

  it('unpacks blocks that expand fiftyfold', async () => {
    const original = [{ zeros: 50_000_000 }, text];
    let size = 0;
    let last = new Uint8Array();
    for await (const chunk of decompressBzip2(inChunks(bzip2(original), 4096))) {
      expect(chunk.byteLength).toBeLessThanOrEqual(256 * 1024);
      size += chunk.byteLength;
      last = chunk;
    }
    expect(size).toBe(50_000_000 + text.byteLength);
    expect(last.subarray(-text.byteLength)).toEqual(text);
    // The decoder, which had to grow, still does small blocks.
    expect(await unpack(bzip2(text))).toEqual(text);
  });

  it('reads streams in a row, empty ones too, and ignores what is no stream behind them', async () => {
    const empty = bzip2(new Uint8Array());
    const packed = concat([empty, bzip2(text, 1), empty, bzip2(text, 9), empty]);
    expect(await unpack(packed)).toEqual(concat([text, text]));
    expect(await unpack(concat([packed, new Uint8Array(512)]))).toEqual(concat([text, text]));
    expect(await unpack(empty)).toHaveLength(0);
  });

  it('gets past block and end marks inside of a block', async () => {
    const original = bytesSpelling(
      '314159265359',
      '177245385090',
      '314159265359',
      '177245385090',
      '314159265359',
    );
    expect(bzip2BlockOffsets(bzip2(original))).toHaveLength(4);
    for (const size of [1, 1000]) expect(await unpack(bzip2(original), size)).toEqual(original);
  });

  it('tells every cut', async () => {
    const packed = bzip2(text, 1);
    for (let length = 0; length < packed.byteLength; length++) {
      const code = await codeOf(unpack(packed.subarray(0, length), 16));
      expect(code, `cut to ${length}`).toBe(length === 0 ? 'ARCHIVE_EMPTY' : 'ARCHIVE_TRUNCATED');
    }
    const second = concat([packed, packed.subarray(0, 2)]);
    expect(await codeOf(unpack(second))).toBe('ARCHIVE_TRUNCATED');
  });

  it('tells every flipped bit', async () => {
    const packed = bzip2(text.subarray(0, 60), 1);
    let undone = 0;
    for (let bit = 0; bit < 8 * packed.byteLength; bit++) {
      try {
        expect(await unpack(flipBit(packed, bit))).toEqual(text.subarray(0, 60));
        undone++;
      } catch (error) {
        expect(isFerryError(error), `bit ${bit}: ${String(error)}`).toBe(true);
      }
    }
    // Bits that mean nothing: of the level where it still suffices, of padding, of Huffman tables not in use.
    expect(undone).toBeLessThan(30);
  });

  it('tells wrong checksums and what is no bzip2', async () => {
    const packed = bzip2(text);
    const noPadding = packed.map((byte, index) => (index === packed.byteLength - 2 ? byte ^ 1 : byte));
    expect(await codeOf(unpack(noPadding))).toBe('ARCHIVE_CORRUPT');
    expect(await codeOf(unpack(text))).toBe('ARCHIVE_NOT_CONDA');
    expect(await codeOf(unpack(concat([packed.subarray(0, 4), text])))).toBe('ARCHIVE_CORRUPT');
    const endless = concat([packed.subarray(0, 30), incompressible(3_000_000)]);
    expect(await codeOf(unpack(endless))).toBe('ARCHIVE_CORRUPT');
  });

  it('lets the source go when the reader stops', async () => {
    let closed = false;
    async function* source() {
      try {
        for (;;) yield bzip2(text);
      } finally {
        closed = true;
      }
    }
    for await (const chunk of decompressBzip2(source())) {
      expect(chunk).toEqual(text);
      break;
    }
    expect(closed).toBe(true);
    const both = await Promise.all([unpack(bzip2(text), 3), unpack(bzip2(incompressible(1000)), 3)]);
    expect(both).toEqual([text, incompressible(1000)]);
  });
});
