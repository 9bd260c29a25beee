import type { WorkerPool } from '../../artifact/worker-pool.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import type { Digest } from '../../io/digest.js';
import { Resources } from '../../io/resources.js';
import { TempFolder } from '../../io/temp-folder.js';
import { NO_FILTERS, type Filters } from '../../mirror/filters/filters.js';
import { mirrorChannel } from '../../mirror/mirror.js';
import type { MirrorReport } from '../../mirror/report.js';
import type { LockedArchive } from '../../provenance/lock-files/locked-archives.js';
import type { FillableArchive } from './fill-list.js';
import type { StoreFillerOptions } from './filler-options.js';
import { isListed, lookAtSubdir, readStoreState, type SubdirLook } from './store-look.js';

/** What {@link fillStore} works with. */
export interface FillRunOptions extends Pick<
  StoreFillerOptions,
  | 'store'
  | 'concurrency'
  | 'lockFolder'
  | 'keepGenerations'
  | 'tempDir'
  | 'tempLimitBytes'
  | 'stopGraceMs'
  | 'now'
  | 'reporter'
> {
  readonly source: ChannelSource;
  readonly workers: WorkerPool;
  /** Whether somebody else's run is to be waited for. */
  readonly mustWait: (look: SubdirLook) => boolean;
  /** Archives that were put before, and are only looked at: their names are enough. */
  readonly confirming: ReadonlySet<FillableArchive>;
  /** The repodata that our last run published in a subdir; while that stands, nobody took anything off it. */
  readonly ownLatest: (subdir: string) => Digest | undefined;
  /** Whether a first run of the store publishes noarch beside what is asked for: clients cannot do without it. */
  readonly withNoarch: boolean;
  readonly stop: AbortSignal;
  readonly signal: AbortSignal;
}

/** What {@link fillStore} did. */
export interface FillOutcome {
  /** Archives that were found to be listed. */
  readonly listed: readonly FillableArchive[];
  /** Archives that were not, and that the run was about. */
  readonly tried: readonly FillableArchive[];
  /** Of the mirror run; `undefined` where there was nothing to do. */
  readonly report: MirrorReport | undefined;
}

/**
 * Puts archives into the store by a run of the mirror: of all that the subdirs list, and of these. So records are the
 * upstream's own, what was listed stays listed, and whatever is killed leaves what a killed mirror leaves.
 * @throws FerryError as `mirrorChannel`
 */
export async function fillStore(
  archives: ReadonlyMap<string, readonly FillableArchive[]>,
  options: FillRunOptions,
): Promise<FillOutcome> {
  const { store, source, workers, signal } = options;
  await using resources = new Resources();
  const temp = resources.use(await TempFolder.create(options.tempDir));
  const lookOptions = { store, source: source.url, temp, workers, signal };
  const looks: SubdirLook[] = [];
  const listed: FillableArchive[] = [];
  const tried: FillableArchive[] = [];
  for (const [subdir, wanted] of archives) {
    const state = await readStoreState(subdir, lookOptions);
    if (state.trust === 'vouched' && state.latest?.digest === options.ownLatest(subdir)) {
      if (wanted.every((archive) => options.confirming.has(archive))) {
        listed.push(...wanted);
        continue;
      }
    }
    const look = resources.use(await lookAtSubdir(subdir, state, lookOptions));
    const there = wanted.filter((archive) => {
      const isConfirming = options.confirming.has(archive);
      return isListed(look, isConfirming ? { ...archive, sha256: undefined } : archive);
    });
    // As long as no ledger vouches for the list, it may not stay: a run is needed to say so.
    const isDone = there.length === wanted.length && state.trust === 'vouched';
    if (!isDone && options.mustWait(look)) continue;
    listed.push(...there);
    if (isDone) continue;
    looks.push(look);
    tried.push(...wanted.filter((archive) => !there.includes(archive)));
  }
  if (looks.length === 0) return { listed, tried, report: undefined };
  const subdirs = looks.map(({ subdir }) => subdir);
  const isFirst =
    options.withNoarch &&
    !subdirs.includes('noarch') &&
    (await readStoreState('noarch', lookOptions)).trust === 'empty';
  const report = await mirrorChannel({
    source,
    destination: store,
    subdirs: isFirst ? ['noarch', ...subdirs] : subdirs,
    filters: filtersOf(looks, tried),
    plainJson: looks.every(({ hasPlainJson }) => hasPlainJson),
    concurrency: options.concurrency,
    keepGenerations: options.keepGenerations,
    lockFolder: options.lockFolder,
    tempDir: options.tempDir,
    tempLimitBytes: options.tempLimitBytes,
    workers,
    reporter: { warning: (message) => options.reporter?.warning?.(message) },
    now: options.now,
    stop: options.stop,
    stopGraceMs: options.stopGraceMs,
    signal,
  });
  return { listed, tried, report };
}

/**
 * All that is listed, and what is to come. No hashes: the record that the upstream has now is the one to be mirrored. What
 * was listed and is gone upstream is no fault, so it is said to come from no channel.
 */
function filtersOf(looks: readonly SubdirLook[], tried: readonly FillableArchive[]): Filters {
  const archives: LockedArchive[] = [];
  for (const { subdir, published } of looks)
    for (const filename of published?.repodata.filenames() ?? [])
      archives.push({ subdir, filename, url: '', channel: '' });
  for (const archive of tried) {
    const { subdir, filename } = archive;
    const look = looks.find((candidate) => candidate.subdir === subdir);
    if (look?.published?.repodata.has(filename) !== true) archives.push({ subdir, filename, url: '' });
  }
  return { ...NO_FILTERS, lock: { archives, ignored: { pypi: 0, elsewhere: 0 } } };
}
