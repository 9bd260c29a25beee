/**
 * Rollback: `latest` of a channel's metadata goes back to an old generation, after everything that it lists was found to
 * be there. The ledger says so, and the mirror stops at that until it is told to go on.
 */
import type { ChannelStore } from '../../artifact/channel-store.js';
import { readLedger, type Ledger } from '../../artifact/ledger.js';
import { parseAnyHistoryTag } from '../../artifact/history-tag.js';
import { REPODATA, ZSTD_SUFFIX } from '../../artifact/media-types.js';
import { moveLatest, pushMetadata, resolveLatest } from '../../artifact/metadata-artifact.js';
import type { MetadataFile } from '../../artifact/schema.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import { archiveIdentity } from '../../conda/package-record.js';
import type { Repodata } from '../../conda/repodata/repodata.js';
import { FerryError } from '../../errors.js';
import { collect } from '../../io/bytes.js';
import type { Digest } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { askRegistry } from '../ask-registry.js';
import { WantedRecords, type PlacedRecord } from '../wanted-records.js';
import { writeLedgerUnmoved } from '../prune/prune-ledger.js';
import { newRunning } from '../publish.js';
import { returnToState } from '../../publish/return-to.js';
import { MAX_REPODATA_BYTES } from '../snapshot.js';
import { checkNoRun, isRollbackRun, ROLLBACK_RUN } from '../../artifact/run-marks.js';
import { storedSubdirs } from '../../artifact/stored-subdirs.js';
import { generationAt, listGenerations, type Generation } from './generations.js';
import { GENERATION_FILES } from './keep-generations.js';
import { lockDestination, type LockOptions } from '../lock-destination.js';
import { findGeneration, findLatest } from './read-generation.js';

/** Repositories asked at once. */
const DEFAULT_CONCURRENCY = 16;
/** As for other repodata: written once and read very often. */
const ZSTD_LEVEL = 15;

/** Options of {@link rollBack}. */
export interface RollBackOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  /** History tag of the repodata of one of the subdirs, such as `2026.11.21.07.35.09`. */
  readonly generation: string;
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  /** Publish the generation without the records whose archives are gone. @defaultValue false: nothing is moved */
  readonly dropMissing?: boolean | undefined;
  /** @defaultValue 16 */
  readonly concurrency?: number | undefined;
  /** As {@link LockOptions.lockFolder}. @defaultValue nobody is kept out */
  readonly lockFolder?: LockOptions['lockFolder'];
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What became of a subdir. `moved`: it is back at the generation; `there`: it was there already; `left`: it had no
 * generation at that time, and is as it was; `missing`: archives are gone, so that no subdir was moved.
 */
export type RollBackOutcome = 'moved' | 'there' | 'left' | 'missing';

/** What a rollback did in one subdir. */
export interface SubdirRollBack {
  readonly subdir: string;
  readonly outcome: RollBackOutcome;
  /** The tag that it is at now, or would be. */
  readonly generation: string | undefined;
  /** Records that the generation lists. */
  readonly records: number;
  /** Archives that it lists and that are gone; with `dropMissing` they are not listed. */
  readonly missing: readonly string[];
  /** Archives that were listed, and are not any more. */
  readonly unlisted: readonly string[];
  /** Companions whose `latest` went back too. */
  readonly companions: readonly MetadataFile[];
  readonly warnings: readonly string[];
}

/** What a rollback did. */
export interface RollBackReport {
  readonly channel: string;
  /** Whether something was moved. */
  readonly moved: boolean;
  /** Whether the mirror is held from now on. */
  readonly held: boolean;
  readonly subdirs: readonly SubdirRollBack[];
}

