import type { RepodataRecord } from '../../conda/package-record.js';
import type { RecordDetails } from '../../conda/record-details.js';
import type { DetailsOptions } from '../../conda/repodata/repodata.js';
import type { CallOptions } from '../../oci/storage.js';
import { DependencyGraph } from './dependency-graph.js';
import type { Filters } from './filters.js';
import { LockComparison } from './lock-comparison.js';
import { NewestVersions } from './newest-versions.js';
import { RecordJudge, type RecordHistory } from './record-judge.js';
import { SelectionDraft, type Selection } from './selection.js';
import { takeDependencies } from './take-dependencies.js';

/** What {@link SubdirRecords.details} is told. */
export type SelectableOptions = Pick<DetailsOptions, 'needs' | 'signal'>;

/** The records of one subdir. */
export interface SubdirRecords {
  readonly subdir: string;
  /** Reads them from the beginning each time; twice where dependencies are taken too, else once. */
  readonly details: (options: SelectableOptions) => AsyncIterable<RecordDetails>;
}

/** What {@link selectRecords} knows besides records and filters. */
export type SelectOptions = RecordHistory & Pick<CallOptions, 'signal'>;

/**
 * Decides which records are wanted: each by itself first, then the newest versions of what is left, then what these depend
 * on. The same records are wanted whatever their order.
 *
 * Holds the file names of what is wanted, and of no record more than that, unless dependencies are taken too: then also
 * the records of all packages that could be needed.
 * @param subdirs all that are mirrored: dependencies lead from platforms to `noarch` and back
 * @returns for each subdir what is wanted of it
 */
export async function selectRecords(
  subdirs: readonly SubdirRecords[],
  filters: Filters,
  options: SelectOptions,
): Promise<ReadonlyMap<string, Selection>> {
  const judge = new RecordJudge(filters, options);
  // A lock file names all that it needs.
  const isClosed = filters.withDependencies && filters.lock === undefined;
  const graph = isClosed ? new DependencyGraph() : undefined;
  const needsAll = graph !== undefined || filters.latest?.perVariant === true;
  const needs = needsAll ? undefined : (record: RepodataRecord) => judge.needsDetails(record);
  const drafts = new Map<string, SelectionDraft>();
  const locks = new Map<string, LockComparison>();
  for (const { subdir, details } of subdirs) {
    const draft = new SelectionDraft();
    const lock = filters.lock && new LockComparison(subdir, filters.lock);
    drafts.set(subdir, draft);
    if (lock !== undefined) locks.set(subdir, lock);
    const newest = filters.latest && new NewestVersions(filters.latest);
    for await (const record of details({ needs, signal: options.signal })) {
      options.signal?.throwIfAborted();
      // Asked of all: what is locked and excluded is at the source all the same.
      const isLocked = lock?.isLocked(record) ?? true;
      const never = judge.whyNever(record) ?? (isLocked ? undefined : 'not-locked');
      if (never === undefined) graph?.add(record);
      const reason =
        never ?? judge.whyNotAsked(record) ?? (judge.isTooYoung(record, draft) ? 'too-young' : undefined);
      if (reason !== undefined) draft.leaveOut(reason, record.filename);
      else if (newest === undefined) draft.wanted.add(record.filename);
      else for (const filename of newest.add(record)) draft.leaveOut('older-than-latest', filename);
    }
    for (const filename of newest?.filenames() ?? []) draft.wanted.add(filename);
  }
  if (graph !== undefined) await takeDependencies({ subdirs, drafts, judge, graph, filters }, options);
  return new Map(
    [...drafts].map(([subdir, draft]) => [
      subdir,
      draft.finish(locks.get(subdir)?.finish() ?? { lockMissing: [], lockMismatches: [] }),
    ]),
  );
}
