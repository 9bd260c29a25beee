/**
 * What has to be done in one subdir: compares the destination's state with the source's snapshot, and says whether
 * there is nothing to do, something to try again, or a plan to run.
 */
import type { ChannelStore } from '../artifact/channel-store.js';
import type { Ledger } from '../artifact/ledger.js';
import { archiveIdentity } from '../conda/package-record.js';
import type { Repodata } from '../conda/repodata/repodata.js';
import type { FerryError } from '../errors.js';
import { askRegistry } from './ask-registry.js';
import type { Selection } from './filters/selection.js';
import { lockFaults, unmetWarnings } from './filters/selection-faults.js';
import { foreignRecords } from './foreign-records.js';
import { KnownArchives } from './known-archives.js';
import { planSubdir, repositoriesOf, type PlanItem, type SubdirPlan } from './plan.js';
import { checkNotVanished, type Snapshot } from './snapshot.js';
import type { Published, SubdirState } from './state.js';
import type { SubdirView, ViewOptions } from './subdir-view.js';
import { WantedRecords, type PlacedRecord } from './wanted-records.js';

/** More vanishing records than this part of all is worth a warning. */
const VANISHED_WARNING_SHARE = 0.01;

/** A subdir with its snapshot and plan. */
export interface PlannedWork {
  readonly status: 'planned';
  readonly subdir: string;
  readonly state: SubdirState;
  readonly snapshot: Snapshot;
  readonly published: Published | undefined;
  readonly plan: SubdirPlan;
  /** What filters let pass; `undefined` where there are none. */
  readonly selection: Selection | undefined;
  /** Records that others published and that stay listed. */
  readonly foreign: ReadonlySet<string>;
  /** Records that are listed and that the source lists no more. */
  readonly gone: readonly string[];
  /** Whether a ledger vouched for what is listed. */
  readonly isTrusted: boolean;
  /** Requests to the destination that finding out about single archives took. */
  readonly asked: number;
  readonly warnings: readonly string[];
}

/** What there is to do in a subdir. */
export type SubdirWork =
  | { readonly status: 'absent'; readonly subdir: string }
  | {
      readonly status: 'current';
      readonly subdir: string;
      readonly state: SubdirState;
      readonly warnings: readonly string[];
    }
  /** Nothing changed, but archives that failed before may have come. */
  | {
      readonly status: 'retry';
      readonly subdir: string;
      readonly state: SubdirState;
      readonly ledger: Ledger;
      readonly warnings: readonly string[];
    }
  | PlannedWork;

/** What {@link planView} works with. */
export interface PrepareOptions extends ViewOptions {
  readonly concurrency: number;
  readonly merge: boolean;
  /** Archives that count as there, since another store has them: subdir, then file name to identity. */
  readonly elsewhere?: ReadonlyMap<string, ReadonlyMap<string, string>> | undefined;
}

/** What is to be done about a subdir in which nothing changed. */
export function settledWork({
  subdir,
  state,
  ledger,
  warnings,
}: Extract<SubdirView, { status: 'settled' }>): SubdirWork {
  if (ledger.quarantine.length > 0) return { status: 'retry', subdir, state, ledger, warnings };
  return { status: 'current', subdir, state, warnings };
}

/** What of a subdir is to be mirrored. */
export interface Choice {
  /** What filters let pass; `undefined` for all. */
  readonly selection: Selection | undefined;
  /** What else decides. @defaultValue nothing */
  readonly wants?: ((filename: string) => boolean) | undefined;
  /** Where records stand that the source lists no more, if their archives are wanted too. */
  readonly removed?: Repodata | undefined;
  readonly warnings?: readonly string[] | undefined;
}

/**
 * Plans a subdir that changed.
 * @throws FerryError `FOREIGN_RECORDS`, `SOURCE_VANISHED`, `REPODATA_INVALID`
 */
