import { lutimes, mkdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { FerryError, isSystemError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic-file.js';
import type { OpenBytes } from '../io/bytes.js';
import type { Digest } from '../io/digest.js';
import type { OpenedBytes } from '../io/opened-bytes.js';
import type { BlobFolder, ExpectedBlob, FolderBlob } from '../oci/blob-folder.js';
import type { CallOptions } from '../oci/storage.js';
import { IndexCache, IndexFile } from './index-file.js';
import { LAYOUT_FILE, LayoutFolder, statOf } from './layout-folder.js';
import { EMPTY_INDEX, encodeLayoutIndex } from './layout-index.js';

const INDEX_FILE = 'index.json';

/**
 * Opens a folder of blobs, which need not exist yet: `openBlobFolder('./cache')`. On disk it is an OCI image layout that
 * lists nothing. One that lists something is somebody's content: every call refuses it.
 * @throws FerryError `LAYOUT_INVALID`, each call
 * @see image-spec v1.1, "OCI Image Layout Specification"
 */
export function openBlobFolder(path: string): BlobFolder {
  return new LayoutBlobFolder(path);
}

class LayoutBlobFolder implements BlobFolder {
  readonly location: string;
  /** What is known of the folder that is there now. */
  #opened: Promise<LayoutFolder> | undefined;
  #making: Promise<void> | undefined;

  constructor(path: string) {
    this.location = path;
  }

  async *blobs({ signal }: CallOptions = {}): AsyncIterable<FolderBlob> {
    const folder = await this.#folder();
    await folder.sweep();
    yield* folder.blobs(signal);
  }

  async open(digest: Digest): Promise<OpenedBytes | undefined> {
    return (await this.#folder()).openBlob(digest);
  }

  async write(
    expected: ExpectedBlob,
    open: OpenBytes,
    { signal }: CallOptions = {},
  ): Promise<{ readonly size: number }> {
    signal?.throwIfAborted();
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    await this.#making;
    return { size: await (await this.#folder()).writeBlob(expected, open, signal) };
  }

  async touch(digest: Digest): Promise<void> {
    const path = (await this.#folder()).blobPath(digest);
    const now = new Date();
    await lutimes(path, now, now).catch(() => undefined);
  }

  async remove(digest: Digest): Promise<void> {
    await (await this.#folder()).removeBlob(digest);
  }

  #folder(): Promise<LayoutFolder> {
    this.#opened ??= this.#open().catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  async #open(): Promise<LayoutFolder> {
    const path = await resolvedPath(this.location);
    const folder = new LayoutFolder(dirname(path), basename(path));
    const { entries } = await new IndexFile(folder, new IndexCache(), {}).read();
    await folder.checkVersion();
    if (entries.length === 0) return folder;
    throw new FerryError('LAYOUT_INVALID', `\`${this.location}\` holds content of its own, and is no cache`);
  }

  /** Makes the layout, also anew where somebody deleted it. Several may do so at once: they write the same. */
  async #make(): Promise<void> {
    const { path } = await this.#folder();
    const [layout, index] = [join(path, LAYOUT_FILE), join(path, INDEX_FILE)];
    const isThere = (await statOf(layout)) !== undefined && (await statOf(index)) !== undefined;
    if (isThere) return;
    // What was found out is of a folder that is no more.
    this.#opened = undefined;
    const folder = await this.#folder();
    await folder.checkBeforeWriting();
    await mkdir(folder.path, { recursive: true });
    await folder.makeLayout();
    if ((await statOf(index)) === undefined) await writeFileAtomic(index, encodeLayoutIndex(EMPTY_INDEX));
  }
}

/** The folder itself where the path is a link to it, which was the user's choice. */
async function resolvedPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return resolve(path);
    throw error;
  }
}
