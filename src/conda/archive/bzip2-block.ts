import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { FerryError } from '../../errors.js';

/**
 * One bzip2 block at a time through libbzip2, as the package bzip2-wasm compiled it. Its `.wasm` file is used without
 * its JavaScript: that sets globals, makes the process die of unhandled rejections, reads views of memory that has
 * grown since, and cannot find itself below a path with a space.
 */

/** What is used of the WebAssembly module. Addresses and sizes are bytes in `memory`. */
interface Libbzip2 {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  readonly __wasm_call_ctors: () => void;
  readonly malloc: (size: number) => number;
  readonly free: (address: number) => void;
  readonly BZ2_bzBuffToBuffDecompress: (
    output: number,
    outputSizeAddress: number,
    input: number,
    inputSize: number,
    small: number,
    verbosity: number,
  ) => number;
}

// The types of Node 20 lack it.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
};

const BZ_OK = 0;
const BZ_MEM_ERROR = -3;
const BZ_OUTBUFF_FULL = -8;

const PAGE_BYTES = 65536;

/** A level-9 block holds 900,000 bytes after run-length encoding, and few blocks unpack to much more than that. */
const USUAL_OUTPUT_BYTES = 4 * 1024 * 1024;

/** The most a block can unpack to: run-length encoding makes 5 bytes of at most 255. */
const MAX_OUTPUT_BYTES = (900_000 / 5) * 255 + 1024;

/**
 * The most bytes a level-9 block can take, packed: 900,000 symbols of at most 20 bits, a selector of at most 6 bits
 * for each 50 of them, and the tables.
 */
export const MAX_BLOCK_BYTES = Math.ceil((900_002 * 20 + 18_002 * 6) / 8) + 64 * 1024;

const BLOCK_MAGIC = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59] as const;
const END_MAGIC = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90] as const;

/** The 48-bit numbers that begin a block and end a stream, as bytes. */
export const BZIP2_MAGIC = { block: BLOCK_MAGIC, end: END_MAGIC } as const;

/** Unpacks single blocks; holds some ten megabytes. */
export interface BlockDecoder {
  /**
   * Unpacks the block in bits `fromBit` to `toBit` of `bytes`, its magic included. `level` is that of its stream.
   * Returns undefined if it is not one whole and correct block. The result is valid until the next call.
   */
  decode(bytes: Uint8Array, fromBit: number, toBit: number, level: number): Uint8Array | undefined;
}

// Compiled once. One idle decoder is kept, since each WebAssembly memory reserves much address space until collected.
let compiled: object | undefined;
let idle: BlockDecoder | undefined;

/** Lends a decoder to one reader at a time. Give it back with {@link releaseBlockDecoder}. */
export function borrowBlockDecoder(): BlockDecoder {
  const decoder = idle ?? createBlockDecoder();
  idle = undefined;
  return decoder;
}

/** Takes a decoder back for the next reader. */
export function releaseBlockDecoder(decoder: BlockDecoder): void {
  idle = decoder;
}

function createBlockDecoder(): BlockDecoder {
  const library = instantiate();
  const input = allocate(library, MAX_BLOCK_BYTES + 32);
  const outputSizeAddress = allocate(library, 4);
  let outputBytes = USUAL_OUTPUT_BYTES;
  let output = allocate(library, outputBytes);

  function attempt(inputSize: number): number {
    new DataView(library.memory.buffer).setUint32(outputSizeAddress, outputBytes, true);
    return library.BZ2_bzBuffToBuffDecompress(output, outputSizeAddress, input, inputSize, 0, 0);
  }

  return {
    decode(bytes, fromBit, toBit, level) {
      if (toBit - fromBit > MAX_BLOCK_BYTES * 8) return undefined;
      const packed = new Uint8Array(library.memory.buffer, input, MAX_BLOCK_BYTES + 32);
      const inputSize = writeOneBlockStream(packed, bytes, fromBit, toBit, level);
      let result = attempt(inputSize);
      if (result === BZ_OUTBUFF_FULL && outputBytes < MAX_OUTPUT_BYTES) {
        library.free(output);
        outputBytes = MAX_OUTPUT_BYTES;
        output = allocate(library, outputBytes);
        result = attempt(inputSize);
      }
      if (result === BZ_MEM_ERROR) throw outOfMemory();
      if (result !== BZ_OK) return undefined;
      const size = new DataView(library.memory.buffer).getUint32(outputSizeAddress, true);
      return new Uint8Array(library.memory.buffer, output, size);
    },
  };
}

