import { firstLedger, isSameLedger, writeLedger, type Ledger } from '../artifact/ledger.js';
import { moveLatest } from '../artifact/metadata-artifact.js';
import type { Descriptor } from '../oci/descriptor.js';
import { Checkpoints } from './checkpoints.js';
import type { ExecutorWork } from './executor.js';
import { carryHere } from './carry-here.js';
import { ensureClientShims } from '../artifact/client-shims.js';
import {
  moveCompanions,
  type CarriedCompanions,
  type RememberedCompanions,
} from './companions/carry-companion.js';
import { carrySubdirCompanions } from './companions/subdir-companions.js';
import type { Composition } from './compose.js';
import { composeListing, contentsOf, keptArchives } from './listing.js';
import { makeLedger, seenOf } from './make-ledger.js';
import { carryUnlisted } from './prune/unlisted-since.js';
import { newRunning, publishedAlready, pushRepodata } from './publish.js';
import { changedAt, type PublishedAs, type SubdirReport } from './report.js';
import type { RunContext } from './run-context.js';
import { RunResult } from './run-result.js';
import { carrySidecars } from './sidecars/carry-sidecars.js';
import { StopGrace } from './stop-grace.js';
import { wantedSidecars } from './sidecars/wanted-sidecars.js';
import { listsReplaced, type PlannedWork } from './subdir-work.js';

/** What {@link SubdirRun.push} made ready. */
interface Pushed {
  readonly composition: Pick<Composition, 'unchanged' | 'digest'>;
  readonly latest: Descriptor;
  readonly isNew: boolean;
  /** Archives that stay, unlisted: file name to identity. */
  readonly kept: ReadonlyMap<string, string>;
  readonly companions: CarriedCompanions;
}

/** What a run moved. */
type Moved = Pick<SubdirReport, 'added' | 'addedBytes' | 'artifacts' | 'packages'>;

const NOTHING_MOVED: Moved = { added: 0, addedBytes: 0, artifacts: 0, packages: [] };

/** What is known of the channel as a whole, for noarch's ledger to remember. */
export interface ChannelFacts {
  /** Subdirs of the channel, where its source could not list them. */
  readonly discovered?: readonly string[] | undefined;
  /** Metadata files of the channel itself. */
  readonly companions?: RememberedCompanions | undefined;
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
  readonly #earlier: Moved;
  #ledger: Ledger;
  #isMarked = false;
  #hasPublished = false;
  #untried = 0;
  #hasShims = false;
  #pushed: Pushed | undefined;

  /** @param before a run of the same subdir that had to be planned again: what it moved is reported too */
  constructor(work: PlannedWork, context: RunContext, before?: SubdirRun) {
    this.work = work;
    this.#earlier = before?.moved ?? NOTHING_MOVED;
    this.#context = context;
    this.result = new RunResult(work.plan, context.reporter);
    this.#ledger = ledgerOfRun(work, context);
  }

