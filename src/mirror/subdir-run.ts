import { writeLedger, type Ledger } from '../artifact/ledger.js';
import { moveLatest } from '../artifact/metadata-artifact.js';
import type { RepodataRecord } from '../conda/package-record.js';
import { forEachConcurrently } from '../io/pool.js';
import type { Descriptor } from '../oci/descriptor.js';
import { Checkpoints } from './checkpoints.js';
import { composeRepodata, type Composition } from './compose.js';
import { firstLedger, makeLedger, seenOf } from './make-ledger.js';
import type { PlanItem } from './plan.js';
import { newRunning, publishedAlready, pushRepodata } from './publish.js';
import { isSameLedger } from './quarantine.js';
import { changedAt, type PublishedAs, type SubdirReport } from './report.js';
import type { RunContext } from './run-context.js';
import { RunResult } from './run-result.js';
import type { PlannedWork } from './subdir-work.js';
import { transferItem } from './transfer.js';

/** What {@link SubdirRun.push} made ready. */
interface Pushed {
  readonly composition: Pick<Composition, 'unchanged'>;
  readonly latest: Descriptor;
  readonly isNew: boolean;
}

/**
 * The run of one subdir, in steps, so that those of all subdirs can be taken together: {@link transfer} moves archives,
 * {@link push} makes the repodata ready, {@link move} makes it current, {@link finish} closes the ledger. After a kill
 * between any two of them, all that is listed is there, and a ledger vouches for it.
 */
export class SubdirRun {
  readonly work: PlannedWork;
  readonly result: RunResult;
  readonly #context: RunContext;
  #ledger: Ledger;
  #isMarked = false;
  #hasPublished = false;
  #untried = 0;
  #pushed: Pushed | undefined;

  constructor(work: PlannedWork, context: RunContext) {
    this.work = work;
    this.#context = context;
    this.result = new RunResult(work.plan, context.reporter);
    this.#ledger = ledgerOfRun(work, context);
  }

