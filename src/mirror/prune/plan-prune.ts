import type { ChannelStore } from '../../artifact/channel-store.js';
import { readLedger, type Ledger } from '../../artifact/ledger.js';
import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { MatchSpec } from '../../conda/match-spec/match-spec.js';
import { matchesRecord, needsDetails } from '../../conda/match-spec/matches-record.js';
import type { Repodata } from '../../conda/repodata/repodata.js';
import { FerryError } from '../../errors.js';
import { compareText } from '../../io/compare-text.js';
import { listGenerations } from '../generations/generations.js';
import { checkKeep, GENERATION_FILES } from '../generations/keep-generations.js';
import { findLatest } from '../generations/read-generation.js';
import { checkNoRun } from '../../artifact/run-marks.js';
import { storedSubdirs } from '../../artifact/stored-subdirs.js';
import { candidatesOf, scanStore, type Candidate } from './candidates.js';
import { findArtifacts } from './find-artifacts.js';
import type { PrunePlan, StayingArchive, SubdirPrunePlan } from './plan-document.js';
import { findSidecars } from './sidecars.js';
import { readGenerations, recordedSince } from './unlisted-since.js';

/** How long an archive stays unlisted before it may go. */
export const DEFAULT_GRACE_MS = 30 * 24 * 60 * 60 * 1000;
/** How many generations can be gone back to, where nobody says. */
export const DEFAULT_KEPT_GENERATIONS = 3;
/** Manifests read at once. */
const DEFAULT_CONCURRENCY = 8;

/** What may stay although it is not listed, as text for the plan and as the test itself. */
export interface Pin {
  /** Such as `zlib=1.2`. */
  readonly text: string;
  readonly spec: MatchSpec;
}