export async function planView(
  { subdir, state, snapshot, published, warnings: seen }: Extract<SubdirView, { status: 'found' }>,
  { selection, wants, removed, warnings = [] }: Choice,
  options: PrepareOptions,
): Promise<PlannedWork> {
  const { store } = options;
  const { repodata } = snapshot;
  if (!options.allowOlder) checkNotVanished(snapshot, published?.repodata);
  const isTrusted = state.trust === 'vouched' || state.trust === 'interrupted';
  const { foreign, gone } = sortVanished(state, published, repodata);
  if (foreign.size > 0 && !options.merge && !isTrusted) throw foreignError(store, subdir, foreign);
  const isWanted = (filename: string): boolean =>
    selection?.wants(filename) !== false && wants?.(filename) !== false;
  const isChosen = selection !== undefined || wants !== undefined;
  const wanted = new WantedRecords({
    ...{ store, repodata, removed, foreign },
    wants: isChosen ? isWanted : undefined,
  });

  // Listed archives are there if the ledger vouches for the list; of all others only the registry knows. With `deep`,
  // all that the source lists is asked for; of the rest only the ledger knows.
  const believes = (filename: string): boolean => !options.deep || !repodata.has(filename);
  const listed =
    isTrusted && published !== undefined
      ? { repodata: published.repodata, unless: options.deep ? repodata : undefined }
      : undefined;
  const others = new Map(
    isTrusted ? Object.entries(state.ledger?.kept ?? {}).filter(([filename]) => believes(filename)) : [],
  );
  let asked = 0;
  if (options.deep || state.trust === 'interrupted' || state.trust === 'unknown') {
    const believed = new KnownArchives(listed, new Map(others));
    const open: PlacedRecord[] = [];
    for (const record of wanted.records()) {
      if (believed.identity(record.filename) !== archiveIdentity(record))
        open.push([record, store.schema.placeOf(record)]);
    }
    const blobs = options.deep || state.trust === 'unknown';
    const onRequest = (): void => void (asked += 1);
    const found = await askRegistry(open, { ...options, subdir, blobs, onRequest });
    const isOpen = new Set(open.map(([record]) => record.filename));
    for (const [filename, identity] of found)
      if (isOpen.has(filename) || !believed.has(filename)) others.set(filename, identity);
  }
  for (const [filename, identity] of options.elsewhere?.get(subdir) ?? [])
    if (wanted.identity(filename) === identity) others.set(filename, identity);
  const known = new KnownArchives(listed, others);
  // Where all was asked for, the manifests themselves told which repositories have it.
  for (const repository of isTrusted ? repositoriesOf(store, known.packageNames()) : [])
    store.rememberConfig(store.packageRepository(subdir, { repository }));

  const plan = planSubdir({ store, known }, wanted);
  const unmet = selection === undefined ? [] : unmetWarnings(subdir, selection);
  const faults = selection === undefined ? [] : lockFaults(selection, options.source.url);
  return {
    ...{ status: 'planned', subdir, state, snapshot, published, selection, foreign, gone, isTrusted, asked },
    plan: { ...plan, invalid: [...plan.invalid, ...faults] },
    warnings: [
      ...snapshot.warnings,
      ...seen,
      ...warningsOf(repodata, published, gone.length),
      ...unmet,
      ...warnings,
    ],
  };
}

/** Whether something is listed that is replaced: published without it, replaced, published with it. */
export function listsReplaced({ plan, published }: Pick<PlannedWork, 'plan' | 'published'>): boolean {
  if (plan.replaced === 0) return false;
  for (const item of plan.items())
    if (item.replaces && namesOf(item).some((filename) => published?.repodata.has(filename))) return true;
  return false;
}

/** The archives whose records stop to be true while an item is worked on. */
function namesOf({ add, displaced }: PlanItem): readonly string[] {
  const filenames = add.map(({ filename }) => filename);
  return displaced === undefined ? filenames : [...filenames, displaced];
}

/** Sorts published records that the source does not list: put there by others, or gone at the source. */
function sortVanished(
  state: SubdirState,
  published: Published | undefined,
  repodata: Repodata,
): { readonly foreign: ReadonlySet<string>; readonly gone: readonly string[] } {
  const known = new Set(state.ledger?.foreign ?? []);
  const removed = repodata.removed();
  const isTrusted = state.trust === 'vouched' || state.trust === 'interrupted';
  const foreign = new Set<string>();
  const gone: string[] = [];
  for (const filename of published?.repodata.filenamesNotIn(repodata) ?? []) {
    if (known.has(filename) || (!isTrusted && !removed.has(filename))) foreign.add(filename);
    else gone.push(filename);
  }
  return { foreign, gone };
}

function foreignError(store: ChannelStore, subdir: string, foreign: ReadonlySet<string>): FerryError {
  return foreignRecords(
    `\`${subdir}\` of \`${store.location}\``,
    foreign,
    'this mirror did not put there',
    'pass --merge to keep them listed beside what the source has',
  );
}

function* warningsOf(
  repodata: Repodata,
  published: Published | undefined,
  vanished: number,
): Generator<string> {
  yield* repodata.neededChanges().map((change) => `${repodata.subdir}: ${change}`);
  const before = published?.repodata.recordCount ?? 0;
  if (before > 0 && vanished / before > VANISHED_WARNING_SHARE) {
    yield `${repodata.subdir}: ${String(vanished)} of ${String(before)} records vanished at the source`;
  }
}