/**
 * Takes a channel back to what it was at the moment of a history tag: each subdir to the generation of that very tag, or
 * to the newest that is not newer. Of what a generation lists, the registry is asked for all that a ledger does not vouch
 * for as listed now; if anything is gone, nothing is moved anywhere. Else the `latest` of all subdirs move back to back,
 * each with those of its companions that have the same tag. A generation that is the newest of its subdir everywhere
 * ends the hold again.
 * @throws FerryError `USAGE` for what is no history tag, `NOT_FOUND` where no subdir has it, `RUN_UNFINISHED`,
 * `TAG_MOVED`, `CHANNEL_NOT_FOUND`, `LOCK_TIMEOUT`
 */
export async function rollBack(options: RollBackOptions): Promise<RollBackReport> {
  const { store, generation, signal } = options;
  const now = options.now ?? (() => new Date());
  const time = parseAnyHistoryTag(generation);
  if (time === undefined) {
    throw new FerryError('USAGE', `\`${generation}\` is no history tag`, {
      hint: 'choose one of conda-ferry index CHANNEL --list-generations',
    });
  }
  await using _ = await lockDestination(store, options);
  const prepared: Prepared[] = [];
  for (const subdir of await storedSubdirs(store, options.subdirs, { signal })) {
    prepared.push(await prepare(subdir, time, options));
  }
  if (!prepared.some(({ generations }) => generations.some(({ tag }) => tag === generation))) {
    throw new FerryError(
      'NOT_FOUND',
      `no subdir of \`${store.location}\` has a generation \`${generation}\``,
      {
        hint: 'choose one of conda-ferry index CHANNEL --list-generations',
      },
    );
  }
  const isBlocked = options.dropMissing !== true && prepared.some(({ missing }) => missing.size > 0);
  const all = isBlocked ? [] : prepared.filter((subdir): subdir is Movable => subdir.target !== undefined);
  const movable = all.filter(({ ledger }) => ledger?.role.kind !== 'published');
  const published = all.filter((subdir) => !movable.includes(subdir));
  const isHeld = movable.some(({ target, generations }) => target.generation.tag !== generations[0]?.tag);
  const hold = isHeld ? { to: generation, at: now().toISOString() } : undefined;

  const targets: { readonly subdir: Movable; readonly descriptor: Descriptor }[] = [];
  // First all that takes time, and the ledgers, which hold for the old state as for the new one.
  for (const subdir of movable) {
    const descriptor = await targetOf(subdir, options, now());
    const { ledger } = subdir;
    if (ledger !== undefined) {
      const running = { ...newRunning(now()), publishing: descriptor.digest, kind: ROLLBACK_RUN };
      const marked = {
        ...ledgerOfRun(subdir, ledger),
        running,
        ...(hold === undefined ? {} : { rolled_back: hold }),
      };
      await writeLedgerUnmoved(store, ledger, marked, signal);
    }
    targets.push({ subdir, descriptor });
  }
  const returned = await returnPublished(published, options);
  for (const { subdir, descriptor } of targets) {
    for (const { file, found } of subdir.target.companions)
      await moveLatest(store, subdir.subdir, file, found, { signal });
    await moveLatest(store, subdir.subdir, 'repodata.json', descriptor, { signal });
  }
  for (const { subdir, descriptor } of targets) {
    const { ledger } = subdir;
    if (ledger === undefined) continue;
    const after = { ...ledgerAfter(subdir, ledger, hold, now()), repodata: descriptor.digest };
    await writeLedgerUnmoved(store, undefined, after, signal);
  }
  return {
    channel: store.location,
    moved: returned || targets.some(({ subdir, descriptor }) => descriptor.digest !== subdir.latest),
    held: isHeld && targets.some(({ subdir }) => subdir.ledger !== undefined),
    subdirs: prepared.map((subdir) => reportOf(subdir, isBlocked)),
  };
}

/**
 * Takes back what is published to: by an operation, since the next push merges the log whatever `latest` names. So nothing
 * need be held. @returns whether anything changed
 */
async function returnPublished(subdirs: readonly Movable[], options: RollBackOptions): Promise<boolean> {
  let isChanged = false;
  for (const { subdir, target, missing, latest } of subdirs) {
    const isThere = (filename: string): boolean => !missing.has(filename);
    const head = await returnToState(subdir, target.descriptor.digest, isThere, options);
    isChanged ||= head?.digest !== latest;
  }
  return isChanged;
}

