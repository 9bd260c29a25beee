import type { Repodata } from '../conda/repodata/repodata.js';

/**
 * What is known to be in a store, listed or not: file name to identity. Most of it is what the published repodata lists,
 * and that is not copied.
 */
export class KnownArchives implements Iterable<readonly [string, string]> {
  readonly #listed: Repodata | undefined;
  readonly #believes: (filename: string) => boolean;
  readonly #others: ReadonlyMap<string, string>;

  /**
   * @param listed the published repodata, as far as it is believed
   * @param others what is known besides, and what is known better
   */
  constructor(
    listed: { readonly repodata: Repodata; readonly believes: (filename: string) => boolean } | undefined,
    others: ReadonlyMap<string, string>,
  ) {
    this.#listed = listed?.repodata;
    this.#believes = listed?.believes ?? (() => false);
    this.#others = others;
  }

  /** Whether nothing is known to be there. */
  get isEmpty(): boolean {
    for (const _ of this) return false;
    return true;
  }

  has(filename: string): boolean {
    return this.identity(filename) !== undefined;
  }

  /** Such as `sha256:…`; `undefined` for an archive that is not known to be there. */
  identity(filename: string): string | undefined {
    return this.#others.get(filename) ?? this.#listedIdentity(filename);
  }

  *[Symbol.iterator](): Generator<readonly [string, string]> {
    yield* this.#others;
    for (const filename of this.#listed?.filenames() ?? []) {
      const identity = this.#others.has(filename) ? undefined : this.#listedIdentity(filename);
      if (identity !== undefined) yield [filename, identity];
    }
  }

  /** File names of all that is known. */
  *filenames(): Generator<string> {
    for (const [filename] of this) yield filename;
  }

  #listedIdentity(filename: string): string | undefined {
    return this.#believes(filename) ? this.#listed?.identity(filename) : undefined;
  }
}
