import { join } from 'node:path';
import { FerryError, isFerryError } from '../errors.js';
import { writeFileAtomic } from '../io/atomic-file.js';
import { digestOf, type Digest } from '../io/digest.js';
import { acquireDirectoryLock, type DirectoryLock, type DirectoryLockOptions } from '../io/directory-lock.js';
import { openWithoutLinks, statOf, type LayoutFolder } from './layout-folder.js';
import {
  EMPTY_INDEX,
  encodeLayoutIndex,
  IndexEditor,
  parseLayoutIndex,
  type LayoutIndex,
} from './layout-index.js';

/** Largest `index.json`: some million entries. */
const MAX_INDEX_BYTES = 256 * 1024 * 1024;

/** What all parsed indexes of a registry may take together, in bytes of their files. */
const MAX_CACHE_BYTES = 32 * 1024 * 1024;

/**
 * A file changed within this time of being read may change again without its times telling: clocks of file systems
 * tick every few milliseconds, and inode numbers are used again.
 */
const SETTLING_MS = 100;

/** A write that lost its lock, as after the machine slept, wrote nothing and may be done again so often. */
const MAX_ATTEMPTS = 3;

/** Times of the lock that guards `index.json`. */
export type LayoutLockOptions = Pick<DirectoryLockOptions, 'timeoutMs' | 'staleAfterMs' | 'heartbeatMs'>;

/**
 * One change to `index.json`. It looks first and edits last, so that it may run again or fail without trace; what it
 * returns runs after the file is written and still under the lock.
 */
export type IndexEdit = (editor: IndexEditor) => Promise<(() => Promise<void>) | undefined>;

interface CachedIndex {
  readonly index: LayoutIndex;
  readonly digest: Digest;
  readonly size: number;
  /** Identifies the file as long as nothing touches it; `undefined` while that cannot be relied on. */
  readonly stamp: string | undefined;
}

/** The parsed indexes last used, of all repositories of a registry. */
export class IndexCache {
  readonly #cached = new Map<string, CachedIndex>();
  #size = 0;

  get(path: string): CachedIndex | undefined {
    return this.#cached.get(path);
  }

  set(path: string, cached: CachedIndex): void {
    this.#remove(path);
    this.#cached.set(path, cached);
    this.#size += cached.size;
    for (const oldest of this.#cached.keys()) {
      if (this.#size <= MAX_CACHE_BYTES || oldest === path) break;
      this.#remove(oldest);
    }
  }

  #remove(path: string): void {
    this.#size -= this.#cached.get(path)?.size ?? 0;
    this.#cached.delete(path);
  }
}

/** How a change ended: badly if there is a `failure`. */
interface Outcome {
  readonly failure?: { readonly error: unknown };
}

interface PendingEdit {
  readonly edit: IndexEdit;
  /** The first call counts. */
  readonly settle: (outcome: Outcome) => void;
  isSettled: boolean;
  attempts: number;
}

/** The `index.json` of one layout: read without a lock, written in batches under one. */
export class IndexFile {
  readonly #folder: LayoutFolder;
  readonly #cache: IndexCache;
  readonly #lockOptions: LayoutLockOptions;
  readonly #path: string;
  #queue: PendingEdit[] = [];
  #writing: Promise<void> | undefined;
  #lockWait = new AbortController();
  #isSwept = false;

  constructor(folder: LayoutFolder, cache: IndexCache, lockOptions: LayoutLockOptions) {
    this.#folder = folder;
    this.#cache = cache;
    this.#lockOptions = lockOptions;
    this.#path = join(folder.path, 'index.json');
  }

