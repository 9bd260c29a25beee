import type { OpenBytes } from '#ferry/io/bytes.js';

/** Opens bytes that come in pieces of so many, each in memory of its own that is gone once the next one is taken. */
export function inPieces(bytes: Uint8Array, pieceBytes: number): OpenBytes {
  return async function* open(options = {}) {
    for (let at = options.offset ?? 0; at < bytes.byteLength; at += pieceBytes) {
      options.signal?.throwIfAborted();
      const piece = new Uint8Array(bytes.subarray(at, at + pieceBytes));
      yield piece;
      piece.fill(0x58);
    }
  };
}
