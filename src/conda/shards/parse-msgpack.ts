import { Decoder } from '@msgpack/msgpack';

/** What came of parsing: a value, or why there is none. */
export type ParsedMsgpack =
  | {
      readonly value: unknown;
      /** Whether some key of a map is no text. */
      readonly hasOddKeys: boolean;
    }
  | { readonly fault: 'msgpack' | 'limit'; readonly message: string };

/** As deep as JSON may be nested here. */
const MAX_DEPTH = 100;

/** Bytes of the length behind a type byte, and of fixed content behind that; `unit` is what the length counts. */
interface Shape {
  readonly lengthBytes: number;
  readonly fixedBytes: number;
  readonly unit?: 'bytes' | 'items' | 'pairs';
}

const SHAPES: ReadonlyMap<number, Shape> = new Map([
  [0xc0, { lengthBytes: 0, fixedBytes: 0 }],
  [0xc2, { lengthBytes: 0, fixedBytes: 0 }],
  [0xc3, { lengthBytes: 0, fixedBytes: 0 }],
  ...sized([0xc4, 0xc5, 0xc6], 'bytes'),
  // Extensions have a byte for their type.
  ...sized([0xc7, 0xc8, 0xc9], 'bytes', 1),
  [0xca, { lengthBytes: 0, fixedBytes: 4 }],
  [0xcb, { lengthBytes: 0, fixedBytes: 8 }],
  ...[1, 2, 4, 8].flatMap((fixedBytes, i): [number, Shape][] => [
    [0xcc + i, { lengthBytes: 0, fixedBytes }],
    [0xd0 + i, { lengthBytes: 0, fixedBytes }],
  ]),
  ...[1, 2, 4, 8, 16].map((bytes, i): [number, Shape] => [
    0xd4 + i,
    { lengthBytes: 0, fixedBytes: 1 + bytes },
  ]),
  ...sized([0xd9, 0xda, 0xdb], 'bytes'),
  [0xdc, { lengthBytes: 2, fixedBytes: 0, unit: 'items' }],
  [0xdd, { lengthBytes: 4, fixedBytes: 0, unit: 'items' }],
  [0xde, { lengthBytes: 2, fixedBytes: 0, unit: 'pairs' }],
  [0xdf, { lengthBytes: 4, fixedBytes: 0, unit: 'pairs' }],
]);

function sized(types: readonly number[], unit: 'bytes', fixedBytes = 0): [number, Shape][] {
  return types.map((type, i) => [type, { lengthBytes: 2 ** i, fixedBytes, unit }]);
}

/**
 * Parses one msgpack value that a stranger wrote. What is nested too deeply, has more than `maxValues` values, or says
 * it has more than there are bytes for, is not parsed: the decoder makes room for what a length says.
 * @see https://github.com/msgpack/msgpack/blob/master/spec.md
 */
export function parseBoundedMsgpack(bytes: Uint8Array, maxValues: number): ParsedMsgpack {
  const fault = survey(bytes, maxValues);
  if (fault !== undefined) return fault;
  let hasOddKeys = false;
  const decoder = new Decoder({
    mapKeyConverter: (key) => {
      if (typeof key === 'string') return key;
      hasOddKeys = true;
      return key instanceof Uint8Array ? Buffer.from(key).toString('latin1') : String(key);
    },
  });
  try {
    return { value: decoder.decode(bytes), hasOddKeys };
  } catch {
    return { fault: 'msgpack', message: 'no msgpack' };
  }
}

/** Walks over all values without making any. */
function survey(
  bytes: Uint8Array,
  maxValues: number,
): Exclude<ParsedMsgpack, { value: unknown }> | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** How many values are still to come in each container around. */
  const open: number[] = [1];
  let at = 0;
  let values = 0;
  for (;;) {
    while (open.at(-1) === 0) open.pop();
    const left = open.pop();
    if (left === undefined) break;
    open.push(left - 1);
    const head = bytes[at++];
    const shape = head === undefined ? undefined : shapeOf(head);
    if (head === undefined || shape === undefined) return broken(at - 1);
    const { lengthBytes, fixedBytes, unit } = shape;
    if (at + lengthBytes > bytes.byteLength) return broken(at);
    const length = lengthBytes === 0 ? inlineLength(head) : readLength(view, at, lengthBytes);
    at += lengthBytes + fixedBytes + (unit === 'bytes' ? length : 0);
    const inside = unit === 'items' ? length : unit === 'pairs' ? 2 * length : 0;
    // Each value has at least one byte.
    if (at + inside > bytes.byteLength) return broken(at);
    if (++values > maxValues) return { fault: 'limit', message: `more than ${String(maxValues)} values` };
    if (inside === 0) continue;
    open.push(inside);
    if (open.length > MAX_DEPTH + 1)
      return { fault: 'limit', message: `values nested more than ${String(MAX_DEPTH)} deep` };
  }
  return at === bytes.byteLength ? undefined : broken(at);
}

function shapeOf(head: number): Shape | undefined {
  if (head < 0x80 || head >= 0xe0) return { lengthBytes: 0, fixedBytes: 0 };
  if (head < 0x90) return { lengthBytes: 0, fixedBytes: 0, unit: 'pairs' };
  if (head < 0xa0) return { lengthBytes: 0, fixedBytes: 0, unit: 'items' };
  if (head < 0xc0) return { lengthBytes: 0, fixedBytes: 0, unit: 'bytes' };
  return SHAPES.get(head);
}

/** The length in the type byte of short maps, lists and texts. */
function inlineLength(head: number): number {
  return head < 0xa0 ? head & 0x0f : head & 0x1f;
}

function readLength(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at);
  return bytes === 2 ? view.getUint16(at) : view.getUint32(at);
}

function broken(at: number): { readonly fault: 'msgpack'; readonly message: string } {
  return {
    fault: 'msgpack',
    message: `no msgpack: it breaks off, or has what cannot be read, at byte ${String(at)}`,
  };
}
