/**
 * The audit of a channel: every record's artifact is looked at, and what is not as it should be is a finding. With a
 * source at hand, it is mended.
 */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { OciChannel } from '../../artifact/oci-channel.js';
import type { Ledger } from '../../artifact/ledger.js';
import { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import { checkSubdirs } from '../../conda/names.js';
import { chooseSample } from '../../conformance/sample.js';
import { FerryError } from '../../errors.js';
import { forEachConcurrently } from '../../io/pool.js';
import { quietSignal } from '../../io/quiet-signal.js';
import { Resources } from '../../io/resources.js';
import { TempFolder } from '../../io/temp-folder.js';
import { checkSchema } from '../../artifact/check-schema.js';
import { DEFAULT_CONCURRENCY } from '../mirror.js';
import { checkLedger } from './check-ledger.js';
import { checkCompanions, checkSidecars } from './check-metadata.js';
import { checkPlace, type PlaceAudit } from './check-place.js';
import { checkRepodata } from './check-repodata.js';
import { compareWithSource, readSource } from './compare-source.js';
import { finding, isSameFinding, type Finding } from './findings.js';
import { placesOf, type Place } from './places.js';
import { repairSubdir, type SubdirFaults, type SubdirRepair } from './repair-subdir.js';
import type { SubdirAudit, VerifyDepth, VerifyReport, VerifyReporter, VerifySample } from './report.js';
import { lockDestination, type LockOptions } from '../lock-destination.js';
import type { LookContext, VerifyContext } from './verify-context.js';

/** How an audit looks; the same for all kinds of channels. */
export interface VerifyLook {
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  /** A source to compare with. @defaultValue none */
  readonly against?: ChannelSource | undefined;
  /** @defaultValue `manifests` */
  readonly depth?: VerifyDepth | undefined;
  /** @defaultValue every artifact */
  readonly sample?: VerifySample | undefined;
  /** Artifacts under way at once. @defaultValue 16 */
  readonly concurrency?: number | undefined;
  /** Threads to share with others. @defaultValue threads of its own, which end with it */
  readonly workers?: WorkerPool | undefined;
  /** Where large archives lie while they are read. @defaultValue the system's temporary folder */
  readonly tempDir?: string | undefined;
  readonly reporter?: VerifyReporter | undefined;
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How {@link verifyChannel} mends what it finds. */
export interface RepairWish {
  /**
   * Opens the source that a ledger names, such as `https://conda.anaconda.org/conda-forge`, where there is none to
   * compare with. Whoever may write to the store may have written that name.
   * @defaultValue such a source is not opened
   */
  readonly openSource?: ((name: string) => ChannelSource) | undefined;
  /** As {@link LockOptions.lockFolder}. @defaultValue nobody is kept out */
  readonly lockFolder?: LockOptions['lockFolder'];
  /** Take records out of the repodata whose archives are not to be had any more. @defaultValue false */
  readonly dropMissing?: boolean | undefined;
}

/** Options of {@link verifyChannel}. */
export interface VerifyOptions extends VerifyLook {
  readonly channel: ChannelStore;
  /** Mend what can be mended; each blob is then asked for, so `manifests` becomes `full`. @defaultValue only look */
  readonly repair?: RepairWish | undefined;
}

/**
 * Audits a channel in a registry or in image layouts, such as
 * `await verifyChannel({ channel, depth: 'full', against: source })`. Nothing is written unless a repair is wished for.
 * @returns what was found; faults do not throw
 * @throws FerryError `CHANNEL_NOT_FOUND`, `SCHEMA_CONFLICT`, `USAGE` (a repair without a source), `TAG_MOVED`,
 * `LOCK_TIMEOUT`, `DISK_FULL`; CopyError where a repair fails as a whole; what the store throws where it cannot be asked
 * @see hackage-server 116, bandersnatch 658
 */
export async function verifyChannel(options: VerifyOptions): Promise<VerifyReport> {
  await using resources = new Resources();
  const { channel: store, repair } = options;
  await using _ = repair && (await lockDestination(store, { ...repair, signal: options.signal }));
  const look = await openLook(options, resources);
  const context: VerifyContext = {
    ...look,
    store,
    against: options.against,
    // A blob that is gone is what a repair is for, and no ledger may vouch for it.
    depth: repair !== undefined && look.depth === 'manifests' ? 'full' : look.depth,
  };
  const subdirs = await subdirsOf(options.subdirs, context);
  const audits: SubdirAudit[] = [];
  for (const subdir of subdirs) {
    const audit = await auditSubdir(subdir, repair, context);
    context.reporter.done?.(audit);
    audits.push(audit);
  }
  const findings: Finding[] = [];
  if (options.subdirs === undefined) {
    findings.push(...(await checkCompanions('', context)));
    for (const subdir of (await options.against?.subdirs(context)) ?? []) {
      if (subdirs.includes(subdir)) continue;
      const where = { subdir, filename: 'repodata.json' };
      findings.push(finding('REPODATA_MISSING', where, 'the source has this subdir', false));
    }
  }
  return {
    channel: new OciChannel(store).url,
    schema: store.schema.id,
    against: options.against?.url,
    depth: context.depth,
    sample: options.sample,
    subdirs: audits,
    findings,
  };
}

/** Gets together what every audit has at hand. */
export async function openLook(options: VerifyLook, resources: Resources): Promise<LookContext> {
  return {
    depth: options.depth ?? 'manifests',
    sample: options.sample,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    workers: options.workers ?? resources.use(new WorkerPool()),
    temp: resources.use(await TempFolder.create(options.tempDir)),
    reporter: countingReporter(options.reporter ?? {}),
    now: options.now ?? (() => new Date()),
    signal: options.signal === undefined ? undefined : quietSignal(options.signal),
  };
}

/** Adds up what single subdirs plan. */
function countingReporter(reporter: VerifyReporter): VerifyReporter {
  let total = 0;
  return {
    ...reporter,
    planned: (artifacts) => {
      total += artifacts;
      reporter.planned?.(total);
    },
  };
}

/** @throws FerryError `USAGE`, `CHANNEL_NOT_FOUND`, `SCHEMA_CONFLICT` */
async function subdirsOf(
  wanted: readonly string[] | undefined,
  { store, signal }: VerifyContext,
): Promise<readonly string[]> {
  checkSubdirs(wanted);
  const subdirs = [...new Set(wanted ?? (await new OciChannel(store).subdirs({ signal })))];
  if (subdirs.length > 0) return subdirs;
  const other = store.schema.id === 'v0' ? 'v1' : 'v0';
  await checkSchema(store, 'noarch', { signal, hint: `pass --schema ${other}` });
  throw new FerryError(
    'CHANNEL_NOT_FOUND',
    `there is no repodata of schema ${store.schema.id} at \`${store.location}\``,
  );
}

async function auditSubdir(
  subdir: string,
  repair: RepairWish | undefined,
  context: VerifyContext,
): Promise<SubdirAudit> {
  const { store, sample } = context;
  const repodata = await checkRepodata(subdir, context);
  const ledger = await checkLedger(subdir, repodata.latest, context);
  const records = repodata.published?.repodata.records() ?? [];
  const all = placesOf(store, subdir, records, ledger.ledger?.kept ?? {});
  const chosen = sample === undefined ? all.places : chooseSample(all.places, sample.size, sample.seed);
  context.reporter.planned?.(chosen.length);
  const places = await checkPlaces(chosen, context);
  const others = [
    ...(await checkCompanions(subdir, context)),
    ...(await checkListedSidecars(repodata.published, chosen, context)),
    ...(await compare(subdir, all.places, ledger.ledger, context)),
  ];
  const faults: SubdirFaults = {
    subdir,
    repodata,
    ledger: ledger.ledger,
    ledgerFindings: ledger.findings,
    places,
    unusable: all.findings.filter(({ code }) => code === 'RECORD_UNUSABLE'),
    isWhole: sample === undefined,
  };
  const before = findingsOf(faults);
  const mended = await mend(faults, repair, before, context);
  const left = mended === undefined ? before : findingsOf(mended);
  const archives = chosen.flatMap((place) => place.archives);
  return {
    subdir,
    listed: all.listed,
    checked: archives.filter(({ isListed }) => isListed).length,
    artifacts: chosen.length,
    findings: [...left, ...others],
    repaired: before.filter((fault) => !left.some((now) => isSameFinding(now, fault))),
    unrepaired: mended?.unrepaired ?? [],
    dropped: mended?.dropped ?? [],
  };
}

async function checkPlaces(places: readonly Place[], context: VerifyContext): Promise<readonly PlaceAudit[]> {
  const audits: (readonly [number, PlaceAudit])[] = [];
  await forEachConcurrently(places.entries(), context, async ([at, place]) => {
    const audit = await checkPlace(place, context);
    if (audit.findings.length > 0) audits.push([at, audit]);
    context.reporter.checked?.();
  });
  return audits.sort(([a], [b]) => a - b).map(([, audit]) => audit);
}

async function checkListedSidecars(
  published: SubdirFaults['repodata']['published'],
  chosen: readonly Place[],
  context: VerifyContext,
): Promise<readonly Finding[]> {
  if (published === undefined) return [];
  if (context.sample === undefined) return checkSidecars(published.repodata, () => true, context);
  const names = new Set(chosen.flatMap(({ archives }) => archives.map(({ record }) => record.filename)));
  return checkSidecars(published.repodata, (filename) => names.has(filename), context);
}

async function compare(
  subdir: string,
  places: readonly Place[],
  ledger: Ledger | undefined,
  context: VerifyContext,
): Promise<readonly Finding[]> {
  const { against, store } = context;
  if (against === undefined) return [];
  const source = (await readSource(against, subdir, context)) ?? new Map<string, never>();
  const archives = places.flatMap((place) => place.archives).filter(({ isListed }) => isListed);
  const listed = new Map(archives.map(({ record }) => [record.filename, record]));
  return compareWithSource({ subdir, listed, source, ledger, store });
}

/** @throws FerryError `USAGE` where there is something to mend, and nothing to mend it with */
async function mend(
  faults: SubdirFaults,
  repair: RepairWish | undefined,
  found: readonly Finding[],
  context: VerifyContext,
): Promise<SubdirRepair | undefined> {
  const isDroppable = repair?.dropMissing === true && faults.unusable.length > 0;
  const hasWork = found.some(({ severity, repairable }) => severity === 'fault' && repairable);
  if (repair === undefined || !(hasWork || isDroppable)) return undefined;
  if (faults.ledger?.role.kind === 'published') {
    throw new FerryError(
      'USAGE',
      `\`${faults.subdir}\` is published to, and no mirror that its source could mend`,
      {
        hint: 'conda-ferry index CHANNEL brings the repodata in line with what is stored',
      },
    );
  }
  const name = faults.ledger?.role.source;
  const source = context.against ?? (name === undefined ? undefined : repair.openSource?.(name));
  if (source === undefined) {
    throw new FerryError('USAGE', `no source is known to mend \`${faults.subdir}\` with`, {
      hint: 'pass --against SOURCE, the channel that it was mirrored from',
    });
  }
  return repairSubdir(faults, { source, dropMissing: repair.dropMissing ?? false }, context);
}

function findingsOf(
  faults: Pick<SubdirFaults, 'repodata' | 'ledgerFindings' | 'places' | 'unusable'>,
): readonly Finding[] {
  return [
    ...faults.repodata.findings,
    ...faults.ledgerFindings,
    ...faults.unusable,
    ...faults.places.flatMap(({ findings }) => findings),
  ];
}
