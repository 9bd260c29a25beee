import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { openSummer } from '#ferry/io/sums.js';
import { incompressible } from '../../fixtures/build/bytes.mjs';

const MIB = 1024 * 1024;

test.each([
  ['here', 1000],
  ['in a thread', 100 * MIB],
])('bytes are summed up %s, however they are cut', async (_, expectedBytes) => {
  const bytes = incompressible(9 * MIB + 17, 3);
  for (const pieceBytes of [64 * 1024, MIB, 3 * MIB + 1, bytes.byteLength]) {
    await using summer = openSummer(expectedBytes);
    for (let start = 0; start < bytes.byteLength; start += pieceBytes) {
      const piece = bytes.slice(start, start + pieceBytes);
      const busy = summer.update(piece);
      if (busy !== undefined) await busy;
      // From here on the piece is somebody else's.
      piece.fill(0);
    }
    expect(await summer.finish()).toEqual({
      sha256: createHash('sha256').update(bytes).digest('hex'),
      md5: createHash('md5').update(bytes).digest('hex'),
    });
  }
});

test('no bytes have sums too, and a thread may be left at any time', async () => {
  {
    await using left = openSummer(100 * MIB);
    await left.update(incompressible(MIB + 1, 1));
  }
  await using summer = openSummer(100 * MIB);
  expect((await summer.finish()).md5).toBe('d41d8cd98f00b204e9800998ecf8427e');
});
