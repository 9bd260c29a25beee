import { isSameLedger, writeLedger, type Ledger, type Quarantined } from '../artifact/ledger.js';
import { archiveIdentity, type RepodataRecord } from '../conda/package-record.js';
import { CopyError, messageOf } from '../errors.js';
import { forEachConcurrently } from '../io/pool.js';
import {
  composeRepodata,
  firstLedger,
  makeLedger,
  newRunning,
  publishedAlready,
  publishRepodata,
  seenOf,
  type Composition,
} from './publish.js';
import { quarantinedOf } from './quarantine.js';
import type { PlanItem } from './plan.js';
import { carryUnlisted } from './prune/unlisted-since.js';
import type { Failure, SubdirReport } from './report.js';
import type { RunContext } from './run-context.js';
import type { PlannedWork } from './subdir-work.js';
import { transferItem, type TransferOutcome } from './transfer.js';

/**
 * Runs the plan of one subdir and publishes what came of it.
 * @param discovered subdirs of the channel, where its source could not list them; noarch's ledger remembers them
 * @throws CopyError where the destination fails as a whole, FerryError `DISK_FULL`
 */
export async function runPlan(
  work: PlannedWork,
  discovered: readonly string[] | undefined,
  context: RunContext,
): Promise<SubdirReport> {
  const { subdir, plan, snapshot } = work;
  const result = new RunResult(work, context);
  for (const warning of work.warnings) context.reporter.warning?.(warning);

  let ledger = ledgerOfRun(work, context);
  const isMarked = plan.items.length > 0;
  if (isMarked) {
    // From here on the registry may hold more than the ledger knows.
    ledger = { ...ledger, running: newRunning(context.now()) };
    await writeLedger(context.store, ledger, context);
  }
  const listsReplaced = plan.items.some(
    (item) => item.replaces && namesOf(item).some((filename) => isListed(work, filename)),
  );
  if (listsReplaced) {
    // Published without them, replaced, published with them: nobody ever finds other bytes than are listed.
    const pushed = await publishRepodata(snapshot, compose(work, result), ledger, context);
    ledger = { ...ledger, repodata: pushed.digest };
  }
  await transferAll(work, result, context);

  const composition = compose(work, result);
  const current = listsReplaced ? undefined : publishedAlready(work.published, composition);
  const latest = current ?? (await publishRepodata(snapshot, composition, ledger, context));
  const kept = new Map(
    [...plan.before].filter(([filename]) => result.keeps(filename) && !work.foreign.has(filename)),
  );
  const final = makeLedger({
    store: context.store,
    role: { kind: 'mirror', source: context.source.url },
    seen: seenOf(snapshot),
    snapshot,
    repodata: latest.digest,
    unchanged: composition.unchanged,
    complete: result.failed.length === 0,
    counts: { listed: plan.listed, there: result.there.size },
    withheld: plan.withheld,
    quarantine: result.quarantine,
    kept,
    foreign: work.foreign,
    unlisted: carryUnlisted(work.state.ledger, kept.keys(), {
      isListed: (filename) => result.there.has(filename) || work.foreign.has(filename),
      listedBefore: (filename) => isListed(work, filename),
      now: context.now(),
    }),
    subdirs: subdir === 'noarch' ? (discovered ?? work.state.ledger?.subdirs) : undefined,
  });
  if (isMarked || listsReplaced || !isSameLedger(final, work.state.ledger))
    await writeLedger(context.store, final, context);
  const publishedAs = current !== undefined ? 'kept' : composition.unchanged ? 'unchanged' : 'spliced';
  context.reporter.published?.(subdir, publishedAs);
  return {
    subdir,
    publishedAs,
    listed: plan.listed,
    there: plan.there.size,
    added: result.there.size - plan.there.size,
    addedBytes: result.addedBytes,
    artifacts: result.artifacts,
    failed: result.failed,
    withheld: plan.withheld,
    kept: kept.size,
    warnings: work.warnings,
  };
}

/** What a run has come to so far. */
class RunResult {
  /** Archives that are there: file name to identity. */
  readonly there: Map<string, string>;
  addedBytes = 0;
  artifacts = 0;
  /** Archives whose tags are in an unknown state. */
  readonly #uncertain = new Set<string>();
  readonly #failed: Failure[] = [];
  readonly #quarantine: Quarantined[] = [];
  readonly #subdir: string;
  readonly #context: RunContext;

