/** Who carries the archives of a run: this process, or workers elsewhere. */
import { CopyError, messageOf, type FerryErrorCode } from '../errors.js';
import type { RepodataRecord } from '../conda/package-record.js';
import type { PlanItem, SubdirPlan } from './plan.js';
import type { TransferOptions, TransferOutcome } from './transfer.js';

/** What became of one archive, as plain data, so that it can be told from one machine to another. */
export type SettledArchive =
  | { readonly record: RepodataRecord; readonly outcome: 'added'; readonly size: number }
  | {
      readonly record: RepodataRecord;
      readonly outcome: 'failed';
      readonly code: FerryErrorCode;
      readonly message: string;
      /** Whether its tag may have been written all the same. */
      readonly mayHaveWritten: boolean;
    };

/** The archives of one subdir that are to be carried. */
export interface ExecutorWork {
  readonly plan: SubdirPlan;
  /** Archives that failed before: nothing of them is sent until they are checked. */
  readonly isSuspect: (record: RepodataRecord) => boolean;
  /** Begin with no more items once it aborts; what is under way is finished. */
  readonly stop: AbortSignal | undefined;
  /** Aborts when what is under way is not to be waited for any longer. */
  readonly signal: AbortSignal;
  /** Told of each item that is done with; it may take its time, and what it throws ends the work. */
  readonly settled: (item: PlanItem, archives: readonly SettledArchive[]) => Promise<void>;
  /** Told of each item whose end nobody waited for. */
  readonly abandoned: (item: PlanItem) => void;
}

/** What an {@link Executor} finds at hand. */
export interface ExecutorContext extends Omit<TransferOptions, 'isSuspect' | 'known' | 'signal'> {
  /** Items under way at once, where they are carried here. */
  readonly concurrency: number;
}

/** Who carries the archives of a run. */
export interface Executor {
  /**
   * Looks whether it can take on what is planned, before anything is written.
   * @throws what ends the run
   */
  prepare?(plans: readonly SubdirPlan[]): Promise<void>;
  /**
   * Carries the items of a plan. Items of which nothing is told were not begun, or ended in the error that is thrown.
   * @throws what ends the whole run, after what was under way has ended; what `signal` aborts with
   */
  carry(work: ExecutorWork, context: ExecutorContext): Promise<void>;
}

/** Makes plain data of what became of an archive. */
export function settledOf(outcome: TransferOutcome): SettledArchive {
  const { record } = outcome;
  if (outcome.outcome === 'added') return { record, outcome: 'added', size: outcome.size };
  const { error } = outcome;
  const mayHaveWritten = error instanceof CopyError;
  return { record, outcome: 'failed', code: error.code, message: messageOf(error), mayHaveWritten };
}
