/**
 * Carries a plan of `prune` out. Whatever it is killed at: what is listed is there, and the ledger vouches for nothing
 * that may be gone.
 */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { readLedger, type Ledger } from '../../artifact/ledger.js';
import { findMetadata, LATEST } from '../../artifact/metadata-artifact.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { FerryError, isFerryError, messageOf, type FerryErrorCode } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import { TempFolder } from '../../io/temp-folder.js';
import { deleteTags, type DeletedTags } from '../../oci/delete-tags.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { tagMoved } from '../../oci/tag-moved.js';
import { readHead } from '../../publish/head.js';
import { compactPublished } from '../../publish/index-store/compact.js';
import { deleteGenerations } from '../generations/keep-generations.js';
import { findGeneration } from '../generations/read-generation.js';
import { checkNoRun } from '../../artifact/run-marks.js';
import { candidateOf } from './candidates.js';
import { deletionRefused } from './deletion-refused.js';
import { ledgerAfter, ledgerBefore, writeLedgerUnmoved } from './prune-ledger.js';
import type { PlannedArtifact, PrunePlan, SubdirPrunePlan } from './plan-document.js';
import { rewriteArtifact } from './rewrite-artifact.js';
import { lockDestination, type LockOptions } from '../lock-destination.js';
import { withSweep } from './sweep-blobs.js';

/** Of one artifact or repository alone: the others go on. */
const LOCAL_CODES: ReadonlySet<FerryErrorCode> = new Set(['DENIED', 'REGISTRY_REFUSED', 'MANIFEST_INVALID']);

const MOVED = 'its tag names something else by now';

/** Hears what a prune does while it does it. */
export interface PruneReporter {
  /** An archive is gone. */
  deleted?(archive: { readonly subdir: string; readonly filename: string; readonly size: number }): void;
}

/** Options of {@link applyPrune}. */
export interface ApplyPruneOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  /** Where archives lie that have to be read. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
  /** As {@link LockOptions.lockFolder}. @defaultValue nobody is kept out */
  readonly lockFolder?: LockOptions['lockFolder'];
  readonly reporter?: PruneReporter | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An archive that was to go and is still there. */
export interface LeftArchive {
  readonly filename: string;
  /** Why, for people. */
  readonly message: string;
}

/** What a prune did in one subdir. */
export interface SubdirPruneReport {
  readonly subdir: string;
  /** Archives that are gone. */
  readonly deleted: readonly string[];
  /** Artifacts that were written anew without one of their two archives. */
  readonly rewritten: number;
  /** Of what nothing names any more; a registry gives them back when it collects its garbage. */
  readonly bytes: number;
  /** Archives that the ledger knew of and that were not there. */
  readonly forgotten: number;
  readonly left: readonly LeftArchive[];
  /** History tags that are gone. */
  readonly generations: number;
  /** Attestation sidecars that are gone. */
  readonly sidecars: number;
  /** Names of repositories without any tag now. */
  readonly emptied: readonly string[];
  /** Unlisted archives that stay. */
  readonly stays: number;
}

/** What a prune did. */
export interface PruneReport {
  readonly channel: string;
  readonly subdirs: readonly SubdirPruneReport[];
}

/**
 * Deletes what a plan names. Everything of the plan is looked at again: that the channel was not published since, that
 * nothing is listed of what goes, that each tag names what it did; and each tag that stays in a repository is resolved
 * before a manifest goes from there. Nobody else should publish to the channel meanwhile: that is looked for before each
 * repository, and ends the run.
 * @returns what was done; an archive that could not be deleted is in it, and does not throw
 * @throws FerryError `PLAN_STALE`, `PLAN_INVALID`, `RUN_UNFINISHED`, `TAG_MOVED`; `LOCK_TIMEOUT`, `UNSUPPORTED` where the registry
 * deletes nothing; what the store throws. What was deleted until then is out of the ledger.
 */
export async function applyPrune(plan: PrunePlan, options: ApplyPruneOptions): Promise<PruneReport> {
  const { store, signal } = options;
  if (plan.channel !== store.location || plan.schema !== store.schema.id) {
    throw new FerryError(
      'PLAN_INVALID',
      `the plan is of \`${plan.channel}\` in schema ${plan.schema}, and not of \`${store.location}\``,
    );
  }
  await using _ = await lockDestination(store, options);
  // All of them first: a plan that is stale in one subdir is to be made anew.
  for (const subdir of plan.subdirs) await checkFresh(subdir, store, signal);
  await using temp = await TempFolder.create(options.tempDir);
  const subdirs: SubdirPruneReport[] = [];
  for (const subdir of plan.subdirs) {
    signal?.throwIfAborted();
    subdirs.push(await new SubdirPrune(subdir, { ...options, temp }).run());
  }
  return { channel: store.location, subdirs };
}

