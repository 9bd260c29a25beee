import { open, type FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';

/** Where an archive is: in memory, or a file that is read piece by piece. */
export type ArchiveLocation = { readonly bytes: Uint8Array } | { readonly path: string };

/** An open archive. Chunks are valid until the next one is asked for. */
export interface ArchiveFile {
  /** In bytes. */
  readonly size: number;
  /** All of it, where it is in memory. */
  readonly bytes?: Uint8Array;
  /** The bytes from `start` to before `end`, fewer where the file ends earlier. */
  chunks(start: number, end: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Read at once from a file. Larger pieces bring no more speed. */
const READ_BYTES = 256 * 1024;

/** Handed on at once from memory, so that an abort gets its turn between two pieces. */
const SLICE_BYTES = 1024 * 1024;

/** Opens an archive; must be closed (`await using`). System errors such as `ENOENT` come through unchanged. */
export async function openArchiveFile(location: ArchiveLocation): Promise<ArchiveFile> {
  return 'bytes' in location ? inMemory(location.bytes) : onDisk(location.path);
}

function inMemory(bytes: Uint8Array): ArchiveFile {
  return {
    size: bytes.byteLength,
    bytes,
    async *chunks(start, end, signal) {
      const last = Math.min(end, bytes.byteLength);
      for (let offset = start; offset < last; offset += SLICE_BYTES) {
        signal?.throwIfAborted();
        yield bytes.subarray(offset, Math.min(offset + SLICE_BYTES, last));
        if (offset + SLICE_BYTES < last) await setImmediate();
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function onDisk(path: string): Promise<ArchiveFile> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    return {
      size,
      chunks: (start, end, signal) => readChunks(handle, start, end, signal),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function* readChunks(
  handle: FileHandle,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(READ_BYTES, end - start)));
  for (let offset = start; offset < end;) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.byteLength, end - offset), offset);
    if (bytesRead === 0) return;
    offset += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
