import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FerryError } from '../errors.js';
import { translateDiskError, writeFully } from '../io/atomic-file.js';
import type { Bytes, OpenBytes } from '../io/bytes.js';
import { createDigestHash, sha256Digest, type Digest } from '../io/digest.js';
import type { OpenedBytes } from '../io/opened-bytes.js';
import type { TempFolder } from '../io/temp-folder.js';
import type { Content } from './content.js';

/** What is smaller is kept in memory as well: most metadata is asked for again and again. */
const IN_MEMORY_BYTES = 64 * 1024;
const READ_BYTES = 256 * 1024;

/**
 * An open file that is read through its handle by any number of readers, and whose name is gone: nothing on the disk can take it
 * away or change it, and nothing is left of it however the process ends. Closed for good when {@link release} was called and
 * nobody reads it any more.
 */
export class HeldHandle {
  readonly #file: FileHandle;
  readonly #path: string;
  #readers = 1;
  #isReleased = false;

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /** Takes over an open file that nobody else uses, and removes its name. */
  static async adopt(file: FileHandle, path: string): Promise<HeldHandle> {
    await removeIfPossible(path);
    return new HeldHandle(file, path);
  }

  /** @throws FerryError `NOT_FOUND` where it was closed */
  open(size: number): OpenedBytes {
    if (this.#readers === 0) throw new FerryError('NOT_FOUND', 'the file is held no more');
    this.#readers += 1;
    let isOpen = true;
    return {
      size,
      read: async (target: Uint8Array, position: number) => {
        const length = Math.min(target.byteLength, size - position);
        return length <= 0 ? 0 : (await this.#file.read(target, 0, length, position)).bytesRead;
      },
      [Symbol.asyncDispose]: async () => {
        if (!isOpen) return;
        isOpen = false;
        await this.#leave();
      },
    };
  }

  /** Lets it go when the last reader is done. */
  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    await this.#leave();
  }

  async #leave(): Promise<void> {
    this.#readers -= 1;
    if (this.#readers > 0) return;
    await this.#file.close();
    await removeIfPossible(this.#path);
  }
}

/** Where a file that is open cannot be removed, or no more, it goes with the folder. */
async function removeIfPossible(path: string): Promise<void> {
  await rm(path, { force: true }).catch(() => undefined);
}

/** Content in a {@link HeldHandle}, in memory as well where it is small. */
export class HeldFile implements Content {
  readonly digest: Digest;
  readonly size: number;
  readonly bytes: Uint8Array | undefined;
  readonly #handle: HeldHandle;

  private constructor(handle: HeldHandle, content: Pick<Content, 'digest' | 'size' | 'bytes'>) {
    this.#handle = handle;
    this.digest = content.digest;
    this.size = content.size;
    this.bytes = content.bytes;
  }

  /** Writes one into a temporary folder. @throws FerryError `DISK_FULL`; whatever the bytes fail with */
  static async write(bytes: Bytes, temp: TempFolder): Promise<HeldFile> {
    const path = temp.newPath();
    // A folder that somebody has cleaned away.
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'wx+', 0o600);
    try {
      const hash = createDigestHash();
      const head: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of bytes) {
        hash.update(chunk);
        await writeFully(file, chunk, size);
        size += chunk.byteLength;
        if (size <= IN_MEMORY_BYTES) head.push(Uint8Array.from(chunk));
        else head.length = 0;
      }
      const small = size <= IN_MEMORY_BYTES ? Buffer.concat(head) : undefined;
      const digest = sha256Digest(hash.digest('hex'));
      return new HeldFile(await HeldHandle.adopt(file, path), { digest, size, bytes: small });
    } catch (error) {
      await file.close();
      await removeIfPossible(path);
      throw translateDiskError(error, path);
    }
  }

  async open(): Promise<OpenedBytes> {
    return Promise.resolve(this.#handle.open(this.size));
  }

  /** Streams the bytes, from an offset on. */
  readonly openBytes: OpenBytes = (options = {}) => streamContent(this, options.offset, options.signal);

  /** Lets it go when the last reader is done. */
  async release(): Promise<void> {
    await this.#handle.release();
  }
}

/** Streams content, each piece in memory of its own. @throws FerryError `NOT_FOUND` where it is gone */
export async function* streamContent(content: Content, offset = 0, signal?: AbortSignal): Bytes {
  signal?.throwIfAborted();
  if (content.bytes !== undefined) {
    if (offset < content.size) yield content.bytes.subarray(offset);
    return;
  }
  await using opened = await content.open();
  for (let position = offset; position < content.size;) {
    signal?.throwIfAborted();
    const target = Buffer.allocUnsafe(Math.min(READ_BYTES, content.size - position));
    const count = await opened.read(target, position);
    if (count === 0) throw new FerryError('NOT_FOUND', `${content.digest} ends early`);
    position += count;
    yield target.subarray(0, count);
  }
}
