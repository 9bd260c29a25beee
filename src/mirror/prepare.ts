/** Finds out what there is to do in the subdirs of a channel. */
import type { ChannelSource } from '../conda/channel-source.js';
import { checkSubdirs, KNOWN_SUBDIRS } from '../conda/names.js';
import type { RecordDetails } from '../conda/record-details.js';
import type { Repodata } from '../conda/repodata/repodata.js';
import type { Filters } from './filters/filters.js';
import { selectRecords, type SelectableOptions } from './filters/select-records.js';
import type { Selection } from './filters/selection.js';
import type { AppliedPlan } from './plan-document.js';
import { takeSnapshot } from './snapshot.js';
import { viewSource, viewSubdir, type SubdirView } from './subdir-view.js';
import { planView, settledWork, type PrepareOptions, type SubdirWork } from './subdir-work.js';
import { noRepodata } from './no-repodata.js';

/** Unpatched records, those of removed packages among them. */
const REMOVED_FILES = ['repodata_from_packages.json.zst', 'repodata_from_packages.json'] as const;

/** What {@link prepareAll} works with. */
export interface PrepareAllOptions extends PrepareOptions {
  /** What to mirror; `undefined` for everything. */
  readonly selector: Filters | undefined;
  /** Move only what this plan names. */
  readonly applied: AppliedPlan | undefined;
  /** Mirror archives too that the source lists only in `repodata_from_packages.json`. */
  readonly includeRemoved: boolean;
}

/** What {@link prepareAll} found. */
export interface PreparedSubdirs {
  readonly works: readonly SubdirWork[];
  /** Subdirs found at a source that cannot list them; noarch's ledger remembers them. */
  readonly discovered: readonly string[] | undefined;
  /** How many subdirs the destination was asked for and the source does not have, {@link works} apart. */
  readonly vain: number;
}

type FoundView = Extract<SubdirView, { status: 'found' }>;

/**
 * Prepares the subdirs wanted. A web server cannot list its folders: there the platforms that conda knows are tried,
 * and not again until noarch changes.
 * @throws FerryError `CHANNEL_NOT_FOUND`, `USAGE`, and what viewing and planning throw
 */
export async function prepareAll(
  options: PrepareAllOptions,
  wanted: readonly string[] | undefined,
): Promise<PreparedSubdirs> {
  const { views, isGuessed } = await viewAll(options, wanted);
  checkFound(views, options.source, wanted);
  const found = isGuessed ? views.filter(({ status }) => status !== 'absent') : views;
  const works = await planAll(await viewTogether(found, options), options);
  const discovered = isGuessed ? found.map(({ subdir }) => subdir) : undefined;
  return { works, discovered, vain: views.length - found.length };
}

/** Prepares one subdir anew although nothing need have changed at the source. */
export async function prepareOne(subdir: string, options: PrepareAllOptions): Promise<SubdirWork> {
  const views = await viewTogether([await viewSubdir(subdir, options, true)], options);
  const [work] = await planAll(views, options);
  return work ?? { status: 'absent', subdir };
}

async function viewAll(
  options: PrepareAllOptions,
  wanted: readonly string[] | undefined,
): Promise<{ readonly views: readonly SubdirView[]; readonly isGuessed: boolean }> {
  checkSubdirs(wanted);
  const listed = wanted === undefined ? await options.source.subdirs(options) : [...new Set(wanted)];
  const views: SubdirView[] = [];
  if (listed !== undefined) {
    for (const subdir of listed) views.push(await viewSubdir(subdir, options));
    return { views, isGuessed: false };
  }
  const noarch = await viewSubdir('noarch', options);
  views.push(noarch);
  const remembered = noarch.status === 'settled' ? noarch.ledger.subdirs : undefined;
  for (const subdir of remembered ?? KNOWN_SUBDIRS)
    if (subdir !== 'noarch') views.push(await viewSubdir(subdir, options));
  return { views, isGuessed: true };
}

/** Dependencies go from subdir to subdir: where one changed, the others are looked into as well. */
async function viewTogether(
  views: readonly SubdirView[],
  options: PrepareAllOptions,
): Promise<readonly SubdirView[]> {
  const isTogether = options.selector?.withDependencies === true;
  if (!isTogether || !views.some(({ status }) => status === 'found')) return views;
  const all: SubdirView[] = [];
  for (const view of views)
    all.push(view.status === 'settled' ? await viewSource(view.subdir, view.state, options, true) : view);
  return all;
}