/** Writes `BZh<level>`, the block, the end magic and the stream's CRC, which for one block is the block's. */
function writeOneBlockStream(
  target: Uint8Array,
  bytes: Uint8Array,
  fromBit: number,
  toBit: number,
  level: number,
): number {
  target.set([0x42, 0x5a, 0x68, 0x30 + level]);
  const bits = toBit - fromBit;
  copyBits(target, 4, bytes, fromBit, bits);
  // Follow on in the middle of a byte: the bits after the block are cleared, then or-ed in.
  const trailer = [...END_MAGIC, target[10] ?? 0, target[11] ?? 0, target[12] ?? 0, target[13] ?? 0];
  const used = bits & 7;
  let at = 4 + (bits >>> 3);
  if (used === 0) {
    target.set(trailer, at);
    return at + trailer.length;
  }
  let carry = (target[at] ?? 0) & (0xff00 >>> used);
  for (const byte of trailer) {
    target[at++] = carry | (byte >>> used);
    carry = (byte << (8 - used)) & 0xff;
  }
  target[at++] = carry;
  return at;
}

/** Copies `bits` bits from any bit position to a byte position; what follows in the last byte is undefined. */
function copyBits(target: Uint8Array, at: number, bytes: Uint8Array, fromBit: number, bits: number): void {
  const first = fromBit >>> 3;
  const count = (bits + 7) >>> 3;
  const shift = fromBit & 7;
  if (shift === 0) {
    target.set(bytes.subarray(first, first + count), at);
    return;
  }
  const back = 8 - shift;
  let current = bytes[first] ?? 0;
  for (let index = 1; index <= count; index++) {
    const next = bytes[first + index] ?? 0;
    target[at + index - 1] = (current << shift) | (next >>> back);
    current = next;
  }
}

function instantiate(): Libbzip2 {
  const file = createRequire(import.meta.url).resolve('bzip2-wasm/bzip2-1.0.8/bzip2.wasm');
  compiled ??= new WebAssembly.Module(readFileSync(file));
  const imports = {
    env: {
      exit: (status: number) => {
        throw new FerryError('INTERNAL', `libbzip2 gave up with status ${String(status)}`);
      },
      emscripten_memcpy_big: (to: number, from: number, size: number) => {
        new Uint8Array(library.memory.buffer).copyWithin(to, from, from + size);
      },
      emscripten_resize_heap: (wanted: number) => {
        const missing = (wanted >>> 0) - library.memory.buffer.byteLength;
        try {
          library.memory.grow(Math.ceil(missing / PAGE_BYTES));
          return 1;
        } catch {
          return 0;
        }
      },
    },
    // libbzip2 writes only when it finds a fault in itself; it then exits.
    wasi_snapshot_preview1: { fd_close: () => 0, fd_write: () => 0, fd_seek: () => 0 },
  };
  const library = new WebAssembly.Instance(compiled, imports).exports as Libbzip2;
  library.__wasm_call_ctors();
  return library;
}

function allocate(library: Libbzip2, size: number): number {
  const address = library.malloc(size);
  if (address === 0) throw outOfMemory();
  return address;
}

function outOfMemory(): FerryError {
  return new FerryError('INTERNAL', 'libbzip2 could not get the memory to unpack a block');
}
