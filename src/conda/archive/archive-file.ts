import { open, type FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';

/** Bytes of an archive that are not at hand. */
export interface ArchiveHole {
  /** Of the first one, from 0. */
  readonly start: number;
  readonly size: number;
}

/** Where an archive is: in memory, whole or but for a hole in its middle, or a file that is read piece by piece. */
export type ArchiveLocation =
  { readonly bytes: Uint8Array; readonly hole?: ArchiveHole | undefined } | { readonly path: string };

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
  if ('path' in location) return onDisk(location.path);
  return location.hole === undefined ? inMemory(location.bytes) : aroundHole(location.bytes, location.hole);
}

/** @throws Error, no one else's fault, when something in the hole is asked for */
function aroundHole(bytes: Uint8Array, hole: ArchiveHole): ArchiveFile {
  const before = inMemory(bytes.subarray(0, hole.start));
  const behind = inMemory(bytes.subarray(hole.start));
  const end = hole.start + hole.size;
  return {
    size: bytes.byteLength + hole.size,
    async *chunks(first, last, signal) {
      if (first < end && last > hole.start && last > first)
        throw new Error('that part of the archive is not at hand');
      if (first < hole.start) yield* before.chunks(first, last, signal);
      else yield* behind.chunks(first - end, last - end, signal);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
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