  constructor(work: PlannedWork, context: RunContext) {
    this.there = new Map(work.plan.there);
    this.#subdir = work.subdir;
    this.#context = context;
    for (const { filename, code, message } of work.plan.invalid) this.#fail({ filename, code, message });
  }

  get failed(): readonly Failure[] {
    return this.#failed.toSorted(byFilename);
  }

  get quarantine(): readonly Quarantined[] {
    return this.#quarantine.toSorted(byFilename);
  }

  /** Whether an archive that was there before stays, unlisted. */
  keeps(filename: string): boolean {
    return !this.there.has(filename) && !this.#uncertain.has(filename);
  }

  /** Takes in what became of one tag. */
  add({ displaced }: PlanItem, outcomes: readonly TransferOutcome[]): void {
    if (outcomes.some(({ outcome }) => outcome === 'added')) this.artifacts += 1;
    if (displaced !== undefined && outcomes.some(mayHaveWritten)) this.#uncertain.add(displaced);
    for (const result of outcomes) {
      const { filename } = result.record;
      if (result.outcome === 'failed') {
        const failure = { filename, code: result.error.code, message: messageOf(result.error) };
        if (result.error instanceof CopyError) this.#uncertain.add(filename);
        this.there.delete(filename);
        this.#fail(failure, result.record);
      } else if (!this.there.has(filename)) {
        // An archive that was there was only read again for its twin's sake.
        this.there.set(filename, archiveIdentity(result.record) ?? result.digest);
        this.addedBytes += result.size;
        this.#context.reporter.archive?.({ subdir: this.#subdir, filename, bytes: result.size });
      }
    }
  }

  #fail(failure: Failure, record?: RepodataRecord): void {
    this.#failed.push(failure);
    this.#quarantine.push(quarantinedOf(failure, record));
    // What was unusable from the start was never counted as something to move.
    if (record === undefined) return;
    const bytes = record.size ?? 0;
    this.#context.reporter.archive?.({ subdir: this.#subdir, filename: failure.filename, bytes, failure });
  }
}

/**
 * The ledger as it is true while the run lasts: what others published, what the run does not touch, and what is listed
 * only if a ledger vouched for that before. So whatever is killed, the next run believes no more than it may.
 */
function ledgerOfRun(work: PlannedWork, context: RunContext): Ledger {
  const { store, source } = context;
  const { ledger, latest } = work.state;
  const role = { kind: 'mirror', source: source.url } as const;
  const {
    repodata: _,
    migrated: __,
    rolled_back: ___,
    ...rest
  } = ledger ?? firstLedger(store, work.subdir, role);
  return {
    ...rest,
    schema: store.schema.id,
    role,
    ...(work.isTrusted && !context.deep && latest !== undefined ? { repodata: latest.digest } : {}),
    foreign: [...work.foreign],
    kept: Object.fromEntries([...work.plan.kept].filter(([filename]) => !work.foreign.has(filename))),
  };
}

async function transferAll(work: PlannedWork, result: RunResult, context: RunContext): Promise<void> {
  const suspects = new Set(work.state.ledger?.quarantine.map(({ filename }) => filename));
  const isSuspect = (record: RepodataRecord): boolean => suspects.has(record.filename);
  await forEachConcurrently(work.plan.items, context, async (item) => {
    result.add(item, await transferItem(item, { ...context, isSuspect }));
  });
}

function compose(work: PlannedWork, result: RunResult): Composition {
  const { snapshot, repodata, published, foreign } = work;
  return composeRepodata({
    snapshot,
    repodata,
    isThere: (filename) => result.there.has(filename),
    foreign: published === undefined ? undefined : { repodata: published.repodata, filenames: foreign },
  });
}

/** The archives whose records stop to be true while an item is worked on. */
function namesOf({ add, displaced }: PlanItem): readonly string[] {
  const filenames = add.map(({ filename }) => filename);
  return displaced === undefined ? filenames : [...filenames, displaced];
}

function mayHaveWritten(result: TransferOutcome): boolean {
  return result.outcome === 'added' || result.error instanceof CopyError;
}

function isListed(work: PlannedWork, filename: string): boolean {
  return work.published?.repodata.has(filename) === true;
}

function byFilename(a: { readonly filename: string }, b: { readonly filename: string }): number {
  return a.filename < b.filename ? -1 : 1;
}