/** @throws FerryError `PLAN_STALE` */
async function checkFresh(
  { subdir, repodata }: SubdirPrunePlan,
  store: ChannelStore,
  signal: AbortSignal | undefined,
): Promise<void> {
  const found = await findMetadata(store, subdir, 'repodata.json', { signal });
  if (found?.descriptor.digest === repodata) return;
  throw new FerryError(
    'PLAN_STALE',
    `\`${subdir}\` of \`${store.location}\` was published since the plan was made`,
    {
      hint: 'make a new plan',
    },
  );
}

interface ApplyContext extends ApplyPruneOptions {
  readonly temp: TempFolder;
}

/** The prune of one subdir. */
class SubdirPrune {
  readonly #plan: SubdirPrunePlan;
  readonly #context: ApplyContext;
  readonly #deleted: string[] = [];
  readonly #left: LeftArchive[] = [];
  readonly #emptied: string[] = [];
  /** Archives that a deletion was begun of: they may be there or not, until it has ended. */
  readonly #touched = new Set<string>();
  #bytes = 0;
  #rewritten = 0;
  #ledger: Ledger | undefined;

  constructor(plan: SubdirPrunePlan, context: ApplyContext) {
    this.#plan = plan;
    this.#context = context;
  }

  async run(): Promise<SubdirPruneReport> {
    const { store, signal } = this.#context;
    const plan = this.#plan;
    const { subdir } = plan;
    await this.#checkPlan();
    const ledger = await readLedger(store, subdir, { signal });
    checkNoRun(ledger, store, subdir);
    this.#ledger = ledger;
    // It forgets before anything goes, so that it never vouches for what is not there.
    if (ledger !== undefined)
      this.#ledger = await writeLedgerUnmoved(store, ledger, ledgerBefore(ledger, plan), signal);
    let generations = 0;
    let sidecars = 0;
    try {
      // What lists goes before what it lists.
      for (const { file, tags } of plan.generations) {
        generations += (await deleteGenerations(store, subdir, file, tags, { signal })).deleted.length;
      }
      for (const artifacts of byRepository(plan.artifacts)) {
        signal?.throwIfAborted();
        await this.#pruneRepository(artifacts);
      }
      sidecars = await this.#deleteSidecars();
    } catch (error) {
      // What was not touched is still there; without this only a scan would find it again.
      if (signal?.aborted !== true) await this.#settleLedger().catch(() => undefined);
      throw error;
    }
    await this.#settleLedger();
    if (ledger?.role.kind === 'published') {
      const shared = { ...this.#context, epoch: ledger.epoch };
      await compactPublished(subdir, await readHead(subdir, shared), { ...shared, onlyWhenDue: true });
    }
    return {
      subdir,
      deleted: this.#deleted,
      rewritten: this.#rewritten,
      bytes: this.#bytes,
      forgotten: plan.forget.length,
      left: this.#left,
      generations,
      sidecars,
      emptied: this.#emptied,
      stays: plan.stays.length,
    };
  }

  /** Whatever a file says, nothing listed goes, and nothing but archives. @throws FerryError `PLAN_INVALID`, `PLAN_STALE` */
  async #checkPlan(): Promise<void> {
    const { store, signal } = this.#context;
    const { subdir, artifacts } = this.#plan;
    await checkFresh(this.#plan, store, signal);
    if (artifacts.length === 0) return;
    const found = await findGeneration(store, subdir, LATEST, this.#context);
    const published = await found?.read();
    for (const { repository, tag, archives } of artifacts) {
      for (const { filename } of archives) {
        const place = candidateOf(store, filename)?.place;
        if (place?.repository === repository && place.tag === tag && published?.has(filename) === false)
          continue;
        const why = published?.has(filename) === true ? 'is listed' : 'does not stand where the plan says';
        throw new FerryError('PLAN_INVALID', `\`${subdir}/${filename}\` ${why}`);
      }
    }
  }

  async #pruneRepository(artifacts: readonly PlannedArtifact[]): Promise<void> {
    const { store, signal } = this.#context;
    const { subdir } = this.#plan;
    const [first] = artifacts;
    if (first === undefined) return;
    await checkFresh(this.#plan, store, signal);
    await this.#checkLedger();
    const repository = store.packageRepository(subdir, first);
    for (const { filename } of artifacts.flatMap(({ archives }) => archives)) this.#touched.add(filename);
    try {
      const replaced = await this.#rewriteAll(artifacts.filter(({ stays }) => stays !== undefined));
      const whole = artifacts.filter(({ stays }) => stays === undefined);
      const doomed = [...whole, ...replaced.map(({ planned }) => planned)];
      const result = await withSweep(
        repository,
        doomed.map(({ manifest }) => manifest),
        () =>
          deleteTags(
            repository,
            whole.map(({ tag }) => tag),
            {
              expected: new Map(whole.map(({ tag, manifest }) => [tag, manifest])),
              untagged: replaced.map(({ manifest }) => manifest),
              withRepository: true,
              signal,
            },
          ),
        { signal },
      );
      this.#take(whole, replaced, result);
      if (result.others === 0 && result.kept.length === 0) this.#emptied.push(repository.name);
    } catch (error) {
      if (!isFerryError(error) || !LOCAL_CODES.has(error.code)) throw error;
      const gone = new Set(this.#deleted);
      for (const { filename } of artifacts.flatMap(({ archives }) => archives)) {
        const message = `${messageOf(error)} [${error.code}]`;
        if (!gone.has(filename)) this.#left.push({ filename, message });
      }
    }
  }

  /** Takes in what became of a repository. @throws FerryError `UNSUPPORTED` where nothing can be deleted there */
  #take(whole: readonly PlannedArtifact[], replaced: readonly Replaced[], result: DeletedTags): void {
    const gone = new Set<Digest>(result.deleted.map(({ descriptor }) => descriptor.digest));
    const kept = new Map(result.kept.map(({ tag, reason }) => [tag, reason]));
    for (const { planned, manifest } of replaced) {
      this.#rewritten += 1;
      this.#note(planned, gone.has(manifest.digest));
    }
    for (const planned of whole) {
      const reason = kept.get(planned.tag);
      if (reason === undefined) this.#note(planned, gone.has(planned.manifest));
      else if (reason === 'moved') this.#leave(planned, MOVED);
      else this.#leave(planned, 'a tag that stays needs it', true);
    }
    const refused = result.kept.find(({ reason }) => reason === 'alone');
    if (refused !== undefined) throw deletionRefused(this.#context.store, refused.cause);
  }

  #note({ archives, bytes }: PlannedArtifact, isFree: boolean): void {
    const { subdir } = this.#plan;
    if (isFree) this.#bytes += bytes;
    for (const { filename, size } of archives) {
      this.#deleted.push(filename);
      this.#context.reporter?.deleted?.({ subdir, filename, size });
    }
  }

  #leave({ archives }: PlannedArtifact, message: string, isThere = false): void {
    for (const { filename } of archives) {
      this.#left.push({ filename, message });
      // Known to be as it was: the ledger may vouch for it again.
      if (isThere) this.#touched.delete(filename);
    }
  }

  async #rewriteAll(artifacts: readonly PlannedArtifact[]): Promise<readonly Replaced[]> {
    const { store } = this.#context;
    const replaced: Replaced[] = [];
    for (const planned of artifacts) {
      const repository = store.packageRepository(this.#plan.subdir, planned);
      try {
        const manifest = await rewriteArtifact(repository, planned, {
          ...this.#context,
          subdir: this.#plan.subdir,
        });
        if (manifest === 'gone') this.#note(planned, false);
        else if (manifest === 'moved') this.#leave(planned, MOVED);
        else replaced.push({ planned, manifest });
      } catch (error) {
        if (!isFerryError(error) || !error.code.startsWith('ARCHIVE_')) throw error;
        this.#leave(planned, `its twin cannot be read: ${messageOf(error)} [${error.code}]`, true);
      }
    }
    return replaced;
  }

  async #deleteSidecars(): Promise<number> {
    const { store, signal } = this.#context;
    const { subdir, sidecars } = this.#plan;
    if (sidecars.length === 0) return 0;
    const repository = store.metadataRepository(subdir, 'attestations');
    const remove = (): Promise<DeletedTags> =>
      deleteTags(repository, sidecars, { withRepository: true, signal });
    const { deleted, untagged } = await withSweep(repository, sidecars, remove, { signal });
    return deleted.flatMap(({ tags }) => tags).length + untagged.length;
  }