  /** What was moved so far. */
  get moved(): Moved {
    const { added, addedBytes, artifacts, packages } = this.result;
    return {
      added: this.#earlier.added + added,
      addedBytes: this.#earlier.addedBytes + addedBytes,
      artifacts: this.#earlier.artifacts + artifacts,
      packages: [...this.#earlier.packages, ...packages],
    };
  }

  /** Whether this run publishes other repodata than there was. */
  get isListingChanged(): boolean {
    return this.#pushed?.isNew === true;
  }

  /** Whether what is published has the source's bytes. */
  get isUnchanged(): boolean {
    return this.#pushed?.composition.unchanged === true;
  }

  /** Moves sidecars and archives. @throws CopyError where the destination fails as a whole, FerryError `DISK_FULL` */
  async transfer(): Promise<void> {
    const { plan, subdir, state, isTrusted } = this.work;
    const context = this.#context;
    if (context.clientShims) {
      const known = isTrusted && state.ledger?.shims === true;
      this.#hasShims = await ensureClientShims(context.store, subdir, { known, signal: context.signal });
    }
    await this.#carrySidecars();
    if (plan.toAdd === 0) return;
    await this.#mark();
    if (plan.replaced > 0 && listsReplaced(this.work)) await this.#publishNow();
    const { stop, executor = { carry: carryHere } } = context;
    await using grace = new StopGrace(context);
    const { signal } = grace;
    const suspects = new Set(this.work.state.ledger?.quarantine.map(({ filename }) => filename));
    const checkpoints = new Checkpoints(() => this.#publishNow(), context);
    let settled = 0;
    const work: ExecutorWork = {
      ...{ plan, stop, signal },
      isSuspect: ({ filename }) => suspects.has(filename),
      settled: async (item, archives) => {
        this.result.add(item, archives);
        settled += 1;
        await checkpoints.afterItem();
      },
      abandoned: (item) => {
        this.result.abandon(item);
      },
    };
    try {
      await executor.carry(work, context);
      if (stop?.aborted !== true) await checkpoints.atEnd();
    } catch (error) {
      if (!grace.isOver) throw error;
    } finally {
      this.#untried = plan.artifacts - settled;
    }
  }

  /** All steps up to {@link finish}. */
  async run(): Promise<void> {
    await this.transfer();
    await this.push();
    await this.moveCompanions();
    await this.move();
  }

  /** Makes the repodata and the files beside it ready, under their history tag. */
  async push(): Promise<void> {
    const { work, result } = this;
    const context = this.#context;
    const { subdir, published } = work;
    const historyTag = context.store.schema.historyTag(context.now());
    await using composition = await composeListing(this.work, this.result, context);
    const kept = keptArchives(work, result);
    const { unchanged, digest } = composition;
    const companions = await carrySubdirCompanions(
      {
        ...contentsOf(work, result, { unchanged, kept }),
        remembered: work.isTrusted ? work.state.ledger?.companions : undefined,
      },
      { ...context, historyTag },
    );
    for (const { warning } of companions.reports)
      if (warning !== undefined) context.reporter.warning?.(warning);
    const current = this.#hasPublished
      ? undefined
      : publishedAlready(published, composition, context.plainJson);
    const latest = current ?? (await pushRepodata(subdir, composition, { ...context, historyTag }));
    if (current === undefined) await this.#announce(latest);
    this.#pushed = {
      composition: { unchanged, digest },
      latest,
      isNew: current === undefined,
      kept,
      companions,
    };
  }

  /** Makes the files beside the repodata current. @throws FerryError `TAG_MOVED` */
  async moveCompanions(): Promise<void> {
    await moveCompanions(this.#context.store, this.#pushed?.companions.moves ?? [], this.#context);
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

  /** Closes the ledger. */
  async finish({ discovered, companions: ofChannel = {} }: ChannelFacts = {}): Promise<SubdirReport> {
    const { work, result } = this;
    const { subdir, plan, selection } = work;
    const context = this.#context;
    if (this.#pushed === undefined) throw new Error('finished before it was pushed');
    const { composition, latest, isNew, kept, companions } = this.#pushed;
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
      unlisted: carryUnlisted(work.state.ledger, kept.keys(), {
        isListed: (filename) => result.isThere(filename) || work.foreign.has(filename),
        listedBefore: (filename) => work.published?.repodata.has(filename) === true,
        now: context.now(),
      }),
      foreign: work.foreign,
      subdirs: subdir === 'noarch' ? (discovered ?? work.state.ledger?.subdirs) : undefined,
      times: timesOf(work, context),
      beside: {
        ...companionsOf({ ...companions.companions, ...ofChannel }),
        sidecars: true,
        ...(this.#hasShims ? { shims: true } : {}),
      },
    });
    if (this.#isMarked || isNew || !isSameLedger(final, work.state.ledger))
      await writeLedger(context.store, final, context);
    const publishedAs: PublishedAs = !isNew ? 'kept' : composition.unchanged ? 'unchanged' : 'spliced';
    context.reporter.published?.(subdir, publishedAs);
    return {
      subdir,
      publishedAs,
      listed: plan.listed,
      there: plan.there - this.#earlier.added,
      ...this.moved,
      replaced: result.replaced,
      displaced: result.displaced,
      failed: result.failed,
      withheld: plan.withheld,
      kept: kept.size,
      gone: work.gone.length,
      untried: this.#untried,
      leftOut: selection === undefined ? {} : Object.fromEntries(selection.leftOut),
      ...changedAt(work.snapshot.lastModified),
      warnings: work.warnings,
    };
  }

  /**
   * Stores the sidecars of all that is to be listed: a record whose sidecar is not to be had must not be listed, for that
   * would promise it. @see cep142/order
   */
  async #carrySidecars(): Promise<void> {
    const { work, result } = this;
    const { snapshot, subdir } = work;
    const { records, ...known } = wantedSidecars(work, this.#context);
    const { failed } = await carrySidecars(records, { ...this.#context, subdir, ...known });
    if (failed.length === 0) return;
    const digests = new Map(
      Array.from(snapshot.repodata.attestations(), ({ filename, sha256 }) => [filename, sha256]),
    );
    for (const failure of failed) {
      const read = snapshot.repodata.get(failure.filename);
      const record = read !== undefined && 'record' in read ? read.record : undefined;
      result.holdBack(failure, record, digests.get(failure.filename));
    }
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
    await using composition = await composeListing(this.work, this.result, context);
    const pushed = await pushRepodata(subdir, composition, { ...context, historyTag: undefined });
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

/** What the next runs need to know: when archives ripen, and what a blob costs. */
function timesOf(
  { selection, state }: PlannedWork,
  { store }: RunContext,
): Pick<Ledger, 'ripens' | 'waiting' | 'requests_per_blob'> {
  const waiting = [...(selection?.waiting ?? [])].map(([name, ms]) => [name, isoDate(ms)] as const);
  const ripens = selection?.ripensAtMs;
  const perBlob = store.registry.requestsPerBlob ?? state.ledger?.requests_per_blob;
  return {
    ...(ripens === undefined ? {} : { ripens: isoDate(ripens) }),
    ...(waiting.length === 0 ? {} : { waiting: Object.fromEntries(waiting) }),
    ...(perBlob === undefined || perBlob === 0 ? {} : { requests_per_blob: perBlob }),
  };
}

function companionsOf(companions: RememberedCompanions): Pick<Ledger, 'companions'> {
  return Object.keys(companions).length === 0 ? {} : { companions: { ...companions } };
}

function isoDate(ms: number): string {
  return new Date(ms).toISOString();
}
