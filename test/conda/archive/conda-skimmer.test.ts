import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openArchiveFile } from '#ferry/conda/archive/archive-file.js';
import { CondaSkimmer, type SkimmedConda } from '#ferry/conda/archive/conda-skimmer.js';
import { readInfo } from '#ferry/conda/archive/read-info.js';
import { condaArchive, type CondaOptions } from '../../../fixtures/build/archive.mjs';
import { incompressible } from '../../../fixtures/build/bytes.mjs';

function archive(payloadBytes: number, zip: CondaOptions = {}): Uint8Array {
  const payloadFiles = { 'share/noise': incompressible(payloadBytes, 1) };
  return condaArchive({
    name: 'a',
    version: '1',
    build: '0',
    subdir: 'noarch',
    payloadFiles,
    zip: { level: 1, ...zip },
  });
}

function skim(
  bytes: Uint8Array,
  cuts: readonly number[] = [],
  size = bytes.byteLength,
): SkimmedConda | undefined {
  const skimmer = new CondaSkimmer(size);
  let start = 0;
  for (const cut of [...cuts.toSorted((a, b) => a - b), bytes.byteLength]) {
    // The skimmer may not keep the piece itself.
    const piece = bytes.slice(start, cut);
    skimmer.take(piece);
    piece.fill(0xee);
    start = cut;
  }
  return skimmer.finish();
}

const large = archive(400_000);
const zip64 = archive(400_000, { zip64: true });
const infoFirst = archive(400_000, { entries: ([metadata, pkg, info]) => [info!, metadata!, pkg!] });

test.each([
  ['as they are written', large],
  ['with ZIP64', zip64],
  ['with the info first', infoFirst],
])('of an archive %s little is kept, and the same is read from that', async (_, bytes) => {
  const skimmed = skim(bytes);
  expect(skimmed?.bytes.byteLength).toBeLessThan(140 * 1024);
  expect((skimmed?.bytes.byteLength ?? 0) + (skimmed?.hole.size ?? 0)).toBe(bytes.byteLength);
  const whole = await readInfo({ bytes }, 'conda');
  expect(await readInfo(skimmed!, 'conda')).toEqual(whole);
});

test('where the pieces are cut makes no difference', () => {
  const expected = new Map([large, zip64, infoFirst].map((bytes) => [bytes, skim(bytes)]));
  fc.assert(
    fc.property(
      fc.constantFrom(large, zip64, infoFirst),
      fc.array(fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 400_000 })), {
        maxLength: 30,
      }),
      (bytes, cuts) => {
        const found = skim(bytes, cuts);
        expect(found?.hole).toEqual(expected.get(bytes)?.hole);
        expect(Buffer.from(found?.bytes ?? []).equals(expected.get(bytes)?.bytes ?? Buffer.alloc(1))).toBe(
          true,
        );
      },
    ),
    { numRuns: 50 },
  );
});

test.each([
  ['its sizes follow the content', archive(400_000, { dataDescriptor: true })],
  ['it is no zip', Buffer.alloc(400_000, 'no zip ')],
  ['its payload is small', archive(1000)],
  [
    'it has no payload',
    archive(400_000, { entries: (entries) => entries.filter(({ name }) => !name.startsWith('pkg')) }),
  ],
  ['it is cut', large.subarray(0, 20)],
])('nothing is kept of an archive where %s', (_, bytes) => {
  expect(skim(bytes)).toBeUndefined();
});

test('what is more than a few megabytes is not kept', () => {
  const bytes = archive(9 * 1024 * 1024, {
    entries: ([metadata, pkg, info]) => [
      metadata!,
      { ...pkg!, name: 'other' },
      { ...pkg!, bytes: pkg!.bytes.subarray(0, 300_000) },
      info!,
    ],
  });
  expect(skim(bytes)).toBeUndefined();
});

test('what is in the hole cannot be read', async () => {
  await using file = await openArchiveFile({ bytes: Buffer.from('abcxyz'), hole: { start: 3, size: 10 } });
  const read = async (start: number, end: number) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of file.chunks(start, end)) chunks.push(new Uint8Array(chunk));
    return Buffer.concat(chunks).toString();
  };
  expect(file.size).toBe(16);
  expect(await read(0, 3)).toBe('abc');
  expect(await read(13, 16)).toBe('xyz');
  expect(await read(14, 99)).toBe('yz');
  for (const [start, end] of [
    [0, 4],
    [3, 4],
    [12, 14],
    [0, 16],
  ] as const)
    await expect(read(start, end)).rejects.toThrow('not at hand');
});
