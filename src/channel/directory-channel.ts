import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type {
  ArchiveLocation,
  ChannelSource,
  MetadataAnswer,
  OpenMetadataOptions,
} from '../conda/channel-source.js';
import { isSubdir, parseArchiveFilename } from '../conda/names.js';
import { FerryError, isSystemError } from '../errors.js';
import type { Bytes, OpenOptions } from '../io/bytes.js';

const READ_CHUNK_BYTES = 256 * 1024;

/** An ordinary conda channel in a folder. */
export class DirectoryChannel implements ChannelSource {
  readonly url: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = resolve(root);
    this.url = pathToFileURL(this.#root).href;
  }

  /** Folders that hold repodata. @throws FerryError `CHANNEL_NOT_FOUND` */
  async subdirs(): Promise<readonly string[]> {
    const entries = await readdir(this.#root, { withFileTypes: true }).catch((error: unknown) => {
      if (!isSystemError(error, 'ENOENT', 'ENOTDIR')) throw error;
      throw new FerryError('CHANNEL_NOT_FOUND', `there is no folder \`${this.#root}\``, { cause: error });
    });
    const subdirs: string[] = [];
    for (const { name } of entries) {
      if (!isSubdir(name)) continue;
      const files = await readdir(join(this.#root, name)).catch((error: unknown): string[] => {
        // A folder that cannot be read is not one without repodata.
        if (!isSystemError(error, 'ENOENT', 'ENOTDIR')) throw error;
        return [];
      });
      if (files.includes('repodata.json') || files.includes('repodata.json.zst')) subdirs.push(name);
    }
    return subdirs.sort();
  }

  async openMetadata(path: string, options: OpenMetadataOptions = {}): Promise<MetadataAnswer> {
    const file = this.#inside(path);
    const status = await statOrUndefined(file);
    if (status === undefined) return { status: 'absent' };
    // Size and time to the nanosecond, as web servers make theirs.
    const etag = `"${status.size.toString(16)}-${status.mtimeNs.toString(16)}"`;
    if (options.unless?.etag === etag) return { status: 'unchanged' };
    // No date: a folder that is copied anew is not older for that.
    return { status: 'found', body: readFile(file, options.signal), validators: { etag } };
  }

  async *openArchive(archive: ArchiveLocation, options: OpenOptions = {}): Bytes {
    // A file name from repodata must not lead anywhere else.
    parseArchiveFilename(archive.filename);
    const file = join(this.#root, archive.subdir, archive.filename);
    if ((await statOrUndefined(file)) === undefined) {
      if (archive.url !== undefined) {
        throw new FerryError('UNSUPPORTED', 'it lies elsewhere, where a channel in a folder cannot follow');
      }
      throw new FerryError('ARCHIVE_ABSENT', 'the source does not have it (no such file)');
    }
    yield* readFile(file, options.signal, options.offset);
  }

  async statArchive(archive: ArchiveLocation): Promise<{ readonly size: number } | undefined> {
    parseArchiveFilename(archive.filename);
    const found = await statOrUndefined(join(this.#root, archive.subdir, archive.filename));
    return found === undefined ? undefined : { size: Number(found.size) };
  }

  /** A path in the channel. @throws FerryError `CHANNEL_INVALID` for one that leads out of it */
  #inside(path: string): string {
    const file = join(this.#root, path);
    if (file.startsWith(join(this.#root, '/'))) return file;
    throw new FerryError('CHANNEL_INVALID', `\`${path}\` leads out of \`${this.#root}\``);
  }
}

/** What is known of a file; nothing where there is none. */
async function statOrUndefined(file: string) {
  try {
    const status = await stat(file, { bigint: true });
    return status.isFile() ? status : undefined;
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

// Opens the file only when it is read: a stream that nobody reads would keep it open, and its error would end the process.
async function* readFile(file: string, signal: AbortSignal | undefined, offset = 0): Bytes {
  signal?.throwIfAborted();
  const stream = createReadStream(file, { start: offset, highWaterMark: READ_CHUNK_BYTES });
  let failure: unknown;
  stream.once('error', (error) => (failure = error));
  try {
    for await (const chunk of stream) {
      yield chunk as Uint8Array;
      signal?.throwIfAborted();
    }
  } catch (error) {
    if (error !== failure) throw error;
    throw new FerryError('SOURCE_UNREADABLE', `\`${file}\` cannot be read`, { cause: error });
  }
}
