import { archiveIdentity, type RepodataRecord } from '../../conda/package-record.js';
import type { RecordDetails } from '../../conda/record-details.js';
import type { Filters } from './filters.js';
import type { LeftOutReason, SelectionDraft } from './selection.js';
import { SpecIndex } from './spec-list.js';

/** What is known of records besides what they tell themselves. */
export interface RecordHistory {
  /** In milliseconds since 1970. */
  readonly nowMs: number;
  /** When the ledger first saw a record, in milliseconds since 1970. */
  readonly firstSeen: (subdir: string, filename: string) => number | undefined;
  /**
   * Tells whether a record is published already: it does not go because an age is asked for later, or a clock was wrong.
   * @param identity such as `sha256:…`; other bytes under a published name are as young as any
   */
  readonly isPublished?:
    ((subdir: string, filename: string, identity: string | undefined) => boolean) | undefined;
}

/** The filters that look at one record at a time. */
export class RecordJudge {
  readonly #filters: Filters;
  readonly #history: RecordHistory;
  readonly #exclude: SpecIndex;
  readonly #include: SpecIndex;
  readonly #undistributable: SpecIndex;
  readonly #minAgeExempt: SpecIndex;

  constructor(filters: Filters, history: RecordHistory) {
    this.#filters = filters;
    this.#history = history;
    this.#exclude = new SpecIndex(filters.exclude);
    this.#include = new SpecIndex(filters.include);
    this.#undistributable = new SpecIndex(filters.undistributable);
    this.#minAgeExempt = new SpecIndex(filters.minAgeExempt);
  }

  /** Whether anything is asked of a record but what every {@link RepodataRecord} tells. */
  needsDetails({ name }: Pick<RepodataRecord, 'name'>): boolean {
    const { sinceMs, minAgeMs } = this.#filters;
    const lists = [this.#exclude, this.#include, this.#undistributable];
    return sinceMs !== undefined || minAgeMs !== undefined || lists.some((specs) => specs.mayMatch(name));
  }

  /** Why nothing can make a record wanted, not even that others depend on it; age aside. */
  whyNever(record: RecordDetails): LeftOutReason | undefined {
    const { maxSize } = this.#filters;
    if (this.#undistributable.matches(record)) return 'undistributable';
    if (this.#exclude.matches(record) && !this.#include.matches(record)) return 'excluded';
    // A record without a size is not known to be too large.
    if (maxSize !== undefined && (record.size ?? 0) > maxSize) return 'too-large';
    return undefined;
  }

  /** Why a record is not wanted for its own sake; others may still depend on it. */
  whyNotAsked(record: RecordDetails): LeftOutReason | undefined {
    const { sinceMs } = this.#filters;
    if (!this.#include.isEmpty && this.#exclude.isEmpty && !this.#include.matches(record)) {
      return 'not-included';
    }
    // The oldest records have no date at all.
    const builtMs = record.timestampMs ?? record.indexedTimestampMs ?? Number.NEGATIVE_INFINITY;
    return sinceMs !== undefined && builtMs < sinceMs ? 'before-since' : undefined;
  }

  /** Tells whether a record is too young, and if so has it wait in the draft. */
  isTooYoung(record: RecordDetails, draft: SelectionDraft): boolean {
    const { minAgeMs } = this.#filters;
    if (minAgeMs === undefined) return false;
    const { listedIn, filename, indexedTimestampMs } = record;
    const { nowMs, firstSeen, isPublished } = this.#history;
    const sinceMs = indexedTimestampMs ?? firstSeen(listedIn, filename) ?? nowMs;
    const ripensAtMs = sinceMs + minAgeMs;
    // A time in the future is a wrong clock: it makes a record too young, never old enough.
    if (ripensAtMs <= nowMs || this.#minAgeExempt.matches(record)) return false;
    if (isPublished?.(listedIn, filename, archiveIdentity(record)) === true) return false;
    draft.wait(filename, ripensAtMs, indexedTimestampMs === undefined ? sinceMs : undefined);
    return true;
  }
}