  /** The index as it is on disk now, parsed only if it changed. @throws FerryError `LAYOUT_INVALID` */
  async read(): Promise<LayoutIndex> {
    await this.#folder.check();
    const cached = this.#cache.get(this.#path);
    if (cached?.stamp !== undefined) {
      const found = await statOf(this.#path);
      if (found !== undefined && stampOf(found) === cached.stamp) return cached.index;
    }
    return this.#load();
  }

  /**
   * Changes the index. Changes that arrive while others wait for the lock or are written go into one next write.
   * @throws FerryError `LOCK_TIMEOUT`, `LOCK_LOST`, `DISK_FULL`, `LAYOUT_INVALID`, or whatever `edit` throws
   */
  async commit(edit: IndexEdit, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    let abort: (() => void) | undefined;
    const { failure } = await new Promise<Outcome>((resolve) => {
      const pending: PendingEdit = {
        edit,
        attempts: 0,
        isSettled: false,
        settle: (outcome) => {
          pending.isSettled = true;
          resolve(outcome);
        },
      };
      // Only while it waits: once its write has begun, the change is seen through.
      abort = () => {
        const place = this.#queue.indexOf(pending);
        if (place === -1) return;
        this.#queue.splice(place, 1);
        if (this.#queue.length === 0) this.#lockWait.abort();
        pending.settle({ failure: { error: signal?.reason } });
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#queue.push(pending);
      this.#writing ??= this.#writeQueue();
    });
    if (abort !== undefined) signal?.removeEventListener('abort', abort);
    if (failure !== undefined) throw failure.error;
  }

  /** Waits until nothing is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #writeQueue(): Promise<void> {
    while (this.#queue.length > 0) {
      let batch: PendingEdit[] = [];
      const wait = new AbortController();
      this.#lockWait = wait;
      try {
        const written = await this.#underLock(wait.signal, async (lock) => {
          // Only now, so that all that came while we waited goes along.
          batch = this.#queue;
          this.#queue = [];
          return this.#write(batch, lock);
        });
        // Only now, so that a program that ends after its last push leaves no lock.
        for (const pending of written) pending.settle({});
      } catch (error) {
        // All who waited gave up; others may have come since.
        if (wait.signal.aborted && batch.length === 0) continue;
        if (batch.length === 0) {
          batch = this.#queue;
          this.#queue = [];
        }
        this.#failOrRepeat(batch, error);
      }
    }
    this.#writing = undefined;
  }

  async #underLock<T>(signal: AbortSignal, work: (lock: DirectoryLock) => Promise<T>): Promise<T> {
    await this.#folder.checkBeforeWriting();
    const options = { ...this.#lockOptions, signal };
    await using lock = await acquireDirectoryLock(join(this.#folder.path, '.lock'), options);
    return await work(lock);
  }

  /** Does what can be done of a batch; the rest is rejected. */
  async #write(batch: readonly PendingEdit[], lock: DirectoryLock): Promise<readonly PendingEdit[]> {
    if (!this.#isSwept) await this.#folder.sweep();
    this.#isSwept = true;
    const editor = new IndexEditor(await this.#load());
    const done = new Map<PendingEdit, (() => Promise<void>) | undefined>();
    for (const pending of batch) {
      try {
        done.set(pending, await pending.edit(editor));
      } catch (error) {
        pending.settle({ failure: { error } });
      }
    }
    if (editor.isChanged) {
      await this.#folder.makeLayout();
      const index = editor.finish();
      const bytes = encodeLayoutIndex(index);
      if (bytes.byteLength > MAX_INDEX_BYTES) throw this.#tooLarge();
      await writeFileAtomic(this.#path, bytes, { beforeRename: () => lock.assertHeld() });
      this.#cache.set(this.#path, {
        index,
        digest: digestOf(bytes),
        size: bytes.byteLength,
        stamp: undefined,
      });
    }
    for (const [pending, after] of done) {
      await after?.().catch((error: unknown) => {
        pending.settle({ failure: { error } });
      });
    }
    return [...done.keys()];
  }

  #failOrRepeat(batch: readonly PendingEdit[], error: unknown): void {
    for (const pending of batch) {
      if (pending.isSettled) continue;
      pending.attempts += 1;
      if (isFerryError(error, 'LOCK_LOST') && pending.attempts < MAX_ATTEMPTS) this.#queue.push(pending);
      else pending.settle({ failure: { error } });
    }
  }

  /** Reads the file whatever its times say; parses it only if its bytes are not those of the cached index. */
  async #load(): Promise<LayoutIndex> {
    const file = await openWithoutLinks(this.#path);
    if (file === undefined) return EMPTY_INDEX;
    let bytes: Uint8Array;
    let stamp: string | undefined;
    try {
      const found = await file.stat({ bigint: true });
      if (found.size > MAX_INDEX_BYTES) throw this.#tooLarge();
      bytes = await file.readFile();
      if (Math.abs(Date.now() - Number(found.mtimeMs)) > SETTLING_MS) stamp = stampOf(found);
    } finally {
      await file.close();
    }
    await this.#folder.checkVersion();
    const digest = digestOf(bytes);
    const cached = this.#cache.get(this.#path);
    const index = cached?.digest === digest ? cached.index : parseLayoutIndex(bytes, this.#path);
    this.#cache.set(this.#path, { index, digest, size: bytes.byteLength, stamp });
    return index;
  }

  #tooLarge(): FerryError {
    return new FerryError(
      'LAYOUT_INVALID',
      `\`${this.#path}\` has more than ${String(MAX_INDEX_BYTES)} bytes`,
    );
  }
}

function stampOf(file: { readonly ino: bigint; readonly size: bigint; readonly mtimeNs: bigint }): string {
  return [file.ino, file.size, file.mtimeNs].join(' ');
}
