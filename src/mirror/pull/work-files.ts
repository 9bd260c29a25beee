import { createHash, randomBytes } from 'node:crypto';
import { lstat, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isSystemError } from '../../errors.js';
import { isGone, thisProcess, type ProcessIdentity } from '../../io/process-identity.js';

/** `.<sha256>.partial`, or with its owner in between; `.<sha256>.<owner>.unpacking` is a folder. */
const NAME_PATTERN =
  /^\.(?<sha256>[0-9a-f]{64})(?:\.(?<owner>[0-9a-f]+-\d+-\d*-[0-9a-f]+))?\.(?<kind>partial|unpacking)$/;

/** A part of an archive that only this run writes to. */
export interface PartialFile {
  readonly path: string;
  /** Bytes that an earlier run left in it. */
  readonly size: number;
}

/**
 * What pulls leave beside the archives while they work, named after the sha256 of the archive and after the process whose it
 * is, so that two pulls into one folder do not write to one file. A part without an owner is anybody's: whoever renames it
 * has it. So is one whose owner is known to run no more.
 */
export class WorkFiles {
  readonly #folder: string;
  readonly #self: ProcessIdentity;
  readonly #machine: string;
  /** Parts that were there and belong to nobody, by the sha256 of their archives. */
  readonly #left = new Map<string, string[]>();

  private constructor(folder: string, self: ProcessIdentity) {
    this.#folder = folder;
    this.#self = self;
    this.#machine = createHash('sha256')
      .update(JSON.stringify([self.host, self.bootId, self.pidNamespace]))
      .digest('hex')
      .slice(0, 12);
  }

  /** Looks what earlier runs left in a folder, and takes away what of it nobody can use. */
  static async open(folder: string): Promise<WorkFiles> {
    const files = new WorkFiles(folder, await thisProcess());
    for (const name of await readdir(folder)) {
      const { sha256, owner, kind } = NAME_PATTERN.exec(name)?.groups ?? {};
      if (sha256 === undefined || !(owner === undefined || (await files.#isGone(owner)))) continue;
      if (kind === 'partial') files.#left.set(sha256, [...(files.#left.get(sha256) ?? []), name]);
      else await rm(join(folder, name), { recursive: true, force: true });
    }
    return files;
  }

  /** Takes over what there is of an archive, or nothing. */
  async claim(sha256: string): Promise<PartialFile> {
    const path = join(this.#folder, this.#ownName(sha256, 'partial'));
    for (const name of this.#left.get(sha256) ?? []) {
      try {
        await rename(join(this.#folder, name), path);
        const status = await lstat(path);
        if (status.isFile() && status.nlink === 1 && status.size > 0) return { path, size: status.size };
        // An empty one is worth nothing. And where others may write, somebody could have us write into a file of ours.
        await rm(path, { recursive: true });
      } catch (error) {
        // Another pull was faster.
        if (!isSystemError(error, 'ENOENT')) throw error;
      }
    }
    return { path, size: 0 };
  }

  /** Leaves a part for whoever comes next. */
  async release({ path }: PartialFile, sha256: string): Promise<void> {
    const name = `.${sha256}.partial`;
    await rename(path, join(this.#folder, name));
    this.#left.set(sha256, [name]);
  }

  /** Path of a folder to unpack an archive in; it is not there yet. */
  unpackingFolder(sha256: string): string {
    return join(this.#folder, this.#ownName(sha256, 'unpacking'));
  }

  #ownName(sha256: string, kind: 'partial' | 'unpacking'): string {
    const { pid, startTime = '' } = this.#self;
    const owner = [this.#machine, String(pid), startTime, randomBytes(4).toString('hex')].join('-');
    return `.${sha256}.${owner}.${kind}`;
  }

  async #isGone(owner: string): Promise<boolean> {
    const [machine, pid, startTime] = owner.split('-');
    // Nobody here can tell whether a process of another machine still runs.
    if (machine !== this.#machine) return false;
    const identity = { ...this.#self, pid: Number(pid), startTime: startTime === '' ? undefined : startTime };
    return isGone(identity, this.#self);
  }
}
