/**
 * Repositories on disk, each an OCI image layout of its own at `<root>/<repository name>/`: readable by any tool that
 * knows image layouts, and the whole tree by registries that serve such trees. Several processes may write at once;
 * reading takes no lock.
 * @see image-spec v1.1, "OCI Image Layout Specification"
 */
import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FerryError, isSystemError } from '../errors.js';
import { forEachConcurrently } from '../io/pool.js';
import { WeakValues } from '../io/weak-values.js';
import { isRepositoryName, MAX_NAME_LENGTH, parseRepositoryName } from '../oci/reference.js';
import type { CallOptions, Registry } from '../oci/storage.js';
import { IndexCache, IndexFile, type LayoutLockOptions } from './index-file.js';
import { LAYOUT_FILE, LayoutFolder } from './layout-folder.js';
import { LayoutRepository } from './layout-repository.js';

/** Folders listed at once while repositories are searched for. */
const WALK_CONCURRENCY = 8;

/** Options of {@link openLayoutRegistry}. */
export interface LayoutRegistryOptions {
  /** Times of the locks on `index.json`; all who share the tree must use the same. @defaultValue those of the lock */
  readonly lock?: LayoutLockOptions | undefined;
}

/**
 * Opens a tree of image layouts, which need not exist yet: `openLayoutRegistry('./channel')`. Reading creates
 * nothing. To be disposed of, which waits for writes under way.
 */
export function openLayoutRegistry(root: string, options: LayoutRegistryOptions = {}): LayoutRegistry {
  return new LayoutRegistry(root, options);
}

/** A folder of image layouts; see {@link openLayoutRegistry}. */
export class LayoutRegistry implements Registry {
  readonly location: string;
  readonly maxNameLength = MAX_NAME_LENGTH;
  readonly requestsPerBlob = 0;
  readonly #lockOptions: LayoutLockOptions;
  readonly #cache = new IndexCache();
  readonly #repositories = new WeakValues<LayoutRepository>();

  constructor(root: string, options: LayoutRegistryOptions = {}) {
    this.location = root;
    this.#lockOptions = options.lock ?? {};
  }

  repository(name: string): LayoutRepository {
    return this.#open(name);
  }

  /** Names of all layouts below the root, sorted. @throws FerryError `LAYOUT_INVALID` if the root is itself a layout */
  async repositories(options: CallOptions = {}): Promise<readonly string[]> {
    const found: string[] = [];
    let level = [''];
    while (level.length > 0) {
      const below: string[] = [];
      await forEachConcurrently(level, { ...options, concurrency: WALK_CONCURRENCY }, async (folder) => {
        const entries = await this.#list(folder);
        if (entries.some((entry) => entry.isFile() && entry.name === LAYOUT_FILE)) found.push(folder);
        else below.push(...foldersIn(folder, entries));
      });
      level = below;
    }
    if (found.includes('')) {
      throw new FerryError(
        'LAYOUT_INVALID',
        `\`${this.location}\` is itself an image layout, not a folder of them`,
      );
    }
    return found.sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#repositories.values().map((repository) => repository.settled()));
  }

  #open(name: string): LayoutRepository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const folder = new LayoutFolder(this.location, parseRepositoryName(name));
    const index = new IndexFile(folder, this.#cache, this.#lockOptions);
    const repository = new LayoutRepository(name, folder, index, (other) => this.#open(other).folder);
    this.#repositories.set(name, repository);
    return repository;
  }

  async #list(folder: string): Promise<Dirent[]> {
    const path = join(this.location, folder);
    try {
      return await readdir(path, { withFileTypes: true });
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return [];
      if (!isSystemError(error, 'ENOTDIR')) throw error;
      throw new FerryError('LAYOUT_INVALID', `\`${path}\` is not a folder`, { cause: error });
    }
  }
}

/** Folders that may hold repositories; links, which could lead anywhere, are no folders here. */
function foldersIn(parent: string, entries: readonly Dirent[]): string[] {
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => (parent === '' ? entry.name : `${parent}/${entry.name}`))
    .filter(isRepositoryName);
}
