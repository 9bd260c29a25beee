/**
 * What is known of a pack of shards: which bytes of it are whose. Some hundred bytes for a package, in one piece of memory, so
 * that a channel of 25,000 names has two megabytes of it.
 */
import type { FerryErrorCode } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { sha256Digest, type Digest } from '../../io/digest.js';

const DIGEST_BYTES = 32;
// A row: digests of shard and listing, where the two lie one after the other, and their lengths.
const LISTING_DIGEST_AT = DIGEST_BYTES;
const OFFSET_AT = 2 * DIGEST_BYTES;
const SHARD_LENGTH_AT = OFFSET_AT + 8;
const LISTING_LENGTH_AT = SHARD_LENGTH_AT + 4;
/** Bytes of a row. */
export const ROW_BYTES = LISTING_LENGTH_AT + 4;

/** Why there are no shards. */
export interface ShardFault {
  /** Such as `SIZE_EXCEEDED`. */
  readonly code: FerryErrorCode;
  readonly message: string;
}

/** Plain data that says what a pack holds; the worker that makes it sends it so. */
export interface PackTable {
  readonly subdir: string;
  /** The bytes of `repodata_shards.msgpack.zst`; `undefined` where {@link fault} says why there is none. */
  readonly index: Uint8Array | undefined;
  /** What keeps some package from being a shard that clients read. Listings are there all the same. */
  readonly fault: ShardFault | undefined;
  /** All package names, sorted. */
  readonly names: readonly string[];
  /** A row for each name, in the same order. */
  readonly rows: Uint8Array;
  /** How many archives are listed. */
  readonly recordCount: number;
  /** `info.base_url` of the repodata, which no shard has. @see CEP 15 */
  readonly baseUrl: string | undefined;
  /**
   * Whether the repodata would lead clients elsewhere: for `info.base_url`, a record's `url` or `info.channel_relations`. Then
   * the shards hold less.
   */
  readonly leadsElsewhere: boolean;
  /** Of the pack. */
  readonly digest: Digest;
  /** Of the pack, in bytes. */
  readonly size: number;
}

/** Some bytes of the pack. */
export interface PackedBytes {
  readonly digest: Digest;
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
}

/** What the pack holds of a package. */
export interface PackRow {
  /** The shard as clients get it; `undefined` where there is none. */
  readonly shard: PackedBytes | undefined;
  /** All that the repodata says, for the gateway itself: JSON, compressed. */
  readonly listing: PackedBytes;
}

/** Collects rows. */
export class PackTableBuilder {
  readonly #names: string[] = [];
  #rows = new Uint8Array(1024 * ROW_BYTES);

  /** Adds a package whose shard lies at `offset`, its listing behind that. */
  add(
    name: string,
    offset: number,
    shard: { readonly digest: Uint8Array; readonly size: number } | undefined,
    listing: { readonly digest: Uint8Array; readonly size: number },
  ): void {
    const at = this.#names.length * ROW_BYTES;
    if (at === this.#rows.byteLength) {
      const larger = new Uint8Array(2 * at);
      larger.set(this.#rows);
      this.#rows = larger;
    }
    this.#names.push(name);
    const view = new DataView(this.#rows.buffer, at);
    if (shard !== undefined) this.#rows.set(shard.digest, at);
    this.#rows.set(listing.digest, at + LISTING_DIGEST_AT);
    view.setFloat64(OFFSET_AT, offset);
    view.setUint32(SHARD_LENGTH_AT, shard?.size ?? 0);
    view.setUint32(LISTING_LENGTH_AT, listing.size);
  }

  /** Names with their rows, sorted. */
  finish(): Pick<PackTable, 'names' | 'rows'> {
    const names = this.#names;
    const order = Array.from(names.keys()).sort((a, b) => compareText(names[a] ?? '', names[b] ?? ''));
    const rows = new Uint8Array(names.length * ROW_BYTES);
    for (const [i, from] of order.entries())
      rows.set(this.#rows.subarray(from * ROW_BYTES, (from + 1) * ROW_BYTES), i * ROW_BYTES);
    return { names: order.map((from) => names[from] ?? ''), rows };
  }
}

/** Finds rows. */
export class PackRows {
  readonly #names: readonly string[];
  readonly #rows: Uint8Array;
  readonly #view: DataView;
  /** Rows by the digests of their shards, so that one is found without a table of texts. */
  readonly #byDigest: Uint32Array;

  constructor({ names, rows }: Pick<PackTable, 'names' | 'rows'>) {
    this.#names = names;
    this.#rows = rows;
    this.#view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    this.#byDigest = Uint32Array.from(names.keys()).sort((a, b) =>
      Buffer.compare(this.#digest(a, 0), this.#digest(b, 0)),
    );
  }

  /** What there is of a package. */
  find(name: string): PackRow | undefined {
    const row = search(this.#names.length, (i) => compareText(this.#names[i] ?? '', name));
    return row === undefined ? undefined : this.#row(row);
  }

  /** The shard of that digest. */
  findShard(digest: Uint8Array): PackedBytes | undefined {
    const order = this.#byDigest;
    const at = search(order.length, (i) => Buffer.compare(this.#digest(order[i] ?? 0, 0), digest));
    // Names without a shard have zeros there, which are no digest of anything.
    return at === undefined ? undefined : this.#row(order[at] ?? 0).shard;
  }

  /** All of them, in the order of their names. */
  *all(): Generator<PackRow, void> {
    for (const row of this.#names.keys()) yield this.#row(row);
  }

  #row(row: number): PackRow {
    const at = row * ROW_BYTES;
    const offset = this.#view.getFloat64(at + OFFSET_AT);
    const shardSize = this.#view.getUint32(at + SHARD_LENGTH_AT);
    return {
      shard: shardSize === 0 ? undefined : { digest: this.#digestText(row, 0), offset, size: shardSize },
      listing: {
        digest: this.#digestText(row, LISTING_DIGEST_AT),
        offset: offset + shardSize,
        size: this.#view.getUint32(at + LISTING_LENGTH_AT),
      },
    };
  }

  #digest(row: number, at: number): Uint8Array {
    const start = row * ROW_BYTES + at;
    return this.#rows.subarray(start, start + DIGEST_BYTES);
  }

  #digestText(row: number, at: number): Digest {
    return sha256Digest(Buffer.from(this.#digest(row, at)).toString('hex'));
  }
}

/** Index at which `compare` says 0, by halving. */
function search(count: number, compare: (index: number) => number): number | undefined {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compare(middle);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return undefined;
}
