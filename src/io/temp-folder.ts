import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FerryError, isSystemError } from '../errors.js';
import { ByteBudget } from './byte-budget.js';

/** Of what is free at the start: others fill the same disk, and repodata lies there too. */
const DEFAULT_SHARE = 0.5;

/** Options of {@link TempFolder.create}. */
export interface TempFolderOptions {
  /** Bytes that archives may take up at once. @defaultValue half of what is free on that disk */
  readonly limitBytes?: number | undefined;
}

/** A folder for one run's temporary files; disposing removes it with everything in it. */
export class TempFolder implements AsyncDisposable {
  readonly path: string;
  /** Room for archives: to be asked before one is fetched, so that many large ones do not fill the disk together. */
  readonly room: ByteBudget;
  #count = 0;

  private constructor(path: string, room: ByteBudget) {
    this.path = path;
    this.room = room;
  }

  /**
   * Makes a new folder below `parent`.
   * @defaultValue parent = the system's temporary folder
   * @throws FerryError `USAGE` where there can be none
   */
  static async create(
    parent: string = tmpdir(),
    { limitBytes }: TempFolderOptions = {},
  ): Promise<TempFolder> {
    try {
      const room = new ByteBudget(limitBytes ?? (await defaultLimit(parent)));
      return new TempFolder(await mkdtemp(join(parent, 'conda-ferry-')), room);
    } catch (cause) {
      if (!isSystemError(cause, 'ENOENT', 'ENOTDIR', 'EACCES', 'EROFS')) throw cause;
      throw new FerryError('USAGE', `\`${parent}\` cannot hold temporary files`, {
        cause,
        hint: 'choose another folder with --temp-dir',
      });
    }
  }

  /** A path in the folder that was not given out before. */
  newPath(): string {
    this.#count += 1;
    return join(this.path, String(this.#count));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

async function defaultLimit(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return Math.floor(bavail * bsize * DEFAULT_SHARE);
}