/** What is read of a subdir that changed, before it is planned. */
interface FoundSubdir {
  readonly view: FoundView;
  /** Records that the source lists no more, where their archives are wanted too. */
  readonly removed: Repodata | undefined;
}

async function planAll(
  views: readonly SubdirView[],
  options: PrepareAllOptions,
): Promise<readonly SubdirWork[]> {
  const found = new Map<string, FoundSubdir>();
  for (const view of views) {
    if (view.status !== 'found') continue;
    const removed = options.includeRemoved ? await readRemoved(view.subdir, options) : undefined;
    found.set(view.subdir, { view, removed });
  }
  const selections = await select(found, options);
  const works: SubdirWork[] = [];
  for (const view of views) {
    const { subdir } = view;
    const subdirFound = found.get(subdir);
    if (subdirFound !== undefined) works.push(await planFound(subdirFound, selections?.get(subdir), options));
    else if (view.status === 'settled') {
      options.applied?.checkPlanned(subdir, view.state.latest?.digest);
      works.push(settledWork(view));
    } else works.push({ status: 'absent', subdir });
  }
  return works;
}

/** Plans a subdir; where a plan is applied, what it does not name waits for another run. */
async function planFound(
  { view, removed }: FoundSubdir,
  selection: Selection | undefined,
  options: PrepareAllOptions,
): Promise<SubdirWork> {
  const { applied } = options;
  const { subdir, snapshot, published } = view;
  if (applied === undefined) return planView(view, { selection, removed }, options);
  applied.check(subdir, view.state.latest?.digest);
  const isChanged = (filename: string): boolean => {
    const planned = applied.identity(subdir, filename);
    return planned !== undefined && planned !== snapshot.repodata.identity(filename);
  };
  const wants = (filename: string): boolean =>
    (applied.identity(subdir, filename) !== undefined && !isChanged(filename)) ||
    published?.repodata.has(filename) === true;
  const changed = [...applied.filenames(subdir)].filter(isChanged);
  const warnings = changed.map(
    (filename) => `${subdir}: \`${filename}\` is not what it was when it was planned; left for another run`,
  );
  return planView(view, { selection, wants, removed, warnings }, options);
}

/** Reads the records of all that the source ever built, where it tells them. @see CEP 36 */
async function readRemoved(subdir: string, options: PrepareAllOptions): Promise<Repodata | undefined> {
  const { source, temp, workers, signal, resources } = options;
  const answer = await takeSnapshot(source, subdir, { temp, workers, signal, files: REMOVED_FILES });
  return answer.status === 'found' ? resources.use(answer.snapshot).repodata : undefined;
}

async function select(
  found: ReadonlyMap<string, FoundSubdir>,
  { selector, now, signal }: PrepareAllOptions,
): Promise<ReadonlyMap<string, Selection> | undefined> {
  if (selector === undefined || found.size === 0) return undefined;
  const subdirs = [...found].map(([subdir, { view, removed }]) => ({
    subdir,
    details: (options: SelectableOptions) => detailsOf(view.snapshot.repodata, removed, options),
  }));
  return selectRecords(subdirs, selector, {
    nowMs: now().getTime(),
    firstSeen: (subdir, filename) => {
      const since = found.get(subdir)?.view.state.ledger?.waiting?.[filename];
      return since === undefined ? undefined : Date.parse(since);
    },
    isPublished: (subdir, filename, identity) =>
      identity !== undefined && found.get(subdir)?.view.published?.repodata.identity(filename) === identity,
    signal,
  });
}

async function* detailsOf(
  repodata: Repodata,
  removed: Repodata | undefined,
  options: SelectableOptions,
): AsyncGenerator<RecordDetails> {
  yield* repodata.details(options);
  const wants = (filename: string): boolean => !repodata.has(filename);
  if (removed !== undefined) yield* removed.details({ ...options, wants });
}

function checkFound(
  views: readonly SubdirView[],
  source: ChannelSource,
  wanted: readonly string[] | undefined,
): void {
  if (views.some(({ status }) => status !== 'absent')) return;
  throw noRepodata(
    source,
    wanted,
    'give the folder above `noarch` and `linux-64`; for other subdirs over HTTP pass --subdir',
  );
}
