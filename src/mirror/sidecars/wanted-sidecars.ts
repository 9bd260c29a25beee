import type { PlannedWork } from '../subdir-work.js';
import { attestedRecords, type AttestedRecord } from './attested-records.js';

/** The sidecars that the run of a subdir has to see to. */
export interface WantedSidecars {
  readonly records: Iterable<AttestedRecord>;
  /** SHA-256 of those that are there. */
  readonly known: ReadonlySet<string>;
  /** Whether others may be there too. */
  readonly asksFirst: boolean;
}

/** Finds the sidecars of all that a subdir is to list, and says which of them are known to be there. */
export function wantedSidecars(
  { plan, snapshot, published, state, isTrusted }: PlannedWork,
  { deep }: { readonly deep: boolean },
): WantedSidecars {
  const isKnown = isTrusted && state.ledger?.sidecars === true;
  const listed = isKnown ? (published?.repodata.attestations() ?? []) : [];
  return {
    records: attestedRecords(snapshot.repodata, (filename) => plan.identity(filename) !== undefined),
    known: new Set(Array.from(listed, ({ sha256 }) => sha256)),
    asksFirst: state.trust === 'interrupted' || state.trust === 'unknown' || deep,
  };
}
