import { BZIP2_MAGIC } from './bzip2-block.js';

/** Where a bzip2 block or the end of a stream begins: bzip2 aligns neither to bytes. */
export interface Bzip2Mark {
  /** Position of its first bit. */
  readonly bit: number;
  readonly kind: 'block' | 'end';
}

/** Length of both magics, in bits. */
export const MAGIC_BITS = 48;

const KINDS = ['block', 'end'] as const;

/**
 * For the bytes 1 to 5 that a magic touches when it does not begin at a byte: bit `8 * kind + shift` of
 * `MASKS[n - 1][byte]` says that `byte` may be the n-th. Those of byte 1 rule out 15 of 16 positions at once.
 */
const MASKS = [1, 2, 3, 4, 5].map((position) => {
  const masks = new Uint16Array(256);
  KINDS.forEach((kind, kindIndex) => {
    for (let shift = 0; shift < 8; shift++) {
      const byte = (((magicByte(kind, position - 1) << 8) | magicByte(kind, position)) >>> shift) & 0xff;
      masks[byte] = (masks[byte] ?? 0) | (1 << (8 * kindIndex + shift));
    }
  });
  return masks;
});

/** Finds the first magic that begins at `fromBit` or later and lies within the first `length` bytes. */
export function findMark(bytes: Uint8Array, fromBit: number, length: number): Bzip2Mark | undefined {
  const [second, third, fourth, fifth, sixth] = MASKS;
  if (!second || !third || !fourth || !fifth || !sixth) return undefined;
  for (let at = fromBit >>> 3; at + 6 <= length; at++) {
    let candidates = second[bytes[at + 1] ?? 0] ?? 0;
    if (candidates === 0) continue;
    candidates &= third[bytes[at + 2] ?? 0] ?? 0;
    if (candidates === 0) continue;
    candidates &=
      (fourth[bytes[at + 3] ?? 0] ?? 0) & (fifth[bytes[at + 4] ?? 0] ?? 0) & (sixth[bytes[at + 5] ?? 0] ?? 0);
    for (let bit = 8 * at; candidates !== 0 && bit < 8 * at + 8; bit++) {
      if (bit < fromBit || bit + MAGIC_BITS > 8 * length) continue;
      const kind = markAt(bytes, bit);
      if (kind !== undefined) return { bit, kind };
    }
  }
  return undefined;
}

/** Tells which magic stands at `bit`. */
export function markAt(bytes: Uint8Array, bit: number): Bzip2Mark['kind'] | undefined {
  return KINDS.find((kind) =>
    BZIP2_MAGIC[kind].every((byte, index) => readByte(bytes, bit + 8 * index) === byte),
  );
}

/** Reads 32 bits at any bit position, as an unsigned number. */
export function readUint32(bytes: Uint8Array, bit: number): number {
  let value = 0;
  for (let index = 0; index < 4; index++) value = (value << 8) | readByte(bytes, bit + 8 * index);
  return value >>> 0;
}

function readByte(bytes: Uint8Array, bit: number): number {
  const at = bit >>> 3;
  return ((((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)) >>> (8 - (bit & 7))) & 0xff;
}

function magicByte(kind: Bzip2Mark['kind'], index: number): number {
  return BZIP2_MAGIC[kind][index] ?? 0;
}
