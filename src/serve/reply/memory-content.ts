import type { Digest } from '../../io/digest.js';
import type { OpenedBytes } from '../../io/opened-bytes.js';
import type { Content } from '../content.js';

/** Content out of bytes in memory, which must stay as they are. */
export function memoryContent(digest: Digest, bytes: Uint8Array): Content {
  return { digest, size: bytes.byteLength, bytes, open: () => Promise.resolve(openedBytes(bytes)) };
}

function openedBytes(bytes: Uint8Array): OpenedBytes {
  return {
    size: bytes.byteLength,
    read(target, position) {
      const part = bytes.subarray(position, position + target.byteLength);
      target.set(part);
      return Promise.resolve(part.byteLength);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
