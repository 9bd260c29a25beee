import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FerryError, isSystemError } from '../errors.js';

/** A folder for one run's temporary files; disposing removes it with everything in it. */
export class TempFolder implements AsyncDisposable {
  readonly path: string;
  #count = 0;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes a new folder below `parent`. @defaultValue parent = the system's temporary folder */
  static async create(parent: string = tmpdir()): Promise<TempFolder> {
    try {
      return new TempFolder(await mkdtemp(join(parent, 'conda-ferry-')));
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