/** A subdir with where it would go, before anything is written. */
interface Prepared {
  readonly subdir: string;
  readonly ledger: Ledger | undefined;
  /** Whether the ledger vouches for what is listed. */
  readonly isVouched: boolean;
  readonly latest: Digest;
  readonly published: Repodata;
  readonly generations: readonly Generation[];
  readonly target: Target | undefined;
  readonly missing: ReadonlySet<string>;
  readonly warnings: readonly string[];
}

type Movable = Prepared & { readonly target: Target };

interface Target {
  readonly generation: Generation;
  readonly descriptor: Descriptor;
  readonly repodata: Repodata;
  readonly companions: readonly { readonly file: MetadataFile; readonly found: Descriptor }[];
}

async function prepare(subdir: string, time: Date, options: RollBackOptions): Promise<Prepared> {
  const { store, signal } = options;
  const ledger = await readLedger(store, subdir, { signal });
  // One of its own that was killed is finished by the next.
  if (!isRollbackRun(ledger)) checkNoRun(ledger, store, subdir);
  const latest = await findLatest(store, subdir, options);
  const published = await latest.read();
  const isVouched = [ledger?.repodata, ledger?.running?.publishing].includes(latest.digest);
  const generations = await listGenerations(store, subdir, 'repodata.json', { signal });
  const warnings: string[] = [];
  if (ledger === undefined) warnings.push(`${subdir}: there is no ledger, so nothing holds the mirror back`);
  const state = { subdir, ledger, isVouched, latest: latest.digest, published, generations };
  const exact = generations.find(({ tag }) => tag === options.generation);
  const generation = exact ?? generationAt(generations, time);
  const found = generation && (await findGeneration(store, subdir, generation.tag, options));
  if (generation === undefined || found === undefined) {
    warnings.push(`${subdir}: there is no generation of that time; it is left as it is`);
    return { ...state, target: undefined, missing: new Set(), warnings };
  }
  const repodata = found.digest === latest.digest ? published : await found.read();
  const companions: { readonly file: MetadataFile; readonly found: Descriptor }[] = [];
  for (const file of GENERATION_FILES.filter((candidate) => candidate !== 'repodata.json')) {
    const current = await resolveLatest(store, subdir, file, { signal });
    if (current === undefined) continue;
    const companion = await store.metadataRepository(subdir, file).resolve(generation.tag, { signal });
    if (companion !== undefined) companions.push({ file, found: companion });
    else if (ledger?.role.kind === 'published') warnings.push(`${subdir}: index makes ${file} anew`);
    else if (found.digest !== latest.digest)
      warnings.push(`${subdir}: ${file} has no such generation; it stays the newest`);
  }
  return {
    ...state,
    target: { generation, descriptor: found.descriptor, repodata, companions },
    missing: await findMissing(repodata, isVouched ? published : undefined, subdir, options),
    warnings,
  };
}

/** Records of a generation whose archives are not there; those listed now are, if a ledger vouches for that. */
async function findMissing(
  repodata: Repodata,
  vouched: Repodata | undefined,
  subdir: string,
  { store, signal, concurrency = DEFAULT_CONCURRENCY }: RollBackOptions,
): Promise<ReadonlySet<string>> {
  const known = new Map(vouched?.identities());
  const wanted = new WantedRecords({ store, repodata });
  const { withheld, invalid } = wanted;
  const open: PlacedRecord[] = [];
  for (const record of wanted.records()) {
    if (known.get(record.filename) !== archiveIdentity(record))
      open.push([record, store.schema.placeOf(record)]);
  }
  const there = await askRegistry(open, { store, subdir, concurrency, blobs: true, signal });
  const absent = open.filter(([record]) => there.get(record.filename) !== archiveIdentity(record));
  const unusable = [...withheld, ...invalid].filter(({ filename }) => !known.has(filename));
  return new Set([...absent.map(([{ filename }]) => filename), ...unusable.map(({ filename }) => filename)]);
}

