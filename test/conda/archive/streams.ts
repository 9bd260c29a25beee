/** Small sources and sinks for the tests of this folder. */

/** Hands bytes on in chunks of one size, in a buffer that is used again, as a file reader may. */
export async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void> {
  const buffer = Buffer.alloc(size);
  for (let offset = 0; offset < bytes.byteLength; offset += size) {
    const chunk = bytes.subarray(offset, offset + size);
    buffer.set(chunk);
    yield buffer.subarray(0, chunk.byteLength);
    buffer.fill(0xee);
  }
}

/** The code of the error that a promise ends with, or what it ends with instead. */
export async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
}
