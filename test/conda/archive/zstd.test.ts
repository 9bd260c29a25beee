import { decompressZstd } from '#ferry/conda/archive/zstd.js';
import { isFerryError } from '#ferry/errors.js';
import { describe, expect, it } from 'vitest';
import { concat, flip, incompressible } from '../../../fixtures/build/bytes.mjs';
import { zstd } from '../../../fixtures/build/zstd.mjs';
import { codeOf, inChunks } from './streams.js';

const text = new TextEncoder().encode('conda ferry carries packages. '.repeat(50));
const noise = incompressible(150_000);

async function unpack(packed: Uint8Array, size = 65536): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of decompressZstd(inChunks(packed, size), 'the test')) chunks.push(chunk);
  return concat(chunks);
}

/** A skippable frame. */
function skippable(length: number): Uint8Array {
  return concat([Uint8Array.of(0x5a, 0x2a, 0x4d, 0x18, length, 0, 0, 0), new Uint8Array(length)]);
}

describe('decompressZstd', () => {
  it('reads frames of all kinds in a row, in chunks of any size', async () => {
    const packed = concat([
      zstd(text, { checksum: true }),
      skippable(5),
      zstd(noise, { contentSize: true, level: 1 }),
      zstd(new Uint8Array()),
      zstd(text, { contentSize: true }),
      skippable(0),
    ]);
    const original = concat([text, noise, text]);
    for (const size of [1, 2, 7, 17, 18, 19, 1000, packed.byteLength]) {
      expect(Buffer.compare(await unpack(packed, size), original), `chunks of ${size}`).toBe(0);
    }
    expect(await unpack(zstd(new Uint8Array(3_000_000)))).toHaveLength(3_000_000);
  });

  it('tells every cut', async () => {
    const packed = concat([zstd(text, { checksum: true }), skippable(3), zstd(text)]);
    const whole = new Set([
      zstd(text, { checksum: true }).byteLength,
      packed.byteLength - zstd(text).byteLength,
    ]);
    for (let length = 0; length < packed.byteLength; length++) {
      const code = await codeOf(unpack(packed.subarray(0, length), 9));
      expect(code, `cut to ${length}`).toBe(whole.has(length) ? 'no error' : 'ARCHIVE_TRUNCATED');
    }
  });

  it('tells flipped bytes', async () => {
    const packed = zstd(text, { checksum: true });
    for (let offset = 0; offset < packed.byteLength; offset++) {
      const error: unknown = await unpack(flip(packed, offset)).catch((reason: unknown) => reason);
      expect(isFerryError(error), `byte ${offset}: ${String(error)}`).toBe(true);
    }
  });

  it('tells what is no zstd, in the beginning and behind a frame', async () => {
    expect(await codeOf(unpack(text))).toBe('ARCHIVE_NOT_CONDA');
    expect(await codeOf(unpack(concat([zstd(text), text])))).toBe('ARCHIVE_CORRUPT');
  });

  it('refuses a window that would take too much memory', async () => {
    const window = (log: number): Uint8Array =>
      Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 0x01, 0, 0);
    expect(await codeOf(unpack(window(27)))).toBe('no error');
    expect(await codeOf(unpack(window(28)))).toBe('ARCHIVE_LIMIT_EXCEEDED');
    const segment = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 1, 0, 0, 0, 0x01, 0, 0);
    expect(await codeOf(unpack(segment))).toBe('ARCHIVE_LIMIT_EXCEEDED');
  });
});