  /** Somebody else's ledger means that somebody else is at work. @throws FerryError `TAG_MOVED` */
  async #checkLedger(): Promise<void> {
    const { store, signal } = this.#context;
    const repository = store.metadataRepository(this.#plan.subdir, 'ledger');
    const known = store.latestOf(repository) ?? 'nothing';
    const found = await repository.fetchManifest(LATEST, { signal });
    if ((found?.descriptor.digest ?? 'nothing') !== known) throw tagMoved(repository.name, LATEST);
  }

  async #settleLedger(): Promise<void> {
    if (this.#ledger === undefined) return;
    const { store, signal } = this.#context;
    const deleted = new Set(this.#deleted);
    const after = ledgerAfter(this.#ledger, this.#plan, {
      isGone: (filename) => deleted.has(filename),
      isThere: (filename) => !deleted.has(filename) && !this.#touched.has(filename),
    });
    this.#ledger = await writeLedgerUnmoved(store, this.#ledger, after, signal);
  }
}

/** An artifact that was written anew, with the manifest that is to go. */
interface Replaced {
  readonly planned: PlannedArtifact;
  readonly manifest: Descriptor;
}

function byRepository(artifacts: readonly PlannedArtifact[]): Iterable<readonly PlannedArtifact[]> {
  const groups = new Map<string, PlannedArtifact[]>();
  for (const artifact of artifacts) {
    groups.set(artifact.repository, [...(groups.get(artifact.repository) ?? []), artifact]);
  }
  return groups.values();
}
