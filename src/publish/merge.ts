/**
 * The merge of operations into a listing. For each archive the strongest claim counts, and which of two claims is stronger
 * depends on them alone: so writers that have seen the same operations, in whatever order and however often, agree.
 */
import type { MergeMark } from '../artifact/merge-mark.js';
import type { LoggedOperation, OperationEntry } from '../artifact/operation-log.js';
import type { JsonObject } from '../conda/record-details.js';
import { compareText } from '../io/compare-text.js';
import type { Listing } from './listing.js';

/** What is said of one archive: that it is listed, with which bytes and since when, or that it is not. */
type Claim =
  | {
      readonly kind: 'listed';
      readonly revision: number;
      readonly sha256: string;
      /** In milliseconds since 1970; `undefined` where the record does not tell. */
      readonly indexedTimestamp: number | undefined;
      readonly record: JsonObject;
    }
  | { readonly kind: 'removed' | 'held'; readonly revision: number };

/** Listing and mark of one moment. */
export interface MergedState {
  readonly listing: Listing;
  readonly mark: MergeMark;
}

/**
 * Merges operations into a state.
 * @returns the new state; the one given where it has all of them already
 */
export function mergeOperations(state: MergedState, operations: Iterable<LoggedOperation>): MergedState {
  const merged = new Set(state.mark.operations);
  const revisions: Record<string, number> = { ...state.mark.revisions };
  let listing = state.listing;
  for (const { tag, operation } of operations) {
    if (merged.has(tag)) continue;
    merged.add(tag);
    if (listing === state.listing) listing = listing.edit();
    for (const entry of operation.entries) apply(entry, listing, revisions);
  }
  if (listing === state.listing) return state;
  return { listing, mark: { ...state.mark, operations: [...merged].sort(), revisions } };
}

/**
 * Joins two states of one subdir, as if all that went into either had gone into one. For each archive the stronger claim
 * counts; members other than records are those of the first.
 */
export function joinStates(state: MergedState, other: MergedState): MergedState {
  const listing = state.listing.edit();
  const revisions: Record<string, number> = { ...state.mark.revisions };
  const names = new Set([
    ...other.listing.filenames(),
    ...other.listing.removed,
    ...Object.keys(other.mark.revisions),
  ]);
  for (const filename of names) {
    const claim = claimOf(filename, other.listing, other.mark.revisions);
    const present = claimOf(filename, listing, revisions);
    if (claim === undefined || (present !== undefined && !isStronger(claim, present))) continue;
    const record = other.listing.get(filename);
    if (record !== undefined) listing.set(filename, record);
    else if (claim.kind === 'removed') listing.remove(filename);
    else listing.delete(filename);
    note(revisions, filename, claim, listing);
  }
  const operations = [...new Set([...state.mark.operations, ...other.mark.operations])].sort();
  const epoch = Math.max(state.mark.epoch, other.mark.epoch);
  const { generation } = other.mark.epoch > state.mark.epoch ? other.mark : state.mark;
  const mark = { ...state.mark, epoch, operations, revisions };
  return { listing, mark: generation === undefined ? mark : { ...mark, generation } };
}

/** The revision of an archive: how many removals, replacements and returns it has behind it, as far as a state knows. */
export function revisionOf({ listing, mark }: MergedState, filename: string): number {
  return mark.revisions[filename] ?? defaultRevision(listing, filename);
}

function apply(entry: OperationEntry, listing: Listing, revisions: Record<string, number>): void {
  const { filename } = entry;
  const present = claimOf(filename, listing, revisions);
  const claim = claimOfEntry(entry);
  if (present !== undefined && !isStronger(claim, present)) return;
  if (entry.kind === 'remove') {
    if (entry.yank) listing.remove(filename);
    else listing.delete(filename);
  } else {
    listing.set(filename, inOrder(entry.record));
  }
  note(revisions, filename, claim, listing);
}

/** Writes a revision down where the listing alone does not tell it. */
function note(revisions: Record<string, number>, filename: string, claim: Claim, listing: Listing): void {
  // Of what is held nothing else tells.
  const isImplied = claim.kind !== 'held' && claim.revision === defaultRevision(listing, filename);
  if (isImplied) Reflect.deleteProperty(revisions, filename);
  else revisions[filename] = claim.revision;
}

function claimOf(
  filename: string,
  listing: Listing,
  revisions: Readonly<Record<string, number>>,
): Claim | undefined {
  const revision = revisions[filename] ?? defaultRevision(listing, filename);
  const record = listing.get(filename);
  if (record !== undefined) {
    const { sha256, indexed_timestamp: time } = record;
    return {
      kind: 'listed',
      revision,
      sha256: typeof sha256 === 'string' ? sha256 : '',
      indexedTimestamp: typeof time === 'number' ? time : undefined,
      record,
    };
  }
  if (listing.removed.has(filename)) return { kind: 'removed', revision };
  return Object.hasOwn(revisions, filename) ? { kind: 'held', revision } : undefined;
}

function claimOfEntry(entry: OperationEntry): Claim {
  const { revision } = entry;
  if (entry.kind === 'remove') return { kind: entry.yank ? 'removed' : 'held', revision };
  const { sha256, indexed_timestamp: indexedTimestamp } = entry.record;
  return { kind: 'listed', revision, sha256, indexedTimestamp, record: entry.record };
}

/** Without word of a revision, what is listed was added once, and what is removed was removed once. */
function defaultRevision(listing: Listing, filename: string): number {
  return !listing.has(filename) && listing.removed.has(filename) ? 1 : 0;
}

/** Of the same revision: a removal, else what was indexed first, else the smaller digest, else the smaller record. */
function isStronger(claim: Claim, present: Claim): boolean {
  if (claim.revision !== present.revision) return claim.revision > present.revision;
  if (claim.kind !== 'listed' || present.kind !== 'listed') return rank(claim) > rank(present);
  // Repodata of before CEP 47 tells no time: it was there first.
  if (present.indexedTimestamp === undefined) return false;
  const time = claim.indexedTimestamp ?? 0;
  if (time !== present.indexedTimestamp) return time < present.indexedTimestamp;
  if (claim.sha256 !== present.sha256) return claim.sha256 < present.sha256;
  // Two versions of this program may make two records of the same archive.
  return JSON.stringify(inOrder(claim.record)) < JSON.stringify(inOrder(present.record));
}

/** Keys sorted, as records are made: the order is lost where an operation is written and read. */
function inOrder(record: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => compareText(a, b)));
}

function rank({ kind }: Claim): number {
  return kind === 'removed' ? 2 : kind === 'held' ? 1 : 0;
}
