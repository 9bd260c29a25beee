import { FerryError } from '../../errors.js';
import { BitReader } from './bit-reader.js';
import {
  borrowBlockDecoder,
  MAX_BLOCK_BYTES,
  releaseBlockDecoder,
  type BlockDecoder,
} from './bzip2-block.js';
import { findMark, MAGIC_BITS, markAt, readUint32, type Bzip2Mark } from './bzip2-scan.js';

/**
 * bzip2 as a stream. libbzip2 is at hand for whole buffers only, so the stream is cut at the magic numbers that begin
 * its blocks, and each block is unpacked as a small stream of its own. Memory: a packed block, and an unpacked one.
 */

/**
 * Marks inside a block's data that a block may get past: they come by chance once in 2^48 bits. More are only made on
 * purpose, and each costs an attempt.
 */
const MAX_FALSE_MARKS = 8;

/** Handed on at once. A block may unpack to 46 MB. */
const OUTPUT_BYTES = 256 * 1024;

/** `BZh` and a digit for the block size. */
const HEADER_BITS = 32;

const CRC_BITS = 32;

/**
 * Unpacks bzip2: one stream or several in a row, each block and each stream checked against its CRC. As in `bzip2` and
 * Python, what follows a whole stream without being a stream header is ignored. Chunks are the caller's to keep.
 * @throws FerryError `ARCHIVE_EMPTY`, `ARCHIVE_NOT_CONDA` (no bzip2), `ARCHIVE_TRUNCATED`, `ARCHIVE_CORRUPT`
 */
export async function* decompressBzip2(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const reader = new BitReader(source);
  const decoder = borrowBlockDecoder();
  try {
    let level = await readHeader(reader, true);
    while (level !== undefined) {
      yield* readStream(reader, decoder, level);
      level = await readHeader(reader, false);
    }
  } finally {
    releaseBlockDecoder(decoder);
    await reader.close();
  }
}

/** Reads `BZh1` … `BZh9`. Returns undefined where no further stream follows. */
async function readHeader(reader: BitReader, first: boolean): Promise<number | undefined> {
  const whole = await reader.need(HEADER_BITS);
  const start = reader.position >>> 3;
  const [b, z, h, digit] = reader.bytes.subarray(start, Math.min(start + 4, reader.length));
  if (b === undefined && first) throw new FerryError('ARCHIVE_EMPTY', 'the archive has no bytes');
  const matches =
    b === 0x42 &&
    (z ?? 0x5a) === 0x5a &&
    (h ?? 0x68) === 0x68 &&
    (digit === undefined || (digit >= 0x31 && digit <= 0x39));
  if (!matches) {
    if (first)
      throw new FerryError('ARCHIVE_NOT_CONDA', 'the archive is no bzip2 file: it does not begin with `BZh`');
    return undefined;
  }
  if (!whole || digit === undefined) throw truncated(reader, 'a stream header');
  reader.advance(reader.position + HEADER_BITS);
  return digit - 0x30;
}

/** Reads the blocks of one stream, and its end. */
async function* readStream(
  reader: BitReader,
  decoder: BlockDecoder,
  level: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  if (!(await reader.need(MAGIC_BITS))) throw truncated(reader, 'a stream header');
  let kind = markAt(reader.bytes, reader.position);
  let crc = 0;
  while (kind === 'block') {
    const block = await readBlock(reader, decoder, level);
    crc = ((crc << 1) | (crc >>> 31)) ^ block.crc;
    for (let at = 0; at < block.output.byteLength; at += OUTPUT_BYTES) {
      yield block.output.slice(at, at + OUTPUT_BYTES);
    }
    reader.advance(block.next.bit);
    kind = block.next.kind;
  }
  if (kind === undefined) throw corrupt(reader, 'neither a block nor the end of the stream follows');
  if (!(await reader.need(MAGIC_BITS + CRC_BITS))) throw truncated(reader, 'the end of a stream');
  if (readUint32(reader.bytes, reader.position + MAGIC_BITS) !== crc >>> 0) {
    throw corrupt(reader, "the stream's checksum is wrong");
  }
  const end = reader.position + MAGIC_BITS + CRC_BITS;
  reader.advance((end + 7) & ~7);
}

/** Unpacks the block at the position, which reaches to the next mark that is no accident. */
async function readBlock(
  reader: BitReader,
  decoder: BlockDecoder,
  level: number,
): Promise<{ readonly output: Uint8Array; readonly crc: number; readonly next: Bzip2Mark }> {
  let searchFrom = reader.position + MAGIC_BITS;
  for (let attempts = 0; attempts <= MAX_FALSE_MARKS; attempts++) {
    const next = await nextMark(reader, searchFrom);
    if (next === undefined && attempts === 0 && !hasWholeBlock(reader)) throw truncated(reader, 'a block');
    if (next === undefined) break;
    const output = decoder.decode(reader.bytes, reader.position, next.bit, level);
    if (output !== undefined)
      return { output, crc: readUint32(reader.bytes, reader.position + MAGIC_BITS), next };
    searchFrom = next.bit + 1;
  }
  throw corrupt(reader, 'the block cannot be unpacked');
}

/** Takes bytes in until a mark is found, the source ends, or more came than a block can have. */
async function nextMark(reader: BitReader, fromBit: number): Promise<Bzip2Mark | undefined> {
  let searchFrom = fromBit;
  for (;;) {
    const mark = findMark(reader.bytes, searchFrom, reader.length);
    if (mark !== undefined || hasWholeBlock(reader)) return mark;
    searchFrom = Math.max(searchFrom, 8 * reader.length - MAGIC_BITS + 1);
    if (!(await reader.fill())) return undefined;
  }
}

function hasWholeBlock(reader: BitReader): boolean {
  return 8 * reader.length - reader.position > 8 * MAX_BLOCK_BYTES + MAGIC_BITS;
}

function truncated(reader: BitReader, what: string): FerryError {
  return new FerryError(
    'ARCHIVE_TRUNCATED',
    `the bzip2 data ends inside ${what}, which begins at byte ${String(reader.offset)}`,
  );
}

function corrupt(reader: BitReader, what: string): FerryError {
  return new FerryError('ARCHIVE_CORRUPT', `bzip2 data at byte ${String(reader.offset)}: ${what}`);
}
