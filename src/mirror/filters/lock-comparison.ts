import { archiveIdentity, type RepodataRecord } from '../../conda/package-record.js';
import {
  isLockedHash,
  type LockedArchive,
  type LockedArchives,
} from '../../provenance/lock-files/locked-archives.js';
import type { LockMismatch, Selection } from './selection.js';

/** Compares the records of one subdir with what is locked. */
export class LockComparison {
  readonly #locked = new Map<string, LockedArchive[]>();
  readonly #found = new Set<LockedArchive>();
  /** Identities of records that have a locked name and whatever bytes. */
  readonly #seen = new Map<string, string | undefined>();

  constructor(subdir: string, locked: LockedArchives) {
    for (const archive of locked.archives) {
      if (archive.subdir !== subdir) continue;
      const known = this.#locked.get(archive.filename);
      if (known === undefined) this.#locked.set(archive.filename, [archive]);
      else known.push(archive);
    }
  }

  /** Tells whether a record is locked with just its bytes, and remembers that the source has it. */
  isLocked(record: RepodataRecord): boolean {
    return this.find(record) !== undefined;
  }

  /** What is locked with just the record's bytes. Remembers that the source has it. */
  find(record: RepodataRecord): LockedArchive | undefined {
    const candidates = this.#locked.get(record.filename);
    if (candidates === undefined) return undefined;
    this.#seen.set(record.filename, archiveIdentity(record));
    const same = candidates.filter((archive) => isLockedHash(archive, record));
    for (const archive of same) this.#found.add(archive);
    return same[0];
  }

  /** What is locked and was not found. */
  finish(): Pick<Selection, 'lockMissing' | 'lockMismatches'> {
    const open = [...this.#locked.values()].flat().filter((archive) => !this.#found.has(archive));
    const isSeen = ({ filename }: LockedArchive): boolean => this.#seen.has(filename);
    return {
      lockMissing: open.filter((archive) => !isSeen(archive)),
      lockMismatches: open
        .filter(isSeen)
        .map((locked): LockMismatch => ({ locked, found: this.#seen.get(locked.filename) })),
    };
  }
}
