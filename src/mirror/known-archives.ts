import type { RecordRows } from '../conda/repodata/record-rows.js';
import type { Repodata } from '../conda/repodata/repodata.js';
import { parseArchiveFilename } from '../conda/names.js';
import { FerryError } from '../errors.js';

/** The published repodata, as far as it is believed. */
export interface BelievedListing {
  readonly repodata: Repodata;
  /** What is in this one is not believed, since it is asked for. @defaultValue all is believed */
  readonly unless?: Repodata | undefined;
}

/** What is known of an archive: that it is there with the bytes of a record, that other bytes are, or nothing. */
export type KnownState = 'same' | 'other' | 'absent';

/**
 * What is known to be in a store, listed or not: file name to identity. Most of it is what the published repodata lists,
 * and that is not copied.
 */
export class KnownArchives implements Iterable<readonly [string, string]> {
  readonly #listed: BelievedListing | undefined;
  readonly #others: ReadonlyMap<string, string>;
  #rows: RecordRows | undefined;

  /** @param others what is known besides, and what is known better */
  constructor(listed: BelievedListing | undefined, others: ReadonlyMap<string, string>) {
    this.#listed = listed;
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
    for (const filename of this.#listed?.repodata.filenames() ?? []) {
      const identity = this.#others.has(filename) ? undefined : this.#listedIdentity(filename);
      if (identity !== undefined) yield [filename, identity];
    }
  }

  /**
   * What is known and is not among the rows that `isAmong` tells of: of a million that are, nothing is made.
   * @param rows of the source's repodata
   */
  *besides(rows: RecordRows, isAmong: (row: number) => boolean): Generator<readonly [string, string]> {
    for (const [filename, identity] of this.#others) {
      const row = rows.rowOf(filename);
      if (row === undefined || !isAmong(row)) yield [filename, identity];
    }
    if (this.#listed === undefined) return;
    const own = this.#listedRows(this.#listed);
    for (const row of own.order) {
      const theirs = own.rowIn(rows, row);
      if (theirs !== undefined && isAmong(theirs)) continue;
      const filename = own.filename(row);
      const identity = this.#others.has(filename) ? undefined : this.#listedIdentity(filename);
      if (identity !== undefined) yield [filename, identity];
    }
  }

  /** Tells of rows of the source's repodata what is known of their archives. */
  stateOf(rows: RecordRows): (row: number) => KnownState {
    const others = new Map<number, string>();
    for (const [filename, identity] of this.#others) {
      const row = rows.rowOf(filename);
      if (row !== undefined) others.set(row, identity);
    }
    const listed = this.#listed;
    const own = listed && this.#listedRows(listed);
    return (row) => {
      const other = others.get(row);
      if (other !== undefined) return other === identityOf(rows, row) ? 'same' : 'other';
      const theirs = own && rows.rowIn(own, row);
      if (own === undefined || theirs === undefined || !own.hasIdentity(theirs)) return 'absent';
      if (listed?.unless !== undefined && listed.unless.has(rows.filename(row))) return 'absent';
      return rows.hasSameIdentity(row, own, theirs) ? 'same' : 'other';
    };
  }

  /** Names of the packages that something is known of. */
  packageNames(): ReadonlySet<string> {
    const names = new Set(this.#listed?.repodata.packageNames());
    for (const filename of this.#others.keys()) {
      try {
        names.add(parseArchiveFilename(filename).name);
      } catch (error) {
        // Ledgers may name what no archive is called.
        if (!(error instanceof FerryError)) throw error;
      }
    }
    return names;
  }

  #listedRows({ repodata }: BelievedListing): RecordRows {
    return (this.#rows ??= repodata.rows());
  }

  #listedIdentity(filename: string): string | undefined {
    if (this.#listed?.unless?.has(filename) === true) return undefined;
    return this.#listed?.repodata.identity(filename);
  }
}

function identityOf(rows: RecordRows, row: number): string | undefined {
  const { sha256, md5 } = rows.record(row);
  return sha256 === undefined ? md5 && `md5:${md5}` : `sha256:${sha256}`;
}
