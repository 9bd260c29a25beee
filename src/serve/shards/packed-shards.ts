import { digestOf } from '../../io/digest.js';
import type { OpenedBytes } from '../../io/opened-bytes.js';
import { openedMemory } from '../../io/opened-memory.js';
import { SingleFlight, untilAborted } from '../../io/single-flight.js';
import { checkBytes } from '../../io/verify.js';
import { decompressZstd } from '../../io/zstd.js';
import { memoryContent } from '../cache/memory-contents.js';
import type { PackageListing, ShardSet } from '../channels/served-channel.js';
import type { Content } from '../content.js';
import { PackRows, type PackedBytes, type PackTable } from './pack-table.js';
import { parseListing } from './package-listing.js';

/** Text of the listings that are kept; as values they take some four times as much. */
const KEPT_TEXT_BYTES = 4 * 1024 * 1024;
/** As large as a bucket of the repodata may be, and what joins its parts. */
const MAX_LISTING_BYTES = 128 * 1024 * 1024;

interface KeptListing {
  readonly listing: PackageListing;
  readonly textBytes: number;
}

/**
 * Shards in one file: each is read when it is asked for, and checked. In memory are the index, what lies where, and the
 * listings that were asked for last.
 */
export class PackedShards implements ShardSet {
  readonly index: Content | undefined;
  readonly #table: PackTable;
  readonly #rows: PackRows;
  readonly #openPack: () => Promise<OpenedBytes>;
  /** By name, the one that was asked for last at the end. */
  readonly #kept = new Map<string, KeptListing>();
  #keptBytes = 0;
  readonly #reading = new SingleFlight<PackageListing>();

  /** @param openPack opens the pack, wherever it lies; fails with `NOT_FOUND` once it is gone */
  constructor(table: PackTable, openPack: () => Promise<OpenedBytes>) {
    this.#table = table;
    this.#rows = new PackRows(table);
    this.#openPack = openPack;
    this.index = table.index === undefined ? undefined : memoryContent(digestOf(table.index), table.index);
  }

  get names(): readonly string[] {
    return this.#table.names;
  }

  get recordCount(): number {
    return this.#table.recordCount;
  }

  shard(digest: string): Content | undefined {
    if (this.index === undefined || !/^[0-9a-f]{64}$/.test(digest)) return undefined;
    const packed = this.#rows.findShard(Buffer.from(digest, 'hex'));
    if (packed === undefined) return undefined;
    const what = `shard \`${digest}\` of \`${this.#table.subdir}\``;
    return {
      digest: packed.digest,
      size: packed.size,
      open: async () => openedMemory(await this.#read(packed, what)),
    };
  }

  async listing(
    name: string,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<PackageListing | undefined> {
    signal?.throwIfAborted();
    const kept = this.#kept.get(name);
    if (kept !== undefined) {
      this.#kept.delete(name);
      this.#kept.set(name, kept);
      return kept.listing;
    }
    const packed = this.#rows.find(name)?.listing;
    if (packed === undefined) return undefined;
    // Nobody's abort ends what others wait for.
    return untilAborted(
      this.#reading.do(name, () => this.#readListing(name, packed)),
      signal,
    );
  }

  async #readListing(name: string, packed: PackedBytes): Promise<PackageListing> {
    const { subdir, baseUrl } = this.#table;
    const what = `the listing of \`${name}\` in \`${subdir}\``;
    const text = await decompressZstd(await this.#read(packed, what), MAX_LISTING_BYTES, what);
    const listing = parseListing(text, { name, subdir, baseUrl });
    this.#keep(name, { listing, textBytes: text.byteLength });
    return listing;
  }

  #keep(name: string, kept: KeptListing): void {
    if (kept.textBytes > KEPT_TEXT_BYTES) return;
    this.#kept.set(name, kept);
    this.#keptBytes += kept.textBytes;
    for (const [oldest, { textBytes }] of this.#kept) {
      if (this.#keptBytes <= KEPT_TEXT_BYTES) return;
      this.#kept.delete(oldest);
      this.#keptBytes -= textBytes;
    }
  }

  /** Shards are small: what is read is checked each time, so that no wrong byte leaves, whatever became of the file. */
  async #read({ digest, offset, size }: PackedBytes, what: string): Promise<Uint8Array> {
    await using pack = await this.#openPack();
    const bytes = new Uint8Array(size);
    let done = 0;
    while (done < size) {
      const count = await pack.read(bytes.subarray(done), offset + done);
      if (count === 0) break;
      done += count;
    }
    checkBytes(bytes.subarray(0, done), { digest, size }, what);
    return bytes;
  }
}
