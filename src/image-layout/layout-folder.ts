import { constants, type BigIntStats } from 'node:fs';
import { link, lstat, mkdir, open, readdir, readFile, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { FerryError, isSystemError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic-file.js';
import type { Bytes, OpenBytes, OpenOptions } from '../io/bytes.js';
import { digestAlgorithm, digestHex, isDigest, parseDigest, type Digest } from '../io/digest.js';
import type { OpenedBytes } from '../io/opened-bytes.js';
import { openedFile } from '../io/opened-file.js';
import { verifyBytes, verifyDigest } from '../io/verify.js';
import type { ExpectedBlob, FolderBlob } from '../oci/blob-folder.js';
import type { Descriptor } from '../oci/descriptor.js';
import { encodeJson } from '../oci/manifest.js';

/** Name of the file that makes a folder an image layout. @see image-spec v1.1, "oci-layout file" */
export const LAYOUT_FILE = 'oci-layout';
const LAYOUT_VERSION = '1.0.0';
const BLOBS = 'blobs';
const DIGEST_ALGORITHMS = ['sha256', 'sha512'] as const;
/** Files that are looked at together. */
const STATS_AT_ONCE = 64;
const READ_CHUNK_BYTES = 256 * 1024;
/** Temporary files of killed processes; no upload stands still for a day. */
const SWEEP_AFTER_MS = 24 * 60 * 60 * 1000;

const layoutFileSchema = z.looseObject({ imageLayoutVersion: z.string() });

/** The folder of one image layout below a root: its paths, its blobs, and the guards on both. */
export class LayoutFolder {
  readonly path: string;
  readonly #root: string;
  readonly #name: string;
  #isComplete = false;
  #mayBeWritten = false;
  #hasLayoutFile = false;

  /** `name` must have passed `parseRepositoryName`, so that it cannot lead out of `root`. */
  constructor(root: string, name: string) {
    this.#root = root;
    this.#name = name;
    this.path = join(root, name);
  }

  /** Path of a blob. @throws ParseError `DIGEST_INVALID` */
  blobPath(digest: Digest): string {
    const parsed = parseDigest(digest);
    return join(this.path, BLOBS, digestAlgorithm(parsed), digestHex(parsed));
  }

  /**
   * Refuses folders that links could lead elsewhere; to be called before anything else. A root that is itself a link
   * was the user's choice.
   * @throws FerryError `LAYOUT_INVALID`
   */
  async check(): Promise<void> {
    if (this.#isComplete) return;
    const names = this.#name.split('/');
    const folders = [...names.map((_, depth) => join(...names.slice(0, depth + 1))), join(this.#name, BLOBS)];
    for (const folder of folders) if (!(await this.#checkFolder(folder))) return;
    await this.#checkFolder(join(this.#name, BLOBS, 'sha512'));
    this.#isComplete = await this.#checkFolder(join(this.#name, BLOBS, 'sha256'));
  }

  /** {@link check}, and that the layout does not lie within another, where the two would overwrite each other. */
  async checkBeforeWriting(): Promise<void> {
    await this.check();
    if (this.#mayBeWritten) return;
    for (let above = dirname(this.#name); ; above = dirname(above)) {
      if ((await statOf(join(this.#root, above, LAYOUT_FILE))) !== undefined) {
        throw new FerryError(
          'LAYOUT_INVALID',
          `\`${this.path}\` lies inside the image layout \`${join(this.#root, above)}\``,
        );
      }
      if (above === '.') break;
    }
    this.#mayBeWritten = true;
  }

  /** Whether the folder is there, layout or not. */
  async exists(): Promise<boolean> {
    await this.check();
    return (await statOf(this.path)) !== undefined;
  }

  /** Refuses a layout of a version that we do not know. One without the file is read all the same. @throws FerryError `LAYOUT_INVALID` */
  async checkVersion(): Promise<void> {
    if (this.#hasLayoutFile) return;
    const path = join(this.path, LAYOUT_FILE);
    let text;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return;
      throw error;
    }
    let version;
    try {
      version = layoutFileSchema.parse(JSON.parse(text)).imageLayoutVersion;
    } catch (cause) {
      throw new FerryError('LAYOUT_INVALID', `\`${path}\` cannot be read`, { cause });
    }
    if (version !== LAYOUT_VERSION) {
      throw new FerryError(
        'LAYOUT_INVALID',
        `\`${path}\` says version \`${version}\`, known is \`${LAYOUT_VERSION}\``,
      );
    }
    this.#hasLayoutFile = true;
  }

  /** Makes the folder an image layout if it is none. To be called under the lock. @throws FerryError `LAYOUT_INVALID` */
  async makeLayout(): Promise<void> {
    await this.checkBeforeWriting();
    await this.checkVersion();
    if (this.#hasLayoutFile) return;
    for (const entry of await readdir(this.path, { withFileTypes: true })) {
      // Repositories below would no longer be found.
      if (entry.isDirectory() && entry.name !== BLOBS && !entry.name.startsWith('.')) {
        throw new FerryError(
          'LAYOUT_INVALID',
          `\`${this.path}\` cannot become an image layout: it holds \`${entry.name}/\``,
        );
      }
    }
    await mkdir(join(this.path, BLOBS, 'sha256'), { recursive: true });
    await writeFileAtomic(join(this.path, LAYOUT_FILE), encodeJson({ imageLayoutVersion: LAYOUT_VERSION }));
    this.#hasLayoutFile = true;
  }

  /** Whether there is a blob of that digest and size; its bytes are not read. */
  async hasBlob(descriptor: Descriptor): Promise<boolean> {
    await this.check();
    const found = await statOf(this.blobPath(descriptor.digest));
    return found?.isFile() === true && found.size === BigInt(descriptor.size);
  }

  /** Streams a blob as it is on disk, unchecked. @throws FerryError `NOT_FOUND`, `LAYOUT_INVALID` */
  async *readBlob(digest: Digest, options: OpenOptions = {}): Bytes {
    options.signal?.throwIfAborted();
    await this.check();
    const file = await openWithoutLinks(this.blobPath(digest));
    if (file === undefined) throw new FerryError('NOT_FOUND', `\`${this.path}\` has no content ${digest}`);
    try {
      const { size } = await file.stat();
      let position = options.offset ?? 0;
      while (position < size) {
        options.signal?.throwIfAborted();
        const wanted = Math.min(READ_CHUNK_BYTES, size - position);
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, position);
        if (bytesRead === 0) return;
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  /** Tells the size of a blob, in bytes; `undefined` where it is not there. */
  async blobSize(digest: Digest): Promise<number | undefined> {
    await this.check();
    const found = await statOf(this.blobPath(digest));
    return found?.isFile() === true ? Number(found.size) : undefined;
  }

  /** Opens a blob as it is on disk, unchecked; `undefined` where it is not there. @throws FerryError `LAYOUT_INVALID` */
  async openBlob(digest: Digest): Promise<OpenedBytes | undefined> {
    await this.check();
    const file = await openWithoutLinks(this.blobPath(digest));
    return file === undefined ? undefined : openedFile(file);
  }

  /** Stores a blob; it becomes visible whole and verified, or not at all. @returns its size in bytes */
  async writeBlob(expected: ExpectedBlob, open: OpenBytes, signal?: AbortSignal): Promise<number> {
    await this.checkBeforeWriting();
    const { digest, size, maxBytes = Infinity } = expected;
    const source = open({ signal });
    const verified =
      size === undefined
        ? verifyDigest(source, digest, maxBytes, digest)
        : verifyBytes(source, { digest, size }, digest);
    let written = 0;
    const counted = async function* (): Bytes {
      for await (const chunk of verified) {
        signal?.throwIfAborted();
        written += chunk.byteLength;
        yield chunk;
      }
    };
    await writeFileAtomic(this.blobPath(digest), counted(), {
      beforeRename: () => signal?.throwIfAborted(),
    });
    return written;
  }

  /** Takes a blob over from another layout on the same disk without copying; `false` where that did not work. */
  async linkBlob(descriptor: Descriptor, from: LayoutFolder): Promise<boolean> {
    if (!(await from.hasBlob(descriptor))) return false;
    await this.checkBeforeWriting();
    const path = this.blobPath(descriptor.digest);
    try {
      await mkdir(dirname(path), { recursive: true });
      await link(from.blobPath(descriptor.digest), path);
    } catch (error) {
      if (!isSystemError(error, 'EEXIST', 'ENOENT', 'EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'ENOSYS'))
        throw error;
    }
    return this.hasBlob(descriptor);
  }

  /** Removes a blob; an absent one is no error. */
  async removeBlob(digest: Digest): Promise<void> {
    await this.check();
    await rm(this.blobPath(digest), { force: true });
  }

  /** All blobs that are there, in no order. What has no digest for its name is passed over. */
  async *blobs(signal?: AbortSignal): AsyncIterable<FolderBlob> {
    await this.check();
    for (const algorithm of DIGEST_ALGORITHMS) {
      const folder = join(this.path, BLOBS, algorithm);
      const digests = (await namesIn(folder)).map((name) => `${algorithm}:${name}`).filter(isDigest);
      for (let at = 0; at < digests.length; at += STATS_AT_ONCE) {
        signal?.throwIfAborted();
        const some = digests.slice(at, at + STATS_AT_ONCE);
        const found = await Promise.all(some.map((digest) => statOf(join(folder, digestHex(digest)))));
        for (const [index, digest] of some.entries()) {
          const stat = found[index];
          if (stat?.isFile() !== true) continue;
          yield { digest, size: Number(stat.size), usedAt: Number(stat.mtimeMs) };
        }
      }
    }
  }

  /** Removes temporary files that killed processes left. Best effort: they may belong to another user. */
  async sweep(): Promise<void> {
    for (const folder of [this.path, join(this.path, BLOBS, 'sha256'), join(this.path, BLOBS, 'sha512')]) {
      for (const name of await readdir(folder).catch((): string[] => [])) {
        if (!name.startsWith('.tmp-')) continue;
        const found = await statOf(join(folder, name));
        if (found === undefined || Date.now() - Number(found.mtimeMs) <= SWEEP_AFTER_MS) continue;
        await rm(join(folder, name), { force: true }).catch(() => undefined);
      }
    }
  }

  /** Whether a folder is there; throws if it is anything else. */
  async #checkFolder(folder: string): Promise<boolean> {
    const path = join(this.#root, folder);
    let found;
    try {
      found = await statOf(path);
    } catch (error) {
      // All above was looked at before but the root.
      if (!isSystemError(error, 'ENOTDIR')) throw error;
      throw new FerryError('LAYOUT_INVALID', `\`${this.#root}\` is not a folder`, { cause: error });
    }
    if (found === undefined) return false;
    if (found.isDirectory()) return true;
    const kind = found.isSymbolicLink() ? 'a symbolic link, which is not followed' : 'not a folder';
    throw new FerryError('LAYOUT_INVALID', `\`${path}\` is ${kind}`);
  }
}

/** Opens a file for reading, `undefined` where there is none. @throws FerryError `LAYOUT_INVALID` for a symbolic link */
export async function openWithoutLinks(path: string): Promise<FileHandle | undefined> {
  try {
    // Windows has no such flag; `undefined` counts as 0 there.
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    if (!isSystemError(error, 'ELOOP', 'EMLINK')) throw error;
    throw new FerryError('LAYOUT_INVALID', `\`${path}\` is a symbolic link, which is not followed`, {
      cause: error,
    });
  }
}

/** What stands at a path, without following a link there; `undefined` for nothing. */
export async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Names of what is in a folder; none where there is no folder. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return [];
    throw error;
  }
}