/** What `latest` is to name: the generation itself, or what is left of it. */
async function targetOf(
  { subdir, target, missing }: Movable,
  { store, workers, signal }: RollBackOptions,
  now: Date,
): Promise<Descriptor> {
  if (missing.size === 0) return target.descriptor;
  const spliced = target.repodata.splice((filename) => !missing.has(filename));
  const bytes = await collect(spliced, MAX_REPODATA_BYTES, `what ${subdir} lists`);
  const zst = await workers.run('compress', { bytes, level: ZSTD_LEVEL }, signal);
  const layers = [
    { mediaType: REPODATA, title: 'repodata.json', bytes },
    { mediaType: REPODATA + ZSTD_SUFFIX, title: 'repodata.json.zst', bytes: zst },
  ];
  return pushMetadata(store, subdir, 'repodata.json', layers, {
    tags: [store.schema.historyTag(now)],
    signal,
  });
}

/** The ledger as it is true of the old state and of the new one. */
function ledgerOfRun({ published, target, missing, isVouched }: Movable, ledger: Ledger): Ledger {
  const { source: _, ...rest } = ledger;
  const known = isVouched ? [...Object.entries(ledger.kept), ...published.identities()] : [];
  const there = [...known, ...target.repodata.identities()].filter(([filename]) => !missing.has(filename));
  return { ...rest, kept: Object.fromEntries(there) };
}

/**
 * The ledger of a rolled back subdir. It knows no source, so that the next run looks at it anew; and what is not listed
 * any more is kept, with the time.
 */
function ledgerAfter(
  { published, target, missing, isVouched }: Movable,
  ledger: Ledger,
  hold: Ledger['rolled_back'],
  now: Date,
): Ledger {
  const { source: _, rolled_back: __, running: ___, ...rest } = ledger;
  const isListed = (filename: string): boolean => target.repodata.has(filename) && !missing.has(filename);
  // A ledger that does not vouch for what is listed now knows nothing of the rest either.
  const kept = isVouched ? [...Object.entries(ledger.kept), ...published.identities()] : [];
  const times = new Map(Object.entries(ledger.unlisted ?? {}));
  for (const filename of published.filenames())
    if (!isListed(filename)) times.set(filename, now.toISOString());
  const unlisted = [...times].filter(([filename]) => !isListed(filename));
  return {
    ...rest,
    unchanged: false,
    complete: false,
    kept: Object.fromEntries(kept.filter(([filename]) => !isListed(filename) && !missing.has(filename))),
    foreign: ledger.foreign.filter(isListed),
    unlisted: Object.fromEntries(unlisted),
    ...(hold === undefined ? {} : { rolled_back: hold }),
  };
}

function reportOf(prepared: Prepared, isBlocked: boolean): SubdirRollBack {
  const { subdir, target, published, missing, latest, ledger } = prepared;
  const isListed = (filename: string): boolean =>
    target?.repodata.has(filename) === true && !missing.has(filename);
  const unlisted =
    target === undefined ? [] : [...published.filenames()].filter((filename) => !isListed(filename));
  const foreign = (ledger?.foreign ?? []).filter((filename) => unlisted.includes(filename));
  const isThere = target?.descriptor.digest === latest && missing.size === 0;
  const moved = isBlocked ? 'left' : isThere ? 'there' : 'moved';
  return {
    subdir,
    outcome: target === undefined ? 'left' : isBlocked && missing.size > 0 ? 'missing' : moved,
    generation: target?.generation.tag,
    records: target?.repodata.recordCount ?? 0,
    missing: [...missing].sort(),
    unlisted,
    companions: isBlocked ? [] : (target?.companions.map(({ file }) => file) ?? []),
    warnings: [
      ...prepared.warnings,
      ...(foreign.length === 0
        ? []
        : [`${subdir}: ${String(foreign.length)} records of others are not listed any more`]),
    ],
  };
}
