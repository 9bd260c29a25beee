import type { ChannelStore } from '../artifact/channel-store.js';
import type { Ledger, LedgerRole, Quarantined } from '../artifact/ledger.js';
import type { Digest } from '../io/digest.js';
import type { Snapshot } from './snapshot.js';
import type { Refused } from './wanted-records.js';

/** What a run ends with, as the ledger keeps it. */
export interface LedgerInput {
  readonly store: ChannelStore;
  readonly subdir: string;
  readonly role: LedgerRole;
  readonly migrated?: Ledger['migrated'];
  /** Digest of what decides which records are wanted. */
  readonly filters: Digest;
  /** The source's repodata as it was read; `undefined` where the next run is to look at it anew. */
  readonly seen: Ledger['source'];
  readonly repodata: Digest;
  readonly unchanged: boolean;
  readonly complete: boolean;
  readonly counts: NonNullable<Ledger['counts']>;
  readonly withheld: readonly (Omit<Refused, 'code'> & { readonly code: string })[];
  readonly quarantine: readonly Quarantined[];
  readonly kept: ReadonlyMap<string, string>;
  /** Since when archives are not listed. @defaultValue of none it is known */
  readonly unlisted?: Ledger['unlisted'];
  readonly foreign: ReadonlySet<string>;
  readonly subdirs: readonly string[] | undefined;
  /** When things were seen and are to be looked at, and what they cost. */
  readonly times?: Pick<Ledger, 'ripens' | 'waiting' | 'requests_per_blob'> | undefined;
  /** What lies beside the repodata. */
  readonly beside?: Pick<Ledger, 'companions' | 'sidecars' | 'shims'> | undefined;
}

/** What a ledger keeps of the source's repodata. */
export function seenOf({ origin, digest }: Snapshot): NonNullable<Ledger['source']> {
  const { etag, lastModified } = origin.validators;
  return {
    file: origin.file,
    digest,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { last_modified: lastModified }),
  };
}

/** Makes the ledger of a run that has ended, its keys in the order in which they are read. */
export function makeLedger(input: LedgerInput): Ledger {
  const { subdirs, migrated, seen, unlisted = {} } = input;
  return {
    ledger_version: 1,
    schema: input.store.schema.id,
    subdir: input.subdir,
    role: input.role,
    ...(migrated === undefined ? {} : { migrated }),
    filters: input.filters,
    ...(seen === undefined ? {} : { source: seen }),
    repodata: input.repodata,
    unchanged: input.unchanged,
    complete: input.complete,
    counts: input.counts,
    withheld: input.withheld.map(({ filename, code, message, clause }) => ({
      filename,
      code,
      message,
      ...(clause === undefined ? {} : { clause }),
    })),
    quarantine: [...input.quarantine],
    kept: Object.fromEntries(input.kept),
    ...(Object.keys(unlisted).length === 0 ? {} : { unlisted }),
    foreign: [...input.foreign],
    ...input.times,
    ...(subdirs === undefined ? {} : { subdirs: [...subdirs] }),
    ...input.beside,
  };
}
