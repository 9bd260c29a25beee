import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder for one run's temporary files; disposing removes it with everything in it. */
export class TempFolder implements AsyncDisposable {
  readonly path: string;
  #count = 0;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes a new folder below `parent`. @defaultValue parent = the system's temporary folder */
  static async create(parent: string = tmpdir()): Promise<TempFolder> {
    return new TempFolder(await mkdtemp(join(parent, 'conda-ferry-')));
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