  /** Moves the archives. @throws CopyError where the destination fails as a whole, FerryError `DISK_FULL` */
  async transfer(): Promise<void> {
    const { plan } = this.work;
    if (plan.toAdd === 0) return;
    await this.#mark();
    if (plan.replaced > 0 && this.#listsReplaced()) await this.#publishNow();
    const { concurrency, stop, signal } = this.#context;
    const suspects = new Set(this.work.state.ledger?.quarantine.map(({ filename }) => filename));
    const isSuspect = (record: RepodataRecord): boolean => suspects.has(record.filename);
    const checkpoints = new Checkpoints(() => this.#publishNow(), this.#context);
    let tried = 0;
    function* untilStopped(): Generator<PlanItem> {
      for (const item of plan.items()) {
        if (stop?.aborted === true) return;
        tried += 1;
        yield item;
      }
    }
    try {
      await forEachConcurrently(untilStopped(), { concurrency, signal }, async (item) => {
        this.result.add(item, await transferItem(item, { ...this.#context, isSuspect }));
        await checkpoints.afterItem();
      });
    } finally {
      this.#untried = plan.artifacts - tried;
    }
  }

  /** All steps up to {@link finish}. */
  async run(): Promise<void> {
    await this.transfer();
    await this.push();
    await this.move();
  }

  /** Makes the repodata ready under its history tag. */
  async push(): Promise<void> {
    const { context, work } = { context: this.#context, work: this.work };
    await using composition = await this.#compose();
    const current = this.#hasPublished
      ? undefined
      : publishedAlready(work.published, composition, context.plainJson);
    if (current !== undefined) {
      this.#pushed = { composition, latest: current, isNew: false };
      return;
    }
    const latest = await pushRepodata(work.subdir, composition, { ...context, isCheckpoint: false });
    await this.#announce(latest);
    this.#pushed = { composition, latest, isNew: true };
  }

  /** Makes the repodata current. @throws FerryError `TAG_MOVED` where somebody else has published meanwhile */
  async move(): Promise<void> {
    if (this.#pushed?.isNew !== true) return;
    await moveLatest(
      this.#context.store,
      this.work.subdir,
      'repodata.json',
      this.#pushed.latest,
      this.#context,
    );
  }

  /**
   * Closes the ledger.
   * @param discovered subdirs of the channel, where its source could not list them; noarch's ledger remembers them
   */
  async finish(discovered: readonly string[] | undefined): Promise<SubdirReport> {
    const { work, result } = this;
    const { subdir, plan, selection } = work;
    const context = this.#context;
    if (this.#pushed === undefined) throw new Error('finished before it was pushed');
    const { composition, latest, isNew } = this.#pushed;
    const kept = new Map(
      [...plan.before].filter(([filename]) => result.keeps(filename) && !work.foreign.has(filename)),
    );
    for (const filename of plan.unlisted)
      if (result.isThere(filename)) kept.set(filename, plan.identity(filename) ?? '');
    // What was not tried, or is left for another time, makes the next run look at everything.
    const isSettled = this.#untried === 0 && !context.isPartial;
    const final = makeLedger({
      store: context.store,
      subdir,
      role: { kind: 'mirror', source: context.source.url },
      filters: context.filters,
      seen: isSettled ? seenOf(work.snapshot) : undefined,
      repodata: latest.digest,
      unchanged: composition.unchanged,
      complete: isSettled && result.failed.length === 0,
      counts: { listed: plan.listed, there: result.there },
      withheld: plan.withheld,
      quarantine: result.quarantine,
      kept,
      foreign: work.foreign,
      subdirs: subdir === 'noarch' ? (discovered ?? work.state.ledger?.subdirs) : undefined,
      more: remembered(work, kept, context),
    });
    if (this.#isMarked || isNew || !isSameLedger(final, work.state.ledger))
      await writeLedger(context.store, final, context);
    const publishedAs: PublishedAs = !isNew ? 'kept' : composition.unchanged ? 'unchanged' : 'spliced';
    context.reporter.published?.(subdir, publishedAs);
    return {
      subdir,
      publishedAs,
      listed: plan.listed,
      there: plan.there,
      added: result.added,
      addedBytes: result.addedBytes,
      artifacts: result.artifacts,
      packages: result.packages,
      failed: result.failed,
      withheld: plan.withheld,
      kept: kept.size,
      gone: work.gone.length,
      untried: this.#untried,
      leftOut: selection === undefined ? {} : Object.fromEntries(selection.leftOut),
      ...changedAt(work.snapshot.origin.validators.lastModified),
      warnings: work.warnings,
    };
  }

  /** Writes into the ledger that a run is under way: the registry may hold more than the ledger knows from here on. */
  async #mark(): Promise<void> {
    this.#ledger = { ...this.#ledger, running: newRunning(this.#context.now()) };
    await writeLedger(this.#context.store, this.#ledger, this.#context);
    this.#isMarked = true;
  }

  /** Publishes what is there so far: `latest` alone moves. */
  async #publishNow(): Promise<void> {
    const context = this.#context;
    const { subdir } = this.work;
    await using composition = await this.#compose();
    const pushed = await pushRepodata(subdir, composition, { ...context, isCheckpoint: true });
    await this.#announce(pushed);
    await moveLatest(context.store, subdir, 'repodata.json', pushed, context);
    this.#ledger = { ...this.#ledger, repodata: pushed.digest };
    this.#hasPublished = true;
  }

  /** Has the ledger vouch for what `latest` is about to name. */
  async #announce({ digest }: Descriptor): Promise<void> {
    const { store, now } = this.#context;
    const running = this.#ledger.running ?? newRunning(now());
    await writeLedger(store, { ...this.#ledger, running: { ...running, publishing: digest } }, this.#context);
  }

  async #compose(): Promise<Composition> {
    const { snapshot, published, foreign } = this.work;
    return composeRepodata(
      {
        snapshot,
        isThere: (filename) => this.result.isThere(filename),
        foreign: published === undefined ? undefined : { repodata: published.repodata, filenames: foreign },
      },
      this.#context,
    );
  }

  /** Whether something is listed that is replaced: published without it, replaced, published with it. */
  #listsReplaced(): boolean {
    const listed = this.work.published?.repodata;
    for (const item of this.work.plan.items())
      if (item.replaces && namesOf(item).some((filename) => listed?.has(filename))) return true;
    return false;
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
  const { repodata: _, migrated: __, ...rest } = ledger ?? firstLedger(store, work.subdir, role);
  return {
    ...rest,
    schema: store.schema.id,
    role,
    ...(work.isTrusted && !context.deep && latest !== undefined ? { repodata: latest.digest } : {}),
    foreign: [...work.foreign],
    kept: Object.fromEntries([...work.plan.kept].filter(([filename]) => !work.foreign.has(filename))),
  };
}

/** What the next runs need to know: when archives ripen, since when others are not listed, what a blob costs. */
function remembered(
  { selection, state }: PlannedWork,
  kept: ReadonlyMap<string, string>,
  { now, store }: RunContext,
): Partial<Ledger> {
  const today = now().toISOString();
  const since = state.ledger?.unlisted ?? {};
  const unlisted = Object.fromEntries(
    [...kept.keys()].map((filename) => [filename, since[filename] ?? today]),
  );
  const waiting = [...(selection?.waiting ?? [])];
  const perBlob = store.registry.requestsPerBlob ?? state.ledger?.requests_per_blob;
  return {
    ...(perBlob === undefined || perBlob === 0 ? {} : { requests_per_blob: perBlob }),
    ...(kept.size === 0 ? {} : { unlisted }),
    ...(selection?.ripensAtMs === undefined ? {} : { ripens: new Date(selection.ripensAtMs).toISOString() }),
    ...(waiting.length === 0
      ? {}
      : { waiting: Object.fromEntries(waiting.map(([name, ms]) => [name, new Date(ms).toISOString()])) }),
  };
}

/** The archives whose records stop to be true while an item is worked on. */
function namesOf({ add, displaced }: PlanItem): readonly string[] {
  const filenames = add.map(({ filename }) => filename);
  return displaced === undefined ? filenames : [...filenames, displaced];
}
