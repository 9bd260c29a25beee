/** Parts of repodata, sorted into buckets that lie in one temporary file; what fits into memory never gets there. */
import { open, rm, type FileHandle } from 'node:fs/promises';
import { IntegrityError } from '../../errors.js';
import { translateDiskError, writeFully } from '../../io/atomic-file.js';

/** All buckets together wait with so much before they are written. */
const WAITING_BYTES = 8 * 1024 * 1024;
const MAX_BLOCK_BYTES = 64 * 1024;
/** One bucket is read at a time, and whole; only one package of that size can fill it. */
const MAX_BUCKET_BYTES = 64 * 1024 * 1024;
/** Kind, round, and the lengths of extension, key and value. */
const HEAD_BYTES = 17;

/** What a part of repodata says: a record of one of three sections, or the name of a removed file. */
export type PartKind = 'packages' | 'packages.conda' | 'v3' | 'removed';

const KINDS: readonly PartKind[] = ['packages', 'packages.conda', 'v3', 'removed'];

/** Some bytes of a larger piece. */
export interface Slice {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Nothing. */
export const NO_SLICE: Slice = { bytes: new Uint8Array(), start: 0, end: 0 };

/** A part of repodata, its texts as JSON has them, with their quotes. */
export interface RepodataPart {
  readonly kind: PartKind;
  /** Which one of the sections of that name it stands in, where the text has several. */
  readonly round: number;
  /** Within `v3`. */
  readonly extension: Slice;
  readonly key: Slice;
  /** Empty for `removed`. */
  readonly value: Slice;
}

interface Bucket {
  block: Uint8Array;
  used: number;
  /** Where its blocks lie in the file. */
  readonly offsets: number[];
  readonly lengths: number[];
}

/** Takes parts in any order, and gives those of one bucket in the order they came. Disposing removes the file. */
export class RecordBuckets implements AsyncDisposable {
  readonly #path: string;
  readonly #blockBytes: number;
  readonly #buckets: readonly Bucket[];
  #full: { readonly bucket: Bucket; readonly block: Uint8Array; readonly used: number }[] = [];
  /** Blocks that were written and can be filled again. */
  readonly #free: Uint8Array[] = [];
  #file: FileHandle | undefined;
  #fileSize = 0;
  /** For all buckets, one after the other. */
  #content = new Uint8Array();

  /** @param path of the file, which must not be there */
  constructor(path: string, count: number) {
    this.#path = path;
    this.#blockBytes = Math.min(MAX_BLOCK_BYTES, Math.ceil(WAITING_BYTES / count));
    this.#buckets = Array.from({ length: count }, () => ({
      block: new Uint8Array(),
      used: 0,
      offsets: [],
      lengths: [],
    }));
  }

  /** How many buckets there are. */
  get count(): number {
    return this.#buckets.length;
  }

  /** Copies a part into a bucket. {@link write} is to be called after some of them. */
  add(index: number, part: RepodataPart): void {
    const bucket = this.#buckets[index] as Bucket;
    const { extension, key, value } = part;
    const texts = [extension, key, value];
    const size = texts.reduce((sum, { start, end }) => sum + end - start, HEAD_BYTES);
    if (bucket.used + size > bucket.block.byteLength) this.#nextBlock(bucket, size);
    const { block } = bucket;
    const view = new DataView(block.buffer, block.byteOffset + bucket.used);
    view.setUint8(0, KINDS.indexOf(part.kind));
    view.setUint32(1, part.round);
    let at = bucket.used + HEAD_BYTES;
    for (const [i, { bytes, start, end }] of texts.entries()) {
      view.setUint32(5 + 4 * i, end - start);
      block.set(bytes.subarray(start, end), at);
      at += end - start;
    }
    bucket.used = at;
  }

  /** Writes what is full. @throws FerryError `DISK_FULL` */
  async write(): Promise<void> {
    const full = this.#full;
    this.#full = [];
    try {
      for (const { bucket, block, used } of full) {
        this.#file ??= await open(this.#path, 'wx+', 0o600);
        await writeFully(this.#file, block.subarray(0, used), this.#fileSize);
        bucket.offsets.push(this.#fileSize);
        bucket.lengths.push(used);
        this.#fileSize += used;
        if (block.byteLength === this.#blockBytes) this.#free.push(block);
      }
    } catch (error) {
      throw translateDiskError(error, this.#path);
    }
  }

  /**
   * Reads a bucket; its parts are good until the next one is read.
   * @throws IntegrityError `SIZE_EXCEEDED` above 64 MiB
   */
  async read(index: number): Promise<readonly RepodataPart[]> {
    await this.write();
    const bucket = this.#buckets[index] as Bucket;
    const size = bucket.lengths.reduce((sum, length) => sum + length, bucket.used);
    if (size > MAX_BUCKET_BYTES) {
      throw new IntegrityError(
        'SIZE_EXCEEDED',
        'what the repodata says of a package',
        MAX_BUCKET_BYTES,
        size,
      );
    }
    if (size > this.#content.byteLength) this.#content = new Uint8Array(size);
    const content = this.#content;
    let at = 0;
    for (const [i, offset] of bucket.offsets.entries()) {
      const length = bucket.lengths[i] ?? 0;
      await this.#readFully(content.subarray(at, at + length), offset);
      at += length;
    }
    content.set(bucket.block.subarray(0, bucket.used), at);
    return partsIn(content.subarray(0, size));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#file === undefined) return;
    await this.#file.close();
    await rm(this.#path, { force: true });
  }

  #nextBlock(bucket: Bucket, size: number): void {
    if (bucket.used > 0) this.#full.push({ bucket, block: bucket.block, used: bucket.used });
    // A part that is larger than a block has one of its own.
    const isUsual = size <= this.#blockBytes;
    const block = isUsual ? this.#free.pop() : undefined;
    bucket.block = block ?? new Uint8Array(isUsual ? this.#blockBytes : size);
    bucket.used = 0;
  }

  async #readFully(target: Uint8Array, position: number): Promise<void> {
    let done = 0;
    while (done < target.byteLength) {
      const read = await this.#file?.read(target, done, target.byteLength - done, position + done);
      const count = read?.bytesRead ?? 0;
      if (count === 0) throw new Error('somebody cut the file of the buckets');
      done += count;
    }
  }
}

function partsIn(bytes: Uint8Array): readonly RepodataPart[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: RepodataPart[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const extensionStart = at + HEAD_BYTES;
    const keyStart = extensionStart + view.getUint32(at + 5);
    const valueStart = keyStart + view.getUint32(at + 9);
    const end = valueStart + view.getUint32(at + 13);
    parts.push({
      kind: KINDS[view.getUint8(at)] as PartKind,
      round: view.getUint32(at + 1),
      extension: { bytes, start: extensionStart, end: keyStart },
      key: { bytes, start: keyStart, end: valueStart },
      value: { bytes, start: valueStart, end },
    });
    at = end;
  }
  return parts;
}