/** Options of {@link planPrune}. */
export interface PlanPruneOptions {
  readonly store: ChannelStore;
  readonly workers: WorkerPool;
  /** @defaultValue all that the channel has */
  readonly subdirs?: readonly string[] | undefined;
  /** How long an archive has to be unlisted before it goes, in milliseconds. @defaultValue 30 days */
  readonly graceMs?: number | undefined;
  /** What one of the newest generations lists stays, so that they can be gone back to. @defaultValue 3 */
  readonly keepGenerations?: number | undefined;
  /** Delete older generations of the metadata as well. @defaultValue false */
  readonly deleteGenerations?: boolean | undefined;
  /** Take also what the repodata names as `removed`. @defaultValue false: CEP 36 wants it to be had further on */
  readonly removed?: boolean | undefined;
  /**
   * Archives that stay, by name, version, build, file name and subdir: no more is known of what is not listed.
   * @defaultValue none
   */
  readonly pins?: readonly Pin[] | undefined;
  /** Look through the registry for artifacts that neither repodata nor ledger know. @defaultValue false */
  readonly scan?: boolean | undefined;
  /** @defaultValue 8 */
  readonly concurrency?: number | undefined;
  /** For tests. @defaultValue the system's clock */
  readonly now?: (() => Date) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Says what a prune would delete: archives that are stored, that the published repodata does not list, that no generation
 * lists which can be gone back to, and that have not been listed for the grace period. Writes nothing. Costs a request for
 * each artifact that would go, and reads the repodata of the generations within the grace period, if there is anything
 * unlisted at all.
 * @throws FerryError `CHANNEL_NOT_FOUND`, `RUN_UNFINISHED`, `LEDGER_INVALID`, `REPODATA_INVALID`, `USAGE`
 */
export async function planPrune(options: PlanPruneOptions): Promise<PrunePlan> {
  const { store, signal, graceMs = DEFAULT_GRACE_MS } = options;
  const { keepGenerations = DEFAULT_KEPT_GENERATIONS } = options;
  checkKeep(keepGenerations);
  checkPins(options.pins ?? []);
  const now = (options.now ?? (() => new Date()))();
  const subdirs = await storedSubdirs(store, options.subdirs, { signal });
  const { concurrency = DEFAULT_CONCURRENCY } = options;
  const context = { ...options, now, graceMs, keep: keepGenerations, concurrency };
  const plans: SubdirPrunePlan[] = [];
  for (const subdir of subdirs) plans.push(await planSubdir(subdir, context));
  return {
    prune_plan_version: 1,
    channel: store.location,
    schema: store.schema.id,
    made: now.toISOString(),
    policy: {
      grace: graceMs,
      keep_generations: keepGenerations,
      delete_generations: options.deleteGenerations ?? false,
      removed: options.removed ?? false,
      pins: (options.pins ?? []).map(({ text }) => text),
      scan: options.scan ?? false,
    },
    subdirs: plans,
  };
}

interface PlanContext extends Omit<PlanPruneOptions, 'now'> {
  readonly now: Date;
  readonly graceMs: number;
  readonly keep: number;
  readonly concurrency: number;
}

async function planSubdir(subdir: string, options: PlanContext): Promise<SubdirPrunePlan> {
  const { store, signal, now, graceMs, keep } = options;
  const ledger = await readLedger(store, subdir, { signal });
  checkNoRun(ledger, store, subdir);
  const latest = await findLatest(store, subdir, options);
  const published = await latest.read();
  const warnings: string[] = [];
  const all = candidatesOf(store, ledger, published);
  if (options.scan === true) {
    const { found, isWhole } = await scanStore({ ...options, subdir, published });
    for (const candidate of found) if (!all.has(candidate.filename)) all.set(candidate.filename, candidate);
    if (!isWhole)
      warnings.push(`${subdir}: the registry does not tell its repositories; those listed were scanned`);
  }
  const stays: StayingArchive[] = [];
  const open = new Map<string, Candidate>();
  const keptBecause = keeper(ledger, published, { ...options, subdir });
  for (const [filename, candidate] of all) {
    const reason = keptBecause(candidate);
    if (reason === undefined) open.set(filename, candidate);
    else stays.push({ filename, reason });
  }

  const generations = await listGenerations(store, subdir, 'repodata.json', { signal });
  const cutoff = new Date(now.getTime() - graceMs);
  const evidence =
    open.size === 0
      ? undefined
      : await readGenerations(new Set(open.keys()), {
          ...options,
          subdir,
          generations,
          cutoff,
          published: { digest: latest.digest, repodata: published },
        });
  const unlisted = new Map<string, string>();
  const firstSeen: string[] = [];
  const ripe: (readonly [Candidate, Date])[] = [];
  for (const candidate of all.values()) {
    const { filename } = candidate;
    const times = [evidence?.since.get(filename), recordedSince(ledger, filename)];
    // Of two that disagree the later one: a rollback leaves no generation of its own.
    const known = times.filter((time) => time !== undefined).sort((a, b) => b.getTime() - a.getTime())[0];
    const since = known ?? now;
    if (known === undefined && open.has(filename)) firstSeen.push(filename);
    const isRipe = open.has(filename) && since.getTime() <= cutoff.getTime();
    const isProtected = evidence?.protectedNames.has(filename) === true;
    if (isRipe && !isProtected) {
      ripe.push([candidate, since]);
      continue;
    }
    unlisted.set(filename, since.toISOString());
    if (!open.has(filename)) continue;
    const until = new Date(since.getTime() + graceMs).toISOString();
    stays.push(isProtected ? { filename, reason: 'generation' } : { filename, reason: 'grace', until });
  }
  const { artifacts, forget } = await findArtifacts(subdir, ripe, options);
  const going = new Set(artifacts.flatMap(({ archives }) => archives.map(({ filename }) => filename)));
  return {
    subdir,
    repodata: latest.digest,
    artifacts,
    forget,
    generations: options.deleteGenerations === true ? await oldGenerations(subdir, keep, options) : [],
    sidecars: await findSidecars(store, subdir, going, {
      published,
      alsoNeeded: evidence?.sidecars ?? new Set(),
      signal,
    }),
    stays: stays.sort((a, b) => compareText(a.filename, b.filename)),
    unlisted: Object.fromEntries([...unlisted].sort(([a], [b]) => compareText(a, b))),
    firstSeen: firstSeen.sort(compareText),
    warnings: [...warnings, ...warningsOf(subdir, ledger, firstSeen)],
  };
}

function* warningsOf(
  subdir: string,
  ledger: Ledger | undefined,
  firstSeen: readonly string[],
): Generator<string> {
  if (ledger !== undefined || firstSeen.length === 0) return;
  yield `${subdir}: there is no ledger to write down since when archives are unlisted; only old generations can tell`;
}

/** Why an archive stays whatever its age; `undefined` where nothing speaks for it. */
function keeper(
  ledger: Ledger | undefined,
  published: Repodata,
  {
    subdir,
    pins = [],
    removed = false,
  }: Pick<PlanPruneOptions, 'pins' | 'removed'> & { readonly subdir: string },
): (candidate: Candidate) => StayingArchive['reason'] | undefined {
  const failed = new Set(ledger?.quarantine.map(({ filename }) => filename));
  const namedRemoved = removed ? new Set<string>() : published.removed();
  return ({ filename, name }) => {
    const record = { ...name, filename, listedIn: subdir };
    if (pins.some(({ spec }) => matchesRecord(spec, record))) return 'pinned';
    if (failed.has(filename)) return 'failed';
    return namedRemoved.has(filename) ? 'removed' : undefined;
  };
}

/** A pin that cannot be asked of an archive protects nothing. @throws FerryError `USAGE` */
function checkPins(pins: readonly Pin[]): void {
  for (const { text, spec } of pins) {
    if (!needsDetails(spec) && spec.md5 === undefined && spec.sha256 === undefined) continue;
    throw new FerryError('USAGE', `the pin \`${text}\` asks for what is not known of unlisted archives`, {
      hint: 'pin by name, version, build, file name (fn) and subdir',
    });
  }
}

async function oldGenerations(
  subdir: string,
  keep: number,
  { store, signal }: PlanContext,
): Promise<SubdirPrunePlan['generations']> {
  const old: SubdirPrunePlan['generations'] = [];
  for (const file of GENERATION_FILES) {
    const generations = await listGenerations(store, subdir, file, { signal });
    const tags = generations.slice(keep).map(({ tag }) => tag);
    if (tags.length > 0) old.push({ file, tags });
  }
  return old;
}
