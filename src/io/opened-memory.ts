import { IntegrityError } from '../errors.js';
import type { OpenedBytes } from './opened-bytes.js';

/** Bytes in memory, opened. */
export function openedMemory(bytes: Uint8Array): OpenedBytes {
  return {
    size: bytes.byteLength,
    read: (target, position) => {
      const part = bytes.subarray(position, position + target.byteLength);
      target.set(part);
      return Promise.resolve(part.byteLength);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Reads all of opened bytes that are known to be few. @throws IntegrityError `SIZE_MISMATCH` where they end early */
export async function readOpened(opened: OpenedBytes, what: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(opened.size);
  let position = 0;
  while (position < bytes.byteLength) {
    const count = await opened.read(bytes.subarray(position), position);
    if (count === 0) throw new IntegrityError('SIZE_MISMATCH', what, bytes.byteLength, position);
    position += count;
  }
  return bytes;
}
