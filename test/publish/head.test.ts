import { expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { NOTHING_MERGED } from '#ferry/artifact/merge-mark.js';
import { findMetadata } from '#ferry/artifact/metadata-artifact.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { isFerryError } from '#ferry/errors.js';
import { collect } from '#ferry/io/bytes.js';
import { digestOf } from '#ferry/io/digest.js';
import { decompressZstd } from '#ferry/io/zstd.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { readHead, writeHead } from '#ferry/publish/head.js';
import { Listing } from '#ferry/publish/listing.js';
import { rejection } from '../contracts/artifacts.js';
import { workers } from '../support/workers.js';

/** Some bytes; some megabytes, which go through threads and buffers that grow. */
const SIZES = [3, 30_000];

function listingOf(records: number): Listing {
  const listing = Listing.empty('noarch').edit();
  for (let i = 0; i < records; i += 1) {
    const extension = i % 3 === 0 ? 'tar.bz2' : 'conda';
    listing.set(`name-${i}-1.0-0.${extension}`, { name: `name-${i}`, note: 'ü'.repeat(i % 90), i });
  }
  return listing;
}

test.each(SIZES.flatMap((records) => [true, false].map((plain) => ({ records, plain }))))(
  'a head of $records records is read as it was written; with the plain form: $plain',
  async ({ records, plain }) => {
    const store = new ChannelStore(new MemoryRegistry(), 'org/channel', schemaV0);
    const listing = listingOf(records);
    const text = listing.write();
    const mark = { ...NOTHING_MERGED, epoch: 7 };
    const absent = await readHead('noarch', { store, workers, sleep: () => Promise.resolve() });
    expect([absent.digest, absent.listing.recordCount]).toEqual([undefined, 0]);
    const written = await writeHead('noarch', { listing, mark }, { store, workers, plain });
    const fresh = new ChannelStore(store.registry, 'org/channel', schemaV0);
    const head = await readHead('noarch', { store: fresh, workers });
    expect(head).toMatchObject({ digest: written.digest, hasPlain: plain, mark });
    expect(Buffer.from(head.listing.write()).equals(text)).toBe(true);
    expect(await readHead('noarch', { store: fresh, workers }, head)).toBe(head);

    const found = await findMetadata(store, 'noarch', 'repodata.json');
    const zst = found?.layers.at(-1);
    if (found === undefined || zst === undefined) throw new Error('nothing was written');
    expect(found.layers).toHaveLength(plain ? 2 : 1);
    if (plain) expect(found.layers[0]).toMatchObject({ digest: digestOf(text), size: text.byteLength });
    const compressed = await collect(found.repository.fetch(zst), zst.size, 'zst');
    expect(Buffer.from(await decompressZstd(compressed, text.byteLength, 'zst')).equals(text)).toBe(true);
    // Clients that unpack at one go ask for the size in the frame's header.
    expect((compressed[4] ?? 0) & 0b1110_0000).not.toBe(0);
  },
);

test('a listing is written in blocks, whatever its records are like', () => {
  const listing = listingOf(5_000);
  listing.set('long-1.0-0.conda', { text: 'x'.repeat(700_000) });
  const blocks = [...listing.blocks()];
  expect(blocks.length).toBeGreaterThan(3);
  expect(Buffer.concat(blocks).equals(listing.write())).toBe(true);
  expect(JSON.parse(Buffer.concat(blocks).toString())).toHaveProperty(['packages.conda', 'long-1.0-0.conda']);
  // It may be written again, from anywhere in between.
  expect(Buffer.concat([...listing.blocks()]).equals(Buffer.concat(blocks))).toBe(true);
});

test('what somebody else has written since is not overwritten', async () => {
  const registry = new MemoryRegistry();
  const [one, other] = [0, 1].map(() => new ChannelStore(registry, 'org/channel', schemaV0));
  if (one === undefined || other === undefined) throw new Error('no stores');
  const sleep = (): Promise<void> => Promise.resolve();
  const head = await readHead('noarch', { store: one, workers, sleep });
  const state = { listing: listingOf(1), mark: NOTHING_MERGED };
  await readHead('noarch', { store: other, workers, sleep });
  const theirs = await writeHead('noarch', state, { store: other, workers, plain: true });
  const late = { ...state, listing: listingOf(2) };
  const error = await rejection(writeHead('noarch', late, { store: one, workers, plain: true }));
  expect(isFerryError(error, 'TAG_MOVED')).toBe(true);
  expect((await readHead('noarch', { store: one, workers }, head)).digest).toBe(theirs.digest);
});
