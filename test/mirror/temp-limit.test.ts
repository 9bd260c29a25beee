import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { mirrorChannel } from '#ferry/mirror/mirror.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { condaPackage, tarBz2Package } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { failuresOf } from '../support/stores.js';
import { tempFolder } from '../support/temp.js';

const NOARCH = { build: '0', subdir: 'noarch', index: { noarch: 'generic' } } as const;

/** A folder whose archives are opened one after the other in a turn of their own, so that all that may overlap do. */
function watched(folder: string): { readonly source: ChannelSource; readonly peak: () => number } {
  const channel = new DirectoryChannel(folder);
  let now = 0;
  let peak = 0;
  const source: ChannelSource = {
    url: channel.url,
    subdirs: () => channel.subdirs(),
    openMetadata: (...args) => channel.openMetadata(...args),
    openArchive: async function* (...args) {
      now += 1;
      peak = Math.max(peak, now);
      await new Promise((resolve) => setImmediate(resolve));
      yield* channel.openArchive(...args);
      now -= 1;
    },
  };
  return { source, peak: () => peak };
}

test('archives wait for room; one larger than all of it goes alone, and twins go together', async () => {
  const folder = await tempFolder();
  const archives = ['a', 'b', 'c', 'd'].flatMap((name) => [
    condaPackage({ ...NOARCH, name, version: '1.0' }),
    tarBz2Package({ ...NOARCH, name, version: '1.0' }),
  ]);
  await writeChannel(folder, { noarch: archives });
  const mirror = async (tempLimitBytes: number | undefined): Promise<number> => {
    const { source, peak } = watched(folder);
    const destination = new ChannelStore(new MemoryRegistry(), 'c', schemaV0);
    const report = await mirrorChannel({ source, destination, tempLimitBytes });
    expect(failuresOf(report)).toEqual({});
    expect(report.subdirs[0]?.added).toBe(archives.length);
    return peak();
  };
  expect(await mirror(1)).toBe(1);
  expect(await mirror(undefined)).toBeGreaterThan(1);
});

test('without a limit, archives may take half of what is free', async () => {
  const { bavail, bsize } = await statfs(tmpdir());
  await using temp = await TempFolder.create();
  const share = temp.room.totalBytes / (bavail * bsize);
  expect(share).toBeGreaterThan(0.3);
  expect(share).toBeLessThan(0.7);
  await using small = await TempFolder.create(undefined, { limitBytes: 5 });
  expect(small.room.totalBytes).toBe(5);
});
